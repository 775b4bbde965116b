"""Whose word about a client's address counts."""

import pytest

from .conftest import wait_for


def ask(daemon, request_id, forwarded):
    """The log line of a request with these X-Forwarded-For."""
    with daemon.connect() as client:
        lines = "".join(f"X-Forwarded-For: {value}\r\n" for value in forwarded)
        client.sendall(f"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\n{lines}\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    return wait_for(lambda: [e for e in daemon.events() if e.get("request_id") == request_id], "the log line")[0]


@pytest.mark.parametrize("trusted,remote", [
    (None, "127.0.0.1"), ("10.0.0.0/8", "127.0.0.1"), ("127.0.0.1", "10.0.0.7"),
    ("10.0.0.0/8,127.0.0.0/8,unix", "203.0.113.9")])
def test_only_trusted_proxies_are_believed(start_daemon, trusted, remote):
    daemon = start_daemon(*(["--trusted-proxies", trusted] if trusted else []))
    event = ask(daemon, "one", ["198.51.100.1, 203.0.113.9, 10.0.0.7"])
    assert event["remote"] == remote
    assert event.get("proxy") == (None if remote == "127.0.0.1" else "127.0.0.1")
    # The header in parts means the same; of very many the last ones count.
    assert ask(daemon, "two", ["198.51.100.1", "203.0.113.9", "10.0.0.7"])["remote"] == remote
    assert ask(daemon, "many", 40 * ["198.51.100.1"] + ["203.0.113.9", "10.0.0.7"])["remote"] == remote


def test_garbage_is_nobodys_address(start_daemon):
    daemon = start_daemon("--trusted-proxies", "127.0.0.1")
    for i, value in enumerate(["unknown", "", ",", "203.0.113.9, x", 5000 * ","]):
        event = ask(daemon, f"garbage-{i}", [value])
        assert event["remote"] == "127.0.0.1" and "proxy" not in event


def test_a_trusted_proxy_may_connect_for_many(start_daemon):
    daemon = start_daemon("--trusted-proxies", "127.0.0.1", "--max-connections-per-address", "1")
    clients = [daemon.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    for client in clients:
        client.close()
