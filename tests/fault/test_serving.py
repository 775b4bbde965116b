"""While it serves, a call that fails costs one request at most, and leaves nothing behind."""

import base64
import collections
import http.client
import itertools
import json
import os
import pathlib
import signal
import time
import uuid

import pytest

from tests.fault.conftest import ALL
from tests.http.conftest import wait_for

TIMEOUT_S = 20
BODY = {"label": "a", "n": 2, "seed": 5}
LEAK_BLOCKS = 12  # what the cache, stored answers and the C library's streams may differ by
# A prime, so that over the scripts all sorts of calls have their turn.
STRIDE = {"alloc": 1 if ALL else 3}
KINDS = ("alloc", "open", "write", "accept", "epoll", "receive", "send", "random")


class Refused(Exception):
    """An answer that says that something went wrong, as it should."""


def ask(daemon, method, path, body=None, headers=None, expect=(200,)):
    """One request on a connection of its own: the answer's body. Raises Refused or OSError."""
    connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=TIMEOUT_S)
    try:
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as e:
        raise ConnectionError(repr(e)) from e
    finally:
        connection.close()
    if answer.status in (500, 503):
        document = json.loads(text)
        if "/images/generations" in path:
            assert document["error"]["type"] == "server_error"
        else:
            assert document["type"].startswith("urn:denoised:problem:"), document
        raise Refused(f"{answer.status} {document.get('type')}")
    assert answer.status in expect, (method, path, answer.status, text[:300])
    return text


def events(text):
    """The names of a stream's events; it raises Refused for one that says what went wrong."""
    blocks = [[line for line in block.splitlines() if not line.startswith(":")]
              for block in text.decode().split("\n\n")]
    names = [line.removeprefix("event: ") for block in blocks for line in block[:2]
             if line.startswith("event: ")]
    if "error" in names:
        raise Refused(text[-300:])
    if "completed" not in names and not text.endswith(b"data: [DONE]\n\n"):
        raise ConnectionError("a stream without its end")
    return names


# ---- what clients do ------------------------------------------------------------------------


def sync(daemon):
    answer = json.loads(ask(daemon, "POST", "/v1/samples", BODY))
    return [image["digest"] for image in answer["images"]]


def compressed(daemon):
    ask(daemon, "POST", "/v1/samples", {**BODY, "n": 16}, {"Accept-Encoding": "gzip"})


def picture(daemon):
    assert ask(daemon, "POST", "/v1/samples", {**BODY, "n": 1},
               {"Accept": "image/png"}).startswith(b"\x89PNG")


def grid(daemon):
    body = {**BODY, "layout": "grid", "scale": 3}
    assert ask(daemon, "POST", "/v1/samples", body, {"Accept": "image/png"}).startswith(b"\x89PNG")


def get(daemon, seeds=itertools.count()):
    for _ in range(2):  # the second from the cache
        ask(daemon, "GET", f"/v1/samples/a.png?seed={next(seeds) // 2}")


def job(daemon):
    name = uuid.uuid4().hex
    try:
        ask(daemon, "POST", "/v1/jobs", {**BODY, "id": name}, expect=(202,))
        document = json.loads(ask(daemon, "GET", f"/v1/jobs/{name}?wait=20"))
        if document["status"] != "succeeded":
            assert document["status"] == "failed", document
            raise Refused("failed")
        ask(daemon, "GET", f"/v1/jobs/{name}/result")
        ask(daemon, "GET", f"/v1/jobs/{name}/images/1.png")
        ask(daemon, "GET", f"/v1/jobs/{name}/grid.png")
        assert events(ask(daemon, "GET", f"/v1/jobs/{name}/events"))
        ask(daemon, "GET", "/v1/jobs?limit=5")
    finally:
        daemon.control.disarm()
        ask(daemon, "DELETE", f"/v1/jobs/{name}", expect=(204, 404))


def async_then_cancel(daemon):
    name = None
    try:
        answer = ask(daemon, "POST", "/v1/samples", BODY, {"Prefer": "respond-async"}, (202,))
        name = json.loads(answer)["id"]
        ask(daemon, "POST", f"/v1/jobs/{name}/cancel", expect=(200, 409))
    finally:
        daemon.control.disarm()
        for known in json.loads(ask(daemon, "GET", "/v1/jobs"))["data"]:
            ask(daemon, "DELETE", f"/v1/jobs/{known['id']}", expect=(204,))


def stream(daemon):
    text = ask(daemon, "POST", "/v1/samples", {**BODY, "preview_every": 1},
               {"Accept": "text/event-stream"})
    assert events(text).count("image") == 2


def openai(daemon):
    answer = json.loads(ask(daemon, "POST", "/v1/images/generations", {"prompt": "a", "n": 2}))
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")


def openai_stream(daemon):
    body = {"prompt": "a", "stream": True, "partial_images": 1}
    events(ask(daemon, "POST", "/v1/images/generations", body))


def verify(daemon, known=[]):  # pylint: disable=dangerous-default-value
    if not known:
        known.append(ask(daemon, "POST", "/v1/samples", {**BODY, "n": 1}, {"Accept": "image/png"}))
    answer = ask(daemon, "POST", "/v1/verify", known[0], {"Content-Type": "image/png"})
    assert json.loads(answer)["match"] is True


def repeated(daemon):
    headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
    first = ask(daemon, "POST", "/v1/samples", BODY, headers)
    again = ask(daemon, "POST", "/v1/samples", BODY, headers)
    assert json.loads(first)["images"] == json.loads(again)["images"]


def limited(daemon):
    ask(daemon, "POST", "/v1/samples", {**BODY, "timeout_ms": 60000})


def bad(daemon):
    ask(daemon, "POST", "/v1/samples", {"label": 7, "steps": -1, "what": [1, {"a": 2}]},
        expect=(400,))
    ask(daemon, "POST", "/v1/images/generations", {"prompt": 1}, expect=(400,))


def documents(daemon):
    for path in ("/v1/models", "/v1/capabilities", "/version", "/livez", "/readyz", "/"):
        ask(daemon, "GET", path, headers={"Accept-Encoding": "gzip"})
    ask(daemon, "GET", "/metrics")
    ask(daemon, "GET", "/none", expect=(404,))


def reload(daemon):
    before = len(daemon.events())
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: [e for e in daemon.events()[before:] if e["event"].startswith("api_keys")],
             "the keys to be read", TIMEOUT_S)


SCRIPTS = (sync, compressed, picture, grid, get, job, async_then_cancel, stream, openai,
           openai_stream, verify, repeated, limited, bad, documents)


# ---- the loop -------------------------------------------------------------------------------


class Outcomes:
    """What became of the runs in which a call failed."""

    def __init__(self):
        self.counts = collections.Counter()

    def run(self, daemon, script, kind, n):
        """One run in which the nth call of a kind fails. Returns whether there were so many."""
        control = daemon.control
        control.arm(kind, n)
        outcome = "unharmed"
        try:
            script(daemon)
        except Refused:
            outcome = "refused"
        except OSError:
            outcome = "cut off"
        finally:
            calls, failed = control.disarm()
        where = f"{script.__name__}, {kind} {n} of {calls}: {' '.join(control.callers()[:12])}"
        assert daemon.process.poll() is None, f"dead of {where}"
        if not failed:
            assert outcome == "unharmed", f"{outcome} without a failure: {where}"
            return False
        self.counts[outcome] += 1
        return True


def settled(daemon):
    """Wait until nothing is at work. Returns (blocks allocated, descriptors)."""
    def is_idle():
        m = daemon.metrics()
        return (m["denoised_queue_rows"] == m["denoised_workers_busy"] == 0
                and m["denoised_http_connections"] == 1)

    wait_for(is_idle, "the daemon to be idle", TIMEOUT_S)
    # The connection that asked goes a little later.
    count = lambda: (daemon.control.live, len(os.listdir(f"/proc/{daemon.process.pid}/fd")))
    seen = [count()]

    def is_steady():
        seen.append(count())
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    wait_for(is_steady, "memory to be steady", TIMEOUT_S)
    return seen[-1]


def torture(daemon, script, kind, truth):
    """Let one call after the other fail. Returns the outcomes."""
    outcomes = Outcomes()
    for _ in range(3):
        script(daemon)
    before = settled(daemon)
    stride = STRIDE.get(kind, 1)
    for n in itertools.count(1 + sum(map(ord, script.__name__)) % stride, stride):
        if not outcomes.run(daemon, script, kind, n):
            break
        if truth:
            assert sync(daemon) == truth, f"other pixels after {kind} {n} in {script.__name__}"
    after = settled(daemon)
    assert after[0] - before[0] <= LEAK_BLOCKS, f"leaks: {before} -> {after}, {kind}"
    assert after[1] <= before[1], f"descriptors: {before} -> {after}, {kind}"
    return outcomes.counts


SETTINGS = ("--cache-bytes", 20000, "--idempotency-max-bytes", 65536)


@pytest.mark.parametrize("kind", KINDS)
def test_one_call_fails(start_faulty, kind, record_property):
    daemon = start_faulty(*SETTINGS)
    for _ in range(60):  # until the cache and the stored answers are as full as they get
        get(daemon)
        repeated(daemon)
    truth = sync(daemon)
    total = collections.Counter()
    begin = time.monotonic()
    for script in SCRIPTS:
        counts = torture(daemon, script, kind, truth)
        total += counts
        if ALL:
            print(f"{kind:8} {script.__name__:18} {dict(counts)}")
    record_property("outcomes", dict(total))
    print(f"{kind}: {dict(total)} in {time.monotonic() - begin:.0f} s")
    wait_for(lambda: daemon.metrics()["denoised_queue_jobs"] == 0, "the queue to be empty")


def test_keys_are_read_again(start_faulty, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("".join(f"client-{i} key-of-sixteen-characters-{i}\n" for i in range(5)))
    daemon = start_faulty("--api-keys-file", keys)
    for kind in ("alloc", "open", "read"):
        outcomes = Outcomes()
        for n in itertools.count(1):
            if not outcomes.run(daemon, reload, kind, n):
                break
        assert outcomes.counts
    headers = {"X-API-Key": "key-of-sixteen-characters-3"}
    ask(daemon, "POST", "/v1/samples", BODY, headers)
    ask(daemon, "POST", "/v1/samples", BODY, expect=(401,))


def test_models_are_read_again(start_faulty):
    """Whatever fails, a model serves: the old one, or all of the new one."""
    daemon = start_faulty()
    path = pathlib.Path(daemon.process.args[daemon.process.args.index("--model") + 1])

    def digest():
        return json.loads(ask(daemon, "GET", "/v1/models"))["data"][0]["digest"]

    def change(daemon):
        data = bytearray(path.read_bytes())
        data[-4] ^= 1
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)
        before = len(daemon.events())
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: [e for e in daemon.events()[before:]
                          if e["event"] in ("models_reloaded", "model_refused")],
                 "the model to be read", TIMEOUT_S)

    known = {digest()}
    change(daemon)
    known.add(digest())
    before = settled(daemon)
    for kind, stride in (("alloc", 1 if ALL else 29), ("open", 1), ("read", 1), ("mmap", 1)):
        outcomes = Outcomes()
        for n in itertools.count(1, stride):
            if not outcomes.run(daemon, change, kind, n):
                break
            assert digest() in known and len(sync(daemon)) == 2
        if ALL:
            print(f"{kind:8} {dict(outcomes.counts)}")
    after = settled(daemon)
    assert after[0] - before[0] <= LEAK_BLOCKS and after[1] <= before[1], f"{before} -> {after}"
