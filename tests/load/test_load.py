"""build/load, the open-loop load generator: what it sends, and that it believes no bad answer."""

import json
import os
import socketserver
import subprocess
import threading

import pytest

PROGRAM = os.path.join(os.path.dirname(os.environ.get("DENOISED_BINARY", "build/denoised")), "load")
DEADLINE_S = 60
GOOD = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        b'{"a":10}\n')
PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@pytest.fixture
def start_server():
    """start_server(answer) -> port; answer(body, n) is sent for the n-th request of all, None never."""
    servers = []

    def start(answer):
        count = iter(range(10**9))

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while line := self.rfile.readline():
                    assert line == b"POST /v1/samples HTTP/1.1\r\n"
                    length = 0
                    while (header := self.rfile.readline()) not in (b"\r\n", b""):
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    data = answer(self.rfile.read(length), next(count))
                    if data is not None:
                        self.wfile.write(data)
                        self.wfile.flush()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # the client hung up

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def load(port, *arguments, request="a:1:{}", rate=200, seconds=0.25):
    command = [PROGRAM, "--port", port, "--rate", rate, "--seconds", seconds, "--request", request,
               *arguments]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_constant_rate(start_server):
    bodies = []
    port = start_server(lambda body, _: bodies.append(body) or GOOD)
    result = load(port, "--arrivals", "constant", request='a:1:{"label":7}')
    assert result["due"] == 49 and result["never_sent"] == 0
    (a,) = result["classes"]
    assert (a["name"], a["sent"], a["ok"], a["errors"], a["unanswered"]) == ("a", 49, 49, 0, 0)
    assert bodies == [b'{"label":7}'] * 49
    ranks = [a["latency_ms"][k] for k in ("p50", "p90", "p99", "p99_9", "max")]
    assert ranks == sorted(ranks) and ranks[0] > 0


def test_classes_by_weight_and_seed(start_server):
    port = start_server(lambda *_: GOOD)

    def counts(seed):
        result = load(port, "--request", "b:3:{}", "--seed", seed, rate=2000)
        assert sum(c["ok"] for c in result["classes"]) == result["due"]
        return [c["sent"] for c in result["classes"]]

    first = counts(1)
    assert first == counts(1) and first != counts(2)
    assert 1.5 < first[1] / first[0] < 6  # 3, of about 500
    assert 350 < sum(first) < 650  # Poisson, mean 500: seven standard deviations


def test_it_does_not_wait_for_answers(start_server):
    """Arrivals go on when nothing comes back: what no connection was free for is still due."""
    port = start_server(lambda *_: None)
    result = load(port, "--arrivals", "constant", "--connections", 5, "--drain", 0)
    (a,) = result["classes"]
    assert result["due"] == 49
    assert (a["sent"], a["ok"], a["unanswered"]) == (5, 0, 5)
    assert result["never_sent"] == 44 and a["latency_ms"] is None


def test_statuses_are_counted(start_server):
    refusal = GOOD.replace(b"200 OK", b"503 Service Unavailable")
    port = start_server(lambda _, n: refusal if n % 2 else GOOD)
    (a,) = load(port, "--arrivals", "constant")["classes"]
    assert a["ok"] == 25 and a["refused"] == {"503": 24} and a["errors"] == 0


def test_what_retry_after_says(start_server):
    refusal = GOOD.replace(b"200 OK", b"503 Service Unavailable")
    telling = [refusal, *(refusal.replace(b"Content-Type", b"Retry-After: %d\r\nContent-Type" % s)
                          for s in (2, 4, 3))]
    port = start_server(lambda _, n: telling[n] if n < 4 else GOOD)
    told = load(port, "--arrivals", "constant", "--connections", 1)["classes"][0]["retry_after"]
    assert (told["missing"], told["last_s"], told["s"]["mean"], told["s"]["max"]) == (1, 3, 3, 4)
    assert 0 < told["last_at_s"] < DEADLINE_S
    assert load(port)["classes"][0]["retry_after"] == {
        "missing": 0, "last_s": 0, "last_at_s": 0, "s": None}


def test_a_connection_may_be_closed_after_an_answer(start_server):
    closing = GOOD.replace(b"Content-Type", b"Connection: close\r\nContent-Type")
    (a,) = load(start_server(lambda *_: closing))["classes"]
    assert a["ok"] == a["sent"] > 0


def test_a_picture(start_server):
    body = PNG_ENDS[0] + b"\0\r\n\r\n" * 40000 + PNG_ENDS[1]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(body)
    (a,) = load(start_server(lambda *_: head + body), "--accept", "image/png")["classes"]
    assert a["ok"] == a["sent"] > 0


@pytest.mark.parametrize("answer", [
    GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    GOOD.replace(b" 200 ", b" 2000 "),
    GOOD.replace(b"Content-Length: 9\r\n", b""),
    GOOD.replace(b"Content-Length: 9", b"Content-Length: 9\r\nContent-Length: 9"),
    GOOD.replace(b"Content-Length: 9", b"Content-Length: 8"),
    GOOD.replace(b"Content-Length: 9", b"Content-Length: -9"),
    GOOD.replace(b"Content-Length: 9", b"Content-Length: 9\r\nTransfer-Encoding: chunked"),
    GOOD.replace(b"application/json", b"text/html"),
    GOOD.replace(b"application/json", b"image/png"),
    GOOD.replace(b"10}\n", b"100}"),
    GOOD + b"more",
    GOOD.replace(b"\r\n\r\n", b"\r\nX: \0\r\n\r\n"),
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
    b"nonsense\r\n\r\n",
])
def test_a_bad_answer_is_an_error(start_server, answer):
    (a,) = load(start_server(lambda *_: answer), rate=50)["classes"]
    assert a["ok"] == 0 and a["errors"] == a["sent"] > 0 and a["refused"] == {}


def test_nobody_listens(start_server):
    port = start_server(lambda *_: GOOD)
    server_gone = load(1, rate=50)["classes"][0]
    assert server_gone["errors"] == server_gone["sent"] > 0
    assert load(port, rate=50)["classes"][0]["errors"] == 0


@pytest.mark.parametrize("arguments", [
    [], ["--port"], ["--port", "0"], ["--rate", "x"], ["--rate", "-1"], ["--arrivals", "never"],
    ["--request", "a:1"], ["--request", "a:0:{}"], ["--request", 'a":1:{}'], ["--wat", "1"]])
def test_arguments_are_checked(arguments):
    given = {"--port": "1", "--rate": "1", "--seconds": "1"} if arguments else {}
    command = [PROGRAM, *(a for pair in given.items() for a in pair), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2 and done.stderr.startswith("load: ") and not done.stdout
