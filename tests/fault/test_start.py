"""While it starts, a call that fails ends the daemon with status 1 and a reason, or does no harm."""

import collections
import itertools
import os
import signal
import subprocess

import pytest

from tests.fault.conftest import ALL, LIBRARY, owner, tiny_model
from tests.http.conftest import BINARY, DEADLINE_S, MODEL, Daemon

# Libraries end the program themselves where they cannot get what they must have. libuv has no other
# way for its threads, its first pipe and the descriptors it watches (abort() in src/threadpool.c,
# src/unix/signal.c, src/unix/core.c and linux-core.c); OpenBLAS interrupts the program that it
# cannot start a thread for. What a daemon may really lack of these is looked for before
# (server/system/resources.c), so that it takes a failure between that and the library's own call.
ENDED_BY = {("libuv.so.1", -signal.SIGABRT), ("libopenblas.so.0", -signal.SIGINT)}
STRIDE = {"alloc": 1 if ALL else 31}
LEAK_BLOCKS = 8


def before_main(control, environment):
    """Calls of a kind that libraries make before the program is itself."""
    subprocess.run([BINARY, "--version"], env=environment, check=True, capture_output=True)
    return control.disarm()[0]


def outcome_of(daemon, control):
    """Wait for its line or its end: (status of a daemon that was told to stop, served, lines)."""
    line = daemon.process.stdout.readline()
    control.disarm()
    if line:
        daemon.signal()
    status = daemon.process.wait(DEADLINE_S)
    daemon.log.close()
    daemon.process.stdout.close()
    return status, bool(line), daemon.log_path.read_text().splitlines()


@pytest.mark.parametrize("kind", ["alloc", "mmap", "thread", "open", "read", "write", "socket",
                                  "epoll", "random"])
def test_one_call_fails(control, tmp_path, monkeypatch, kind):
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(tiny_model())
    monkeypatch.setenv("LD_PRELOAD", LIBRARY)
    arguments = ("--workers", "2", "--max-batch", "2")
    control.arm(kind, 0)
    first = 1 if ALL else before_main(control, os.environ) + 1
    seen = collections.Counter()
    for n in itertools.count(first, STRIDE.get(kind, 1)):
        control.live = 0
        control.arm(kind, n)
        daemon = Daemon(tmp_path, *arguments, model=str(path), wait=False)
        status, served, lines = outcome_of(daemon, control)
        callers, failed = control.callers(), control.failed
        where = f"{kind} {n}: {status} {lines} {' '.join(callers[:12])}"
        if not failed:
            assert status == 0 and served, where
            break
        is_ours = any(c.startswith(("denoised", "exe")) for c in callers)
        if status < 0:
            assert (owner(callers), status) in ENDED_BY and not served, where
        elif not is_ours:
            assert status == 0 or lines, where  # a library's own beginning: it must say so
        elif status == 0:
            assert served, where
        else:
            assert status == 1 and not served, where
            assert any('"level":"error"' in line and '"reason":"' in line
                       and '"reason":""' not in line for line in lines), where
        seen[f"{owner(callers)} {status}"] += 1
        if status >= 0 and is_ours:
            seen["most blocks left"] = max(seen["most blocks left"], control.live)
    if ALL:
        print(f"{kind}: {n - first} {dict(seen)}")
    assert seen or kind in ("mmap", "random"), "nothing failed"
    # What an undisturbed daemon leaves is its libraries' own.
    assert seen["most blocks left"] <= control.live + LEAK_BLOCKS, where


def test_the_shipped_model_and_no_memory(control, tmp_path, monkeypatch):
    """From some call on nothing is to be had any more."""
    monkeypatch.setenv("LD_PRELOAD", LIBRARY)
    control.arm("alloc", 0)
    begin = before_main(control, os.environ)
    for n in range(begin + 1, begin + 1200, 20 if ALL else 300):
        control.arm("alloc", n, n + 10**6)
        daemon = Daemon(tmp_path, "--workers", "1", model=MODEL, wait=False)
        status, served, lines = outcome_of(daemon, control)
        assert not served and (status == 1 or (owner(control.callers()), status) in ENDED_BY), lines
