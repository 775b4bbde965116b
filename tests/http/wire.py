"""A request written to a socket as it is, right or wrong, and the answer read back."""

import gzip
import http.client
import json
import socket

from .conftest import DEADLINE_S


class Answer:
    """What came back: .status, .headers (names in any case), .body without its content coding."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        if self.headers.get("Content-Encoding") == "gzip" and self.body:
            self.body = gzip.decompress(self.body)
        self.closes = response.will_close

    def json(self):
        return json.loads(self.body)


def connect(address):
    """A socket to ("127.0.0.1", 8080) or to a path."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(DEADLINE_S)
    client.connect(address)
    return client


def request_bytes(method, target, headers=(), body=None):
    """A request with a Host and, where it has a body, the body's length, unless `headers` say them."""
    lines = list(headers.items() if isinstance(headers, dict) else headers)
    given = {name.lower() for name, _ in lines}
    if "host" not in given:
        lines.append(("Host", "test"))
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        lines.append(("Content-Length", str(len(body))))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n"
    return head.encode("latin-1") + (body or b"")


def read_answer(client, method):
    response = http.client.HTTPResponse(client, method=method)
    try:
        response.begin()
        while response.status == 100:
            response.begin()
        return Answer(response)
    finally:
        response.close()


def ask(address, method, target, headers=(), body=None):
    """One request on a connection of its own."""
    with connect(address) as client:
        client.sendall(request_bytes(method, target, headers, body))
        return read_answer(client, method)
