"""API keys, what they allow, and the file that they come from."""

import hashlib
import http.client
import signal

import pytest
import requests

from .conftest import DEADLINE_S, ENDLESS, SANITIZED, Daemon, wait_for
from .test_errors import check_problem

ADA, BOB, EVE = "ada-0123456789abcdef", "bob/0123456789+abcdef==", "eve-0123456789abcdef"
ONE = {"label": 1, "steps": 1}


def sha256(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def start_with_keys(start_daemon, tmp_path):
    """start_with_keys(lines, flags...) -> a daemon with .keys, the path of its file."""
    def start(lines, *arguments, **more):
        path = tmp_path / "keys"
        path.write_text(lines)
        daemon = start_daemon("--api-keys-file", path, *arguments, **more)
        daemon.keys = path
        return daemon
    return start


def reload(daemon, lines, event):
    """Write the file, send SIGHUP, and wait for the event that says how it went."""
    count = sum(e["event"] == event for e in daemon.events())
    daemon.keys.write_text(lines)
    daemon.signal(signal.SIGHUP)
    return wait_for(lambda: [e for e in daemon.events() if e["event"] == event][count:], event)[0]


# ---- who is let in --------------------------------------------------------------------------------

def test_a_key_is_needed(start_with_keys):
    daemon = start_with_keys(f"# who may\n\nada\t{ADA}\nbob {sha256(BOB).upper().replace('SHA', 'sha')}\n")
    for headers in (bearer(ADA), {"X-API-Key": ADA}, bearer(BOB), {"X-API-Key": BOB},
                    {"authorization": f"bearer   {BOB}"}):
        assert daemon.post(ONE, headers=headers).status_code == 200
    wrong = ["x", ADA[:-1], ADA + "x", ADA.upper(), sha256(ADA), sha256(BOB), "ada", "", "x" * 5000]
    for key in wrong:
        answer = daemon.post(ONE, headers={"Authorization": f"Bearer {key}"})
        check_problem(answer, 401, "unauthorized")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert daemon.post(ONE, headers={"X-API-Key": key}).status_code == 401
    for headers in ({}, {"Authorization": "Basic " + ADA}, {"Authorization": ADA},
                    {"Authorization": "Bearer" + ADA}):
        answer = daemon.post(ONE, headers=headers)
        check_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="denoised"')
    check_problem(daemon.post(ONE, headers={**bearer(ADA), "X-API-Key": BOB}), 400,
                  "invalid-request")
    daemon.stop()
    text = daemon.log_path.read_text()
    assert ADA not in text and BOB not in text and sha256(BOB)[7:] not in text
    clients = {e.get("client") for e in daemon.events() if e["event"] == "request"}
    assert clients == {"ada", "bob", None}


def test_which_routes_are_for_everybody(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\n")
    for path in ("/livez", "/readyz", "/metrics", "/", "/openapi.json", "/docs"):
        assert daemon.get(path).status_code == 200, path
    for path in ("/v1/models", "/v1/models/mnist", "/v1/capabilities", "/version",
                 "/v1/samples/7.png?steps=1"):
        assert daemon.get(path).status_code == 401, path
        assert daemon.get(path, headers=bearer(ADA)).status_code == 200, path
    assert requests.options(daemon.url + "/v1/samples", timeout=DEADLINE_S).status_code == 204


def test_metrics_on_request(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\n", "--metrics-need-key", "on")
    assert daemon.get("/metrics").status_code == 401
    assert daemon.get("/metrics", headers=bearer(ADA)).status_code == 200
    assert daemon.get("/livez").status_code == daemon.get("/readyz").status_code == 200


def test_a_refusal_comes_before_the_body(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\n")
    client = daemon.connect()
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   b"Content-Length: 1000\r\n\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 401 ")
    client.close()


def test_pictures_for_clients_with_a_key_are_private(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\n")
    answer = daemon.get("/v1/samples/7.png?seed=1&steps=1", headers=bearer(ADA))
    assert answer.headers["Cache-Control"].startswith("private, ")


def test_any_key_will_do_where_none_is_needed(daemon):
    assert daemon.post(ONE, headers=bearer("whatever")).status_code == 200


def test_memory_does_not_depend_on_who_asks(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\n", "--log-access", "off")

    def ask(i):
        address = f"127.{1 + i % 100}.{i // 250 % 250}.{1 + i % 250}"
        connection = http.client.HTTPConnection(daemon.host, daemon.port, DEADLINE_S,
                                                source_address=(address, 0))
        connection.request("GET", "/v1/models", headers={"X-API-Key": f"{EVE}-{i}"})
        assert connection.getresponse().status == 401
        connection.close()

    for i in range(500):
        ask(i)
    before = daemon.metrics()["process_resident_memory_bytes"]
    for i in range(1000 if SANITIZED else 10000):
        ask(i)
    after = daemon.metrics()["process_resident_memory_bytes"]
    assert after - before < (64 << 20 if SANITIZED else 1 << 20)  # 100 bytes a client would show


# ---- quotas ---------------------------------------------------------------------------------------

def limits_of(answer):
    """The two RateLimit headers as {name: {parameter: value}}."""
    merged = {}
    for name in ("RateLimit-Policy", "RateLimit"):
        for item in answer.headers[name].split(", "):
            key, *parameters = item.split(";")
            merged.setdefault(key.strip('"'), {}).update(
                {k: int(v) for k, v in (p.split("=") for p in parameters)})
    return merged


def test_rows_per_minute(start_with_keys):
    daemon = start_with_keys(f"ada {ADA} rows-per-minute=6 burst-rows=4\nbob {BOB}\n")
    first = daemon.post({**ONE, "n": 3}, headers=bearer(ADA))
    assert first.status_code == 200
    assert limits_of(first)["rows"] == {"q": 4, "w": 40, "r": 1, "t": limits_of(first)["rows"]["t"]}
    refused = daemon.post({**ONE, "n": 3}, headers=bearer(ADA))
    check_problem(refused, 429, "quota-exceeded")
    # Two rows are missing, at one in ten seconds; a little time has passed.
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert limits_of(refused)["rows"]["r"] <= 1
    assert daemon.post({**ONE, "n": 3}, headers=bearer(BOB)).status_code == 200
    free = daemon.get("/v1/models", headers=bearer(ADA))
    assert free.status_code == 200 and limits_of(free)["rows"]["q"] == 4
    assert "RateLimit" not in daemon.get("/v1/models", headers=bearer(BOB)).headers
    metrics = daemon.metrics()
    assert metrics['denoised_jobs_total{outcome="rejected",reason="quota"}'] == 1


def test_a_large_request_waits_for_a_whole_burst_and_pays_later(start_with_keys):
    daemon = start_with_keys(f"ada {ADA} rows-per-minute=600 burst-rows=2\n")
    assert daemon.post({**ONE, "n": 12}, headers=bearer(ADA)).status_code == 200
    refused = daemon.post(ONE, headers=bearer(ADA))
    assert refused.status_code == 429 and limits_of(refused)["rows"]["r"] == 0
    wait_for(lambda: daemon.post(ONE, headers=bearer(ADA)).status_code == 200, "the debt to be paid")


def test_rows_in_flight(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB} rows-in-flight=100\n",
                             "--max-rows-in-flight", 64, "--workers", 1)
    body = requests.Request("POST", daemon.url + "/v1/samples", json=ENDLESS,
                            headers={"X-API-Key": ADA}).prepare()
    client = daemon.connect()
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                   b"Content-Length: %d\r\n\r\n%s" % (ADA.encode(), len(body.body), body.body))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the first to be let in")
    refused = daemon.post(ONE, headers=bearer(ADA))
    check_problem(refused, 429, "quota-exceeded")
    assert limits_of(refused)["rows-in-flight"] == {"q": 64, "r": 0}
    assert int(refused.headers["Retry-After"]) >= 1
    assert daemon.post(ONE, headers=bearer(BOB)).status_code == 200
    client.close()
    wait_for(lambda: daemon.post(ONE, headers=bearer(ADA)).status_code == 200, "it to leave")
    # What could never be let in is no matter of waiting.
    never = daemon.post({**ONE, "n": 65}, headers=bearer(ADA))
    check_problem(never, 400, "invalid-request", "/n")


def test_rows_in_flight_stay_while_others_wait_for_the_picture(start_with_keys):
    """The row in flight is of who waits for it: of the second, once the first has left."""
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB}\n", "--max-rows-in-flight", 1, "--workers", 1, "--isa", "scalar")

    def ask(key):
        client = daemon.connect()
        client.sendall(b"GET /v1/samples/7.png?seed=6&sampler=ddpm&steps=1000&guidance_scale=1 HTTP/1.1\r\n"
                       b"Host: x\r\nX-API-Key: %s\r\n\r\n" % key.encode())
        return client

    first = ask(ADA)
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the first to be let in")
    second = ask(BOB)
    wait_for(lambda: daemon.metric("http_connections") >= 3, "the second")
    first.close()
    wait_for(lambda: [e for e in daemon.events() if e.get("aborted")], "the first to leave")
    assert daemon.metric("queue_jobs") == 1  # the second had joined
    check_problem(daemon.post(ONE, headers=bearer(BOB)), 429, "quota-exceeded")
    assert daemon.post(ONE, headers=bearer(ADA)).status_code == 200
    second.close()
    wait_for(lambda: daemon.post(ONE, headers=bearer(BOB)).status_code == 200, "both to leave")


def test_what_is_refused_otherwise_does_not_count(start_with_keys):
    daemon = start_with_keys(f"ada {ADA} rows-per-minute=6\n", "--max-queue-rows", 2,
                             "--max-rows-per-request", 2)
    client = daemon.connect()
    data = b'{"label":1,"n":2,"steps":1000,"sampler":"ddpm"}'
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                   b"Content-Length: %d\r\n\r\n%s" % (ADA.encode(), len(data), data))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the first to be let in")
    for body in ({**ONE, "n": 2}, {**ONE, "n": 2}, {"label": 99}):
        answer = daemon.post(body, headers=bearer(ADA))
        assert answer.status_code in (400, 503)
        assert limits_of(answer)["rows"]["r"] == 4
    client.close()


# ---- the file -------------------------------------------------------------------------------------

def test_reload(start_with_keys):
    daemon = start_with_keys(f"ada {ADA} rows-per-minute=60 burst-rows=1\nbob {BOB}\n")
    busy = daemon.connect()
    data = b'{"label":1,"n":8,"steps":100,"seed":1}'
    busy.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (BOB.encode(), len(data), data))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "work to reload amid")
    assert daemon.post({**ONE, "n": 200}, headers=bearer(ADA)).status_code == 200
    assert daemon.post(ONE, headers=bearer(ADA)).status_code == 429

    done = reload(daemon, f"eve {EVE}\nada {sha256(ADA)} rows-per-minute=60 burst-rows=1\n", "api_keys")
    assert done["keys"] == 2
    assert daemon.post(ONE, headers=bearer(BOB)).status_code == 401
    assert daemon.post(ONE, headers=bearer(EVE)).status_code == 200
    assert daemon.post(ONE, headers=bearer(ADA)).status_code == 429  # what was used stays used

    kept = reload(daemon, "eve short\n", "api_keys_kept")
    assert "line 1" in kept["reason"] and "short" not in kept["reason"]
    assert daemon.post(ONE, headers=bearer(EVE)).status_code == 200
    daemon.keys.unlink()
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: sum(e["event"] == "api_keys_kept" for e in daemon.events()) == 2, "the log")
    assert daemon.post(ONE, headers=bearer(EVE)).status_code == 200

    reload(daemon, f"ada {ADA}\n", "api_keys")
    assert daemon.post(ONE, headers=bearer(ADA)).status_code == 200  # its limit is gone
    assert busy.recv(16).startswith(b"HTTP/1.1 200")  # let in, though its key is gone
    busy.close()


def test_keys_do_not_stay_in_memory(start_with_keys):
    """Neither the file's text nor what a guess could be compared with; what is kept has salt."""
    padding = "# of the allocator's own notes\n" * 100
    daemon = start_with_keys(f"{padding}ada {ADA}\n")
    for i in range(2):
        with open(f"/proc/{daemon.process.pid}/maps") as maps:
            heap = [line.split()[0] for line in maps if line.rstrip().endswith("[heap]")]
        for low, high in (map(lambda text: int(text, 16), part.split("-")) for part in heap):
            with open(f"/proc/{daemon.process.pid}/mem", "rb") as memory:
                memory.seek(low)
                text = memory.read(high - low)
                assert ADA.encode() not in text
                assert hashlib.sha256(ADA.encode()).digest() not in text
        if i == 0:
            reload(daemon, f"{padding}ada {ADA}\nbob {BOB}\n", "api_keys")


def test_sighup_without_a_file_changes_nothing(start_daemon):
    daemon = start_daemon()
    daemon.signal(signal.SIGHUP)
    assert daemon.post(ONE).status_code == 200


BROKEN = [("", "no key"), ("# nobody\n", "no key"), ("ada\n", "line 1"), ("ada short\n", "line 1"),
          (f"ada {ADA}\nbob sha256:12\n", "line 2"), (f"a:b {ADA}\n", "line 1"),
          (f"ada {ADA} unlimited\n", "line 1"), (f"ada {ADA} rows-per-minute=-1\n", "line 1"),
          (f"ada {ADA} rows-per-minute=1e3\n", "line 1"), (f"ada {ADA} rows-in-flight=\n", "line 1"),
          (f"ada {ADA} rows-in-flight=1000000001\n", "line 1"), (f"ada {ADA} burst-rows=4\n", "line 1"),
          (f"ada {ADA}\nada {BOB}\n", "ada occurs twice"), (f"ada {ADA}\nbob {ADA}\n", "key of another"),
          (f"ada {ADA}\nbob {sha256(ADA)}\n", "key of another"), (f"ada {ADA}é0123456789\n", "line 1"),
          ("x" * 64 + f" {ADA}\n", "line 1"), (f"ada {ADA}\0\n", "line 1"), ("ada " + "x" * 513, "line 1"),
          (f"ada sha256:{'g' * 64}", "line 1")]


@pytest.mark.parametrize("text,reason", BROKEN)
def test_a_broken_file_at_start(tmp_path, text, reason):
    path = tmp_path / "keys"
    path.write_text(text)
    daemon = Daemon(tmp_path, "--api-keys-file", str(path), wait=False)
    assert daemon.wait() == 1
    failed = daemon.events()[-1]
    assert failed["event"] == "api_keys_failed" and str(path) in failed["reason"]
    assert reason in failed["reason"] and ADA not in failed["reason"]


def test_files_that_are_none(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        daemon = Daemon(tmp_path, "--api-keys-file", str(path), wait=False)
        assert daemon.wait() == 1
        assert daemon.events()[-1]["event"] == "api_keys_failed"


@pytest.mark.parametrize("flag,value", [("--rows-per-minute", "5"), ("--max-rows-in-flight", "5"),
                                        ("--metrics-need-key", "on"), ("--burst-rows", "5")])
def test_limits_of_nobody(tmp_path, flag, value):
    daemon = Daemon(tmp_path, flag, value, wait=False)
    assert daemon.wait() == 2
    assert flag in daemon.log_path.read_text()


def test_open_to_other_machines_is_said(start_with_keys, start_daemon):
    warned = start_daemon(listen="0.0.0.0:0")
    assert any(e["event"] == "no_api_keys" and e["level"] == "warn" for e in warned.events())
    for daemon in (start_daemon(), start_with_keys(f"ada {ADA}\n", listen="0.0.0.0:0")):
        assert not any(e["event"] == "no_api_keys" for e in daemon.events())
