"""Clients that mean no good or have vanished, and a system that has nothing left to give."""

import ctypes
import os
import pathlib
import re
import resource
import select
import socket
import struct
import subprocess

import pytest
import requests

from .conftest import (BINARY, DEADLINE_S, ENDLESS, MODEL, SANITIZED, parse_metrics, read_response,
                       wait_for)
from .test_protocol import unix_get

SO_ATTACH_FILTER = 26  # asm-generic/socket.h
STREAM_HEAD = b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"


def deafen(client):
    """Have the kernel drop what comes for this socket: its other end sees no sign of life."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)  # BPF: return 0
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(drop_all))
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def send_stream(daemon, **more):
    client = daemon.connect()
    body = str({**ENDLESS, **more}).replace("'", '"').encode()
    client.sendall(STREAM_HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    return client


def is_alive(daemon):
    client = daemon.connect()
    try:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        readable, _, _ = select.select([client], [], [], 0.2)
        return bool(readable) and client.recv(100).startswith(b"HTTP/1.1 200")
    except ConnectionError:  # refused in the middle of it
        return False
    finally:
        client.close()


# ---- clients --------------------------------------------------------------------------------


def test_an_address_holds_only_so_many_connections(start_daemon):
    daemon = start_daemon("--max-connections-per-address", 3)
    held = [daemon.connect() for _ in range(3)]
    for client in held:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client.makefile("rb"))[0] == 200
    for _ in range(5):
        refused = daemon.connect()
        try:
            assert refused.recv(1) == b""
        except ConnectionResetError:
            pass
        refused.close()
    held.pop().close()
    wait_for(lambda: is_alive(daemon), "room for one more")
    held.pop().close()
    wait_for(lambda: daemon.metric("http_connections_refused_total") >= 5, "the count")
    lines = [e for e in daemon.events() if e["event"] == "connections_refused"]
    assert len(lines) == 1 and lines[0]["remote"] == "127.0.0.1"  # more only after a while
    for client in held:
        client.close()


def test_slow_clients_hold_their_places_for_a_while_only(start_daemon):
    daemon = start_daemon("--max-connections", 8, "--request-timeout-s", 1)
    slow = [daemon.connect() for _ in range(8)]
    for client in slow:
        client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    assert daemon.get("/livez").status_code == 200  # waits until they are cut off
    for client in slow:
        assert client.recv(100).startswith(b"HTTP/1.1 408")
        client.close()


def test_a_stream_that_nobody_reads_is_dropped(start_daemon):
    daemon = start_daemon("--keepalive-timeout-s", 1, "--workers", 1)
    before = daemon.metrics()["process_resident_memory_bytes"]
    client = send_stream(daemon, preview_every=1)
    wait_for(lambda: [e for e in daemon.events() if e.get("aborted")], "the stream to be dropped")
    line = next(e for e in daemon.events() if e.get("aborted"))
    assert line["path"] == "/v1/samples"
    wait_for(lambda: daemon.metric("queue_rows") == 0, "its rows to leave")
    if not SANITIZED:  # what it holds for a stream is one event, not those that were not read
        assert daemon.metrics()["process_resident_memory_bytes"] < before + (64 << 20)
    client.close()


def test_an_answer_that_nobody_reads_is_dropped(start_daemon, tmp_path):
    """A Unix socket's buffer does not grow: this answer is larger and stays in the daemon."""
    daemon = start_daemon("--keepalive-timeout-s", 1, listen=f"unix:{tmp_path}/d.sock")
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{tmp_path}/d.sock")
    client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    wait_for(lambda: [e for e in daemon.events() if e.get("aborted")], "the answer to be dropped")
    client.close()
    wait_for(lambda: "status" in unix_get(f"{tmp_path}/d.sock", "/livez")[1].decode(), "an answer")


def test_a_client_that_vanished_is_noticed(start_daemon):
    daemon = start_daemon("--keepalive-timeout-s", 1, "--workers", 1)
    asking = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the request")
    deafen(asking)
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "its rows to leave")
    assert daemon.metric('jobs_total{outcome="canceled",reason="disconnect"}') == 1
    asking.close()


# ---- the system -----------------------------------------------------------------------------


def descriptors_left(daemon, n):
    """Let the daemon have no more than n descriptors above those that it has."""
    pid = daemon.process.pid
    highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + n, old[1]))
    return old


@pytest.mark.parametrize("held", [0, 5])
def test_no_descriptor_is_left(start_daemon, held):
    daemon = start_daemon()
    clients = [daemon.connect() for _ in range(held)]
    for client in clients:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client.makefile("rb"))[0] == 200
    old = descriptors_left(daemon, 0)
    assert not is_alive(daemon)
    for client in clients:  # those that are there are served on
        client.sendall(b"GET /v1/samples/7.png?seed=1&steps=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client.makefile("rb"))[0] == 200
    if clients:
        clients.pop().close()
    else:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, old)
    wait_for(lambda: is_alive(daemon), "it to serve again")
    for client in clients:
        client.close()


def test_connections_are_no_more_than_descriptors(tmp_path):
    log = tmp_path / "log"

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    with open(log, "wb") as err:
        process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--model", MODEL],
                                   stdout=subprocess.PIPE, stderr=err, preexec_fn=few)
    port = int(process.stdout.readline().decode().rsplit(":", 1)[1])
    clients = [socket.create_connection(("127.0.0.1", port), DEADLINE_S) for _ in range(40)]
    for client in clients:
        client.sendall(b"GET /v1/samples/7.png?steps=1 HTTP/1.1\r\nHost: localhost\r\n"
                       b"Connection: close\r\n\r\n")
    for client in clients:  # in the order in which they came, as others leave
        assert read_response(client.makefile("rb"))[0] == 200
        client.close()
    metrics = parse_metrics(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S).text)
    assert metrics["denoised_http_connections_limit"] == 12
    process.terminate()
    assert process.wait(DEADLINE_S) == 0
    process.stdout.close()
    assert "connections_limited connections=12 max_connections=1024" in log.read_text()


def test_too_few_descriptors_to_start(tmp_path):
    def none():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--model", MODEL],
                          capture_output=True, text=True, preexec_fn=none, check=False)
    assert done.returncode == 1 and "40 descriptors are allowed" in done.stderr


def test_no_room_for_the_log(tmp_path):
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--model", MODEL],
                                   stdout=subprocess.PIPE, stderr=full)
    port = int(process.stdout.readline().decode().rsplit(":", 1)[1])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
            client.sendall(b"GET /v1/samples/7.png?steps=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_response(client.makefile("rb"))[0] == 200
    process.terminate()
    assert process.wait(DEADLINE_S) == 0
    process.stdout.close()


# ---- rights ---------------------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs calls that the filter refuses")
def test_all_threads_are_under_the_filter(start_daemon):
    def filters(daemon):
        tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir()
        return [re.search(r"NoNewPrivs:\t(\d)\nSeccomp:\t(\d)", (t / "status").read_text()).groups()
                for t in tasks]

    daemon = start_daemon("--workers", 2)
    assert len(filters(daemon)) >= 3 and set(filters(daemon)) == {("1", "2")}
    assert not [e for e in daemon.events() if e["event"] == "seccomp_failed"]
    assert {f[1] for f in filters(start_daemon("--seccomp", "off"))} <= {"0", "2"}  # a container's
