"""`denoised health`: what it says of a daemon that is ready, of one that is not, and of none."""

import contextlib
import socket
import threading

import pytest

from tests.cli.conftest import DEADLINE_S
from tests.http.conftest import Daemon, wait_for


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), "--workers", "1")
    yield daemon
    daemon.stop()


@contextlib.contextmanager
def answering(answer):
    """The port of a server that sends `answer` to its one client and hangs up, but where the answer has
    no end; and what it reads."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)

        def serve():
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(answer)
                if answer in (SILENCE, OPEN):
                    heard.append(connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join()


SILENCE = bytes()
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


def test_ready(run, daemon):
    done = run("health", "--listen", f"127.0.0.1:{daemon.port}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
    assert run("health", "--listen", f"localhost:{daemon.port}").returncode == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "*"])
def test_wildcards_mean_this_machine(run, daemon, host):
    """The variable is the daemon's own, so a container's health check needs no flag."""
    done = run("health", env={"DENOISED_LISTEN": f"{host}:{daemon.port}"})
    assert done.returncode == 0, done.stderr


def test_ipv6(run, tmp_path):
    daemon = Daemon(tmp_path, "--workers", "1", listen="[::1]:0")
    try:
        port = daemon.url.rsplit(":", 1)[1]
        for host in ("[::]", "[::1]"):
            assert run("health", "--listen", f"{host}:{port}").returncode == 0
    finally:
        daemon.stop()


def test_unix_socket(run, tmp_path):
    daemon = Daemon(tmp_path, "--workers", "1", listen=f"unix:{tmp_path}/s")
    try:
        assert run("health", "--listen", f"unix:{tmp_path}/s").returncode == 0
    finally:
        daemon.stop()
    done = run("health", "--listen", f"unix:{tmp_path}/s")
    assert done.returncode == 1 and done.stderr.startswith(f"denoised: unix:{tmp_path}/s: ")


@pytest.mark.parametrize("answer, why", [
    (b'HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{"detail":"loading"}\n', '503 {"detail":"loading"} '),
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n\x1b[31m" + 9999 * b"x", "503  [31mxx"),
    (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
    (b"HTTP/1.1 2", "no HTTP"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
    (b"HTTP/1.1  200 OK\r\n\r\n", "no HTTP"),
])
def test_not_ready(run, answer, why):
    with answering(answer) as (port, heard):
        done = run("health", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"denoised: 127.0.0.1:{port}: ") and why in done.stderr
    assert heard[0].startswith(b"GET /readyz HTTP/1.0\r\n") and heard[0].endswith(b"\r\n\r\n")


def test_silence_is_not_waited_for(run):
    with answering(SILENCE) as (port, heard):
        done = run("health", "--listen", f"127.0.0.1:{port}", "--timeout-s", "1")
    assert done.returncode == 1 and "timed out" in done.stderr
    assert heard[1] == b"", "it hung up"


def test_an_answer_without_an_end(run):
    """A status is an answer, whether the server hangs up or not."""
    with answering(OPEN) as (port, heard):
        done = run("health", "--listen", f"127.0.0.1:{port}", "--timeout-s", "1")
    assert (done.returncode, done.stdout) == (0, "ready\n")
    assert heard[1] == b"", "it hung up"


def test_the_daemon_sees_its_client_to_the_end(run, daemon):
    assert run("health", "--listen", f"127.0.0.1:{daemon.port}").returncode == 0
    probes = wait_for(lambda: [e for e in daemon.events() if e.get("path") == "/readyz"], "the log")
    assert {e["remote"].rsplit(":", 1)[0] for e in probes} == {"127.0.0.1"}


def test_nobody_there(run):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run("health", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 1 and "refused" in done.stderr
