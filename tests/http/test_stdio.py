"""Standard input, output and error that are closed, full, or read by nobody: the daemon serves on."""

import contextlib
import fcntl
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading

import pytest

from tests.http.conftest import (BINARY, DEADLINE_S, MODEL, Daemon, parse_metrics, preloaded,
                                 read_response, wait_for)

SERVE = [BINARY, "serve", "--workers", "1", "--model", MODEL, "--log-format", "json", "--listen"]
LINE = b'{"time":"'


@contextlib.contextmanager
def serving(tmp_path, wrapper=(), **streams):
    """A daemon on a socket's path, which needs no standard output to be found; it must end well."""
    path = str(tmp_path / "s")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DENOISED_")}
    process = subprocess.Popen([*wrapper, *SERVE, f"unix:{path}"], env=environment, **streams)
    try:
        wait_for(lambda: process.poll() is not None or os.path.exists(path) and
                 ask(path, "/readyz")[0] == 200, "the daemon")
        yield path, process
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(path, target):
    """(status, headers, body), or (0,) when nobody listens yet."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return (0,)
        client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target.encode())
        return read_response(client.makefile("rb"))


def metric(path, name):
    return parse_metrics(ask(path, "/metrics")[2].decode())["denoised_" + name]


def small_pipe():
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    return ends


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", "1>&- 2>&-"])
def test_closed_descriptors(tmp_path, closed):
    """Nothing that the daemon opens takes their place, and it ends with status 0."""
    with serving(tmp_path, ["bash", "-c", f'exec "$@" {closed}', "bash"]) as (path, process):
        assert ask(path, "/v1/samples/7.png?steps=1")[0] == 200
        for word in closed.split():
            name = os.readlink(f"/proc/{process.pid}/fd/{word[0]}")
            assert name == "/dev/null"


@pytest.mark.parametrize("command", ["info", "--version", "--help"])
def test_output_that_goes_nowhere_is_a_failure(command):
    for wrapper in ('exec "$@" 1>&-', 'exec "$@" >/dev/full'):
        done = subprocess.run(["bash", "-c", wrapper, "bash", BINARY, command], stderr=subprocess.PIPE)
        assert done.returncode == 1 and done.stderr.startswith(b"denoised: standard output: ")


def test_nobody_reads_the_log(tmp_path):
    """Requests are answered, lines are counted, the stop is not held up; what is read later is whole."""
    reader, writer = small_pipe()
    with serving(tmp_path, stdout=subprocess.DEVNULL, stderr=writer) as (path, process):
        n = 0
        while metric(path, "log_lines_dropped_total") == 0:
            for _ in range(100):
                assert ask(path, "/livez?" + 3000 * "x")[0] == 200
            n += 100
            assert n < 20000
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    os.close(writer)
    with open(reader, "rb") as left:
        assert all(line.startswith(LINE) for line in left.read().splitlines())


def test_a_reader_comes_back(tmp_path):
    """Every line is there, or counted where it is missing."""
    reader, writer = small_pipe()
    with serving(tmp_path, stdout=subprocess.DEVNULL, stderr=writer) as (path, process):
        os.close(writer)
        while metric(path, "log_lines_dropped_total") == 0:
            for _ in range(100):
                assert ask(path, "/livez?" + 3000 * "x")[0] == 200
        lines = []

        def read():
            with open(reader, "rb") as log:
                lines.extend(map(json.loads, log))

        thread = threading.Thread(target=read)
        thread.start()
        wait_for(lambda: any(e["event"] == "log_lines_dropped" for e in lines), "the notice")
        n_dropped = metric(path, "log_lines_dropped_total")
        assert ask(path, "/livez?last")[0] == 200
        process.terminate()
        thread.join(DEADLINE_S)
    notices = [e for e in lines if e["event"] == "log_lines_dropped"]
    assert sum(e["lines"] for e in notices) == n_dropped
    assert all(e["level"] == "warn" for e in notices)
    assert [e for e in lines if e.get("query") == "last"] and lines[-1]["event"] == "stopped"
    ids = [e["request_id"] for e in lines if e["event"] == "request"]
    assert len(ids) == len(set(ids))


def test_both_streams_are_one_full_pipe(tmp_path):
    """Neither the start nor the stop waits."""
    reader, writer = small_pipe()
    os.write(writer, 4096 * b"x")
    with serving(tmp_path, stdout=writer, stderr=writer) as (path, _):
        assert ask(path, "/livez")[0] == 200
    os.close(writer)
    os.close(reader)


def test_nobody_at_the_other_end(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with serving(tmp_path, stdout=writer, stderr=writer) as (path, _):
        assert ask(path, "/livez")[0] == 200
        wait_for(lambda: metric(path, "log_lines_dropped_total") >= 3, "what nobody reads")
    os.close(writer)


def test_the_log_has_no_room(tmp_path):
    """A limit on the size of files, as a full disk: no signal ends the daemon."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    with open(tmp_path / "log", "wb") as log, serving(
            tmp_path, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=limit) as (path, process):
        while (tmp_path / "log").stat().st_size < 4096:
            assert ask(path, "/livez?" + 300 * "x")[0] == 200
        assert ask(path, "/livez")[0] == 200
        wait_for(lambda: metric(path, "log_lines_dropped_total") > 0, "lines without room")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        n_dropped = metric(path, "log_lines_dropped_total")
        assert ask(path, "/livez?roomy")[0] == 200
    lines = (tmp_path / "log").read_text().splitlines()
    told = [json.loads(e)["lines"] for e in lines if '"event":"log_lines_dropped"' in e]
    assert len(told) == 1 and told[0] >= n_dropped
    assert sum('"query":"roomy"' in e for e in lines) == 1


def test_nothing_is_lost_on_the_way_out(start_daemon):
    """As many lines as fit into what is held back, and a stop at once."""
    daemon = start_daemon("--workers", "1")
    for i in range(200):
        assert daemon.get(f"/livez?n={i}").status_code == 200
    daemon.stop()
    queries = [e.get("query") for e in daemon.events() if e["event"] == "request"]
    assert queries[-200:] == [f"n={i}" for i in range(200)]
    assert daemon.events()[-1]["event"] == "stopped"


def test_sample_has_no_room(tmp_path):
    """It says so and leaves nothing behind."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = subprocess.run([os.path.abspath(BINARY), "sample", "--model", os.path.abspath(MODEL), "--label=7",
                           "-o", "x.npy"], cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert os.listdir(tmp_path) == []


# ---- the process as others see it -----------------------------------------------------------


def test_it_is_called_by_its_name(start_daemon):
    """Though it has executed itself again; and its threads say what they do."""
    daemon = start_daemon("--workers", "2")
    pid = daemon.process.pid
    assert open(f"/proc/{pid}/comm").read() == "denoised\n"
    names = [open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task")]
    assert {"denoised", "outlet", "worker-0", "worker-1"} <= set(names)
    assert re.search(rb"^Name:\tdenoised$", open(f"/proc/{pid}/status", "rb").read(), re.M)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_before_the_beginning(tmp_path, signum):
    """While libraries initialise: a hangup does no harm, and a stop is a stop."""
    daemon = Daemon(tmp_path, "--workers", "1", wait=False,
                    variables=preloaded(EARLY_SIGNAL=str(int(signum))))
    if signum == signal.SIGHUP:
        daemon.await_line()
        assert daemon.get("/readyz").status_code == 200
        daemon.stop()
    else:
        assert daemon.wait() == 0
        assert daemon.events()[-1]["event"] == "stopped"
