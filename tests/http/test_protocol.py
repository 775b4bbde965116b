"""HTTP itself: connections, slow clients, HEAD, request ids, the listening socket, the log."""

import http.client
import json
import os
import select
import signal
import socket
import stat
import struct
import time

import pytest
import requests

from . import contract, wire
from .conftest import DEADLINE_S, ENDLESS, Daemon, Hold, preloaded, read_response, wait_for
from .test_errors import check_problem

JSON_ROUTES = ["/", "/v1/models", "/v1/models/mnist", "/v1/capabilities", "/livez", "/readyz",
               "/version", "/openapi.json"]


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_head_is_get_without_its_body(daemon, path):
    get, head = daemon.get(path), requests.head(daemon.url + path, timeout=DEADLINE_S)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers.get(name) == get.headers.get(name)


def test_head_of_a_picture_draws_nothing(daemon):
    url = "/v1/samples/7.png?seed=42&steps=3"
    drawn = daemon.metric("steps_total")
    head = requests.head(daemon.url + url, timeout=DEADLINE_S)
    assert daemon.metric("steps_total") == drawn
    get = daemon.get(url)
    for name in ("ETag", "Cache-Control", "Content-Type", "X-Seed", "X-Model-Digest"):
        assert head.headers[name] == get.headers[name]
    assert head.headers.get("Content-Length") in (None, get.headers["Content-Length"])
    with requests.Session() as session:  # what follows on the connection is in order
        for method in ("HEAD", "GET", "HEAD", "GET"):
            answer = session.request(method, daemon.url + url, timeout=DEADLINE_S)
            assert (answer.status_code, len(answer.content) > 0) == (200, method == "GET")
        for _ in range(3):
            known = session.get(daemon.url + url, headers={"If-None-Match": get.headers["ETag"]},
                                timeout=DEADLINE_S)
            assert (known.status_code, known.content) == (304, b"")
    known = requests.head(daemon.url + url, headers={"If-None-Match": head.headers["ETag"]},
                          timeout=DEADLINE_S)
    assert known.status_code == 304


@pytest.mark.parametrize("given,kept", [
    ("abc-1.2_Z", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False),
    ("a\"b", False), ("ü", False), ("a;b", False)])
def test_request_id(daemon, given, kept):
    answer = daemon.get("/livez", headers={"X-Request-Id": given.encode()})
    if kept:
        assert answer.headers["X-Request-Id"] == given
    else:
        assert answer.headers["X-Request-Id"].startswith("req_")


def test_request_ids_differ(daemon):
    assert len({daemon.get("/livez").headers["X-Request-Id"] for _ in range(10)}) == 10


def test_keep_alive(daemon):
    connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=DEADLINE_S)
    connection.connect()
    port = connection.sock.getsockname()
    for body in ('{"label":1,"steps":1}', '{"label":99}', '{"label":1,"steps":1}', "nope"):
        connection.request("POST", "/v1/samples", body)
        answer = connection.getresponse()
        answer.read()
        assert connection.sock and connection.sock.getsockname() == port
    connection.close()


def test_pipelined_requests_are_answered_in_order(daemon):
    def post(body):
        return (b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    client = daemon.connect()
    client.sendall(post(b'{"label":1,"seed":1,"steps":4}')
                   + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
                   + post(b'{"label":2,"seed":2,"steps":1}') + post(b"{}")
                   + b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    stream = client.makefile("rb")
    answers = [read_response(stream) for _ in range(5)]
    assert [a[0] for a in answers] == [200, 200, 200, 400, 404]
    assert json.loads(answers[0][2])["params"]["label"] == 1
    assert json.loads(answers[1][2]) == {"status": "alive"}
    assert json.loads(answers[2][2])["params"]["label"] == 2
    assert stream.read() == b""
    client.close()


def test_http_1_0(daemon):
    client = daemon.connect()
    client.sendall(b"GET /v1/samples/7.png?seed=1&steps=1 HTTP/1.0\r\n\r\n")
    stream = client.makefile("rb")
    status, headers, body = read_response(stream)
    assert status == 200 and body.startswith(b"\x89PNG") and stream.read() == b""
    client.close()


@pytest.mark.parametrize("target,status,media_type", [
    ("http://x/livez", 200, "application/json"),
    ("HTTP://user@[::1]:80/livez", 200, "application/json"),
    ("https://x", 200, "application/json"),
    ("http://x/v1/samples/7.png?seed=1&steps=1", 200, "image/png"),
    ("http://x?seed=1", 400, "application/problem+json"),
    ("http://x/nope", 404, "application/problem+json"),
    ("http:///livez", 404, "application/problem+json"),
    ("ftp://x/livez", 404, "application/problem+json"),
    ("/http://x/livez", 404, "application/problem+json")])
def test_absolute_targets(daemon, target, status, media_type):
    """RFC 9112, 3.2.2; whose name a request was for plays no part."""
    answer = wire.ask((daemon.host, daemon.port), "GET", target)
    contract.check_answer("GET", target, answer.status, answer.headers, answer.body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, media_type)


def test_a_post_without_length(daemon):
    client = daemon.connect()
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, body = read_response(client.makefile("rb"))
    assert status == 411 and json.loads(body)["type"].endswith(":length-required")
    client.close()


def test_expect_100_continue(daemon):
    body = b'{"label":1,"steps":1}'
    client = daemon.connect()
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(body))
    stream = client.makefile("rb")
    assert stream.readline().startswith(b"HTTP/1.1 100") and stream.readline() == b"\r\n"
    client.sendall(body)
    assert read_response(stream)[0] == 200
    client.close()

    # What is refused anyway is refused before the body is sent.
    client = daemon.connect()
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   b"Content-Length: 100000000\r\n\r\n")
    assert read_response(client.makefile("rb"))[0] == 413
    client.close()


GARBAGE = [
    b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
    b"GET /livez HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"A" * 100000,
    b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    b"POST /v1/samples HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]


def test_garbage_harms_nobody(start_daemon):
    daemon = start_daemon("--request-timeout-s", 1)
    clients = []
    for garbage in GARBAGE:
        clients.append(daemon.connect())
        try:
            clients[-1].sendall(garbage)
            clients[-1].shutdown(socket.SHUT_WR)
        except OSError:  # reset, or not connected any more
            pass
    for client in clients:
        try:
            while client.recv(65536):
                pass
        except OSError:  # reset, or not connected any more
            pass
        client.close()
    assert daemon.get("/livez").status_code == 200
    wait_for(lambda: daemon.metric("http_connections") == 1, "the connections to be gone")


def test_a_slow_request_is_cut_off(start_daemon):
    daemon = start_daemon("--request-timeout-s", 1)
    starts = {
        "line": b"GET /live",
        "headers": b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "body": b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
        "chunk": b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9999\r\n",
    }
    for name, start in starts.items():
        client = daemon.connect()
        client.sendall(start)
        end = time.monotonic() + DEADLINE_S
        # A byte now and then, so that the connection is never inactive.
        while not select.select([client], [], [], 0.1)[0]:
            assert time.monotonic() < end, f"slow {name} was never cut off"
            client.sendall(b"a")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408 "), (name, answer)
        assert b"urn:denoised:problem:request-timeout" in answer
        client.close()
    wait_for(lambda: daemon.metric("http_connections") == 1, "the late ones to be gone")


def test_a_connection_opened_in_advance_is_closed_quietly(start_daemon):
    """Browsers and proxies open some that they may need; a 408 there would be taken for an answer."""
    daemon = start_daemon("--request-timeout-s", 1)
    client = daemon.connect()
    assert client.recv(100) == b""
    client.close()


def test_work_is_not_under_the_clients_limits(start_daemon):
    daemon = start_daemon("--request-timeout-s", 1, "--keepalive-timeout-s", 1)
    body = {"label": 3, "n": 64, "steps": 25, "sampler": "ddpm"}
    took_ms = 0
    while took_ms < 1500:  # as the daemon says; what takes less shows nothing
        body["steps"] *= 2
        client = daemon.send_post(body)
        status, _, answer = read_response(client.makefile("rb"))
        assert status == 200, answer
        answer = json.loads(answer)
        assert len(answer["images"]) == 64
        took_ms = answer["timings"]["queue_ms"] + answer["timings"]["sample_ms"]
        client.close()


def test_an_idle_connection_is_closed(start_daemon):
    daemon = start_daemon("--keepalive-timeout-s", 1)
    client = daemon.connect()
    client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    stream = client.makefile("rb")
    assert read_response(stream)[0] == 200
    assert stream.read() == b""  # the end, and no 408: there was no request
    client.close()


def test_a_client_that_sends_no_more_is_let_go(start_daemon):
    """Its end may arrive with its request, and then makes no noise of its own."""
    daemon = start_daemon("--keepalive-timeout-s", 3600)
    for _ in range(50):
        client = daemon.connect()
        client.sendall(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read_response(client.makefile("rb"))[0] == 404
        client.close()
    wait_for(lambda: daemon.metric("http_connections") == 1, "the connections to be closed")


@pytest.mark.parametrize("part", [
    b"GET /li", b"GET /livez HTTP/1.1\r\nHo",
    b"POST /v1/samples HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
    b"POST /v1/samples HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"])
def test_who_leaves_amid_a_request_holds_no_place(start_daemon, part):
    """Its end comes with what it sent, and then makes no noise of its own."""
    daemon = start_daemon("--request-timeout-s", 3600, "--workers", 1)
    for _ in range(40):
        client = daemon.connect()
        client.sendall(part)
        client.close()
    for _ in range(3):  # and in two pieces
        client = daemon.connect()
        client.sendall(part[:4])
        wait_for(lambda: daemon.metric("http_connections") >= 2, "the connection")
        client.sendall(part[4:])
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
        client.close()
    wait_for(lambda: daemon.metric("http_connections") == 1, "the connections to be gone")


def test_what_arrived_while_the_process_was_stopped_is_not_late(start_daemon):
    daemon = start_daemon("--request-timeout-s", 2, "--workers", 1)
    whole = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    clients = [daemon.connect() for _ in range(3)]
    clients[0].sendall(whole[:9])
    wait_for(lambda: daemon.metric("http_connections") == 4, "the connections")
    daemon.signal(signal.SIGSTOP)
    end = time.monotonic() + 4
    clients[0].sendall(whole[9:])
    clients[1].sendall(whole)
    wait_for(lambda: time.monotonic() > end, "twice the limit to pass")
    daemon.signal(signal.SIGCONT)
    for client in clients[:2]:
        assert read_response(client.makefile("rb"))[0] == 200
    clients[2].sendall(whole)
    assert read_response(clients[2].makefile("rb"))[0] == 200
    for client in clients:
        client.close()


@pytest.mark.parametrize("half_close", ["on", "off"])
def test_a_client_that_closes_its_sending_half(start_daemon, half_close):
    """As `nc -N` and some balancers do. By default it has hung up, and its work ends."""
    daemon = start_daemon("--half-close", half_close, "--workers", 1)
    client = daemon.send_post({**ENDLESS, "n": 1, "steps": 60} if half_close == "on" else ENDLESS)
    client.shutdown(socket.SHUT_WR)
    if half_close == "on":
        status, _, answer = read_response(client.makefile("rb"))
        assert status == 200 and len(json.loads(answer)["images"]) == 1
    else:
        assert client.recv(100) == b""
    client.close()
    gone = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the job")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()  # a reset is a hang-up for both
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the hang-up to be seen")


def test_connections_beyond_the_limit_wait_their_turn(start_daemon):
    daemon = start_daemon("--max-connections", 4)
    idle = [daemon.connect() for _ in range(4)]
    for client in idle:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client.makefile("rb"))[0] == 200
    late = daemon.connect()
    late.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in idle:
        client.close()
    assert read_response(late.makefile("rb"))[0] == 200
    late.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)


def unix_get(path, url):
    connection = UnixConnection(path)
    connection.request("GET", url)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_unix_socket(start_daemon, tmp_path):
    path = str(tmp_path / "d.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)  # left behind by a daemon that was killed
    stale.close()
    daemon = start_daemon(listen="unix:" + path)
    assert daemon.line == f"denoised: listening on unix:{path}\n"
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    status, body = unix_get(path, "/v1/samples/7.png?seed=1&steps=1")
    assert status == 200 and body.startswith(b"\x89PNG")
    connection = UnixConnection(path)
    connection.request("POST", "/v1/samples", '{"label":1,"n":64,"steps":1000,"sampler":"ddpm"}')
    wait_for(lambda: b"\ndenoised_queue_jobs 1\n" in unix_get(path, "/metrics")[1], "the job")
    connection.close()
    wait_for(lambda: b"\ndenoised_queue_jobs 0\n" in unix_get(path, "/metrics")[1], "the hang-up")

    second = start_daemon(listen="unix:" + path, wait=False)  # in use: not to be stolen
    assert second.process.wait(DEADLINE_S) == 1
    second.log.close()
    assert unix_get(path, "/livez")[0] == 200
    daemon.stop()
    assert not os.path.exists(path)


def test_a_name_that_is_another_daemons_by_now_stays(start_daemon, tmp_path):
    path = str(tmp_path / "d.sock")
    first = start_daemon(listen="unix:" + path)
    os.unlink(path)
    start_daemon(listen="unix:" + path)
    first.stop()
    assert unix_get(path, "/livez")[0] == 200


def test_a_unix_socket_goes_after_its_name(start_daemon, tmp_path):
    """Else the next daemon takes the name of one that nobody listens at, and loses it again."""
    path = str(tmp_path / "d.sock")
    hold = Hold(tmp_path / "hold")
    daemon = start_daemon(listen="unix:" + path, variables=preloaded(HOLD_UNLINK=hold.path))
    daemon.signal()
    try:
        hold.await_daemon()  # about to remove the name
        connection = UnixConnection(path)
        connection.connect()
        connection.close()
    finally:
        hold.release()
    assert daemon.wait() == 0
    assert not os.path.exists(path)


def test_ipv6(start_daemon):
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    daemon = start_daemon(listen="[::1]:0")
    assert daemon.url.startswith("http://[::1]:")
    assert requests.get(daemon.url + "/livez", timeout=DEADLINE_S).status_code == 200


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                                    "::1:80", "unix:", "unix:" + "x" * 200, "256.0.0.1:0",
                                    "unix:/nonexistent/x"])
def test_bad_addresses(tmp_path, listen):
    daemon = Daemon(tmp_path, listen=listen, wait=False)
    assert daemon.wait() in (1, 2)
    assert "listen" in daemon.log_path.read_text()


def test_a_port_in_use(daemon, tmp_path):
    second = Daemon(tmp_path, listen=f"127.0.0.1:{daemon.port}", wait=False)
    assert second.wait() == 1
    assert second.events()[0]["event"] == "listen_failed"


def test_a_model_that_cannot_be_opened(tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    for model in (str(broken), str(tmp_path / "missing.safetensors")):
        folder = tmp_path / os.path.basename(model).split(".")[0]
        folder.mkdir()
        daemon = Daemon(folder, model=model, wait=False)
        assert daemon.wait() == 1
        assert daemon.process.stdout.closed
        failed = [e for e in daemon.events() if e["level"] == "error"]
        assert failed and failed[0]["reason"]


def test_probes_from_the_first_moment(tmp_path):
    """While it loads the daemon is alive and not ready, and never turns back."""
    path = str(tmp_path / "d.sock")
    daemon = Daemon(tmp_path, listen="unix:" + path, wait=False)
    wait_for(lambda: os.path.exists(path), "the socket")

    seen = []

    def probe():
        try:
            seen.append((unix_get(path, "/readyz"), unix_get(path, "/livez")[0]))
        except ConnectionRefusedError:  # bound, not yet listening
            return False
        return seen[-1][0][0] == 200

    wait_for(probe, "readiness")
    for (status, body), live in seen:
        assert live == 200
        assert status == 200 or (status == 503 and b":loading" in body)
    daemon.stop()


def test_the_log(start_daemon):
    daemon = start_daemon("--workers", 1)
    daemon.get("/v1/samples/7.png?seed=1&steps=2", headers={"X-Request-Id": "me-1"})
    daemon.get('/"quoted%20\\path')
    client = daemon.connect()
    client.sendall(b"B\xb0EW /\xff?\xff HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_response(client.makefile("rb"))[0] == 404
    client.close()
    daemon.stop()
    events = daemon.events()
    for event in events:
        assert event["time"].endswith("Z") and len(event["time"]) == len("2026-01-01T00:00:00.000Z")
        assert event["level"] in ("info", "warn", "error")
    model = next(e for e in events if e["event"] == "model")
    assert model["kernels"] and model["isa"] and model["precision"] and model["digest"]
    assert next(e for e in events if e["event"] == "blas")["core"]
    lines = [e for e in events if e["event"] == "request"]
    assert lines[0]["request_id"] == "me-1"
    assert (lines[0]["method"], lines[0]["path"], lines[0]["status"]) == (
        "GET", "/v1/samples/7.png", 200)
    assert lines[0]["rows"] == 1 and lines[0]["bytes"] > 100 and lines[0]["duration_ms"] > 0
    assert lines[1]["status"] == lines[2]["status"] == 404
    assert lines[2]["method"] == lines[2]["path"] == lines[2]["query"] == "(not UTF-8)"
    assert [e["event"] for e in events][-2:] == ["draining", "stopped"]


def test_the_log_as_text(tmp_path):
    daemon = Daemon(tmp_path, log_format="text")
    daemon.get("/livez")
    daemon.stop()
    lines = daemon.log_path.read_text().splitlines()
    assert any(" info request " in line and "path=/livez" in line for line in lines)
