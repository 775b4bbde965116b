"""Where a request ends (RFC 9112): what could be understood in two ways is refused, and its connection closed.

Each case is written to a socket as it is, with a second request behind it. A proxy that understands the
first one otherwise would take that second one's answer for somebody else's.
"""

import io
import json

import pytest

from . import wire
from .conftest import read_response

SECOND = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"label":1,"steps":1}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def get(*fields, line=b"GET /livez HTTP/1.1", host=b"Host: localhost\r\n"):
    return line + b"\r\n" + host + b"".join(fields) + b"\r\n"


def post(*fields, body=BODY, length=True):
    own = b"Content-Length: %d\r\n" % len(body) if length else b""
    return get(own, *fields, line=b"POST /v1/samples HTTP/1.1") + body


def chunks(raw, *fields):
    return post(CHUNKED, *fields, body=raw, length=False)


SIZE = b"%x" % len(BODY)
WHOLE = SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"

REFUSED = {
    # 6.2, 6.3: lengths
    "two lengths": post(b"Content-Length: 3\r\n"),
    "two equal lengths": post(b"Content-Length: %d\r\n" % len(BODY)),
    "a list of lengths": get(b"Content-Length: 5, 5\r\n") + b"hello",
    "a list of two lengths": get(b"Content-Length: 5, 6\r\n") + b"hello",
    "a length in another case": post(b"CONTENT-LENGTH: 3\r\n"),
    "a length with a sign": get(b"Content-Length: +5\r\n") + b"hello",
    "a negative length": get(b"Content-Length: -5\r\n") + b"hello",
    "a hexadecimal length": get(b"Content-Length: 0x5\r\n") + b"hello",
    "an empty length": get(b"Content-Length:\r\n"),
    "a length with a blank in it": get(b"Content-Length: 1 0\r\n") + b"0123456789",
    "a length with a fraction": get(b"Content-Length: 5.0\r\n") + b"hello",
    "a length with a blank behind it": get(b"Content-Length: 0 \r\n"),
    "no length after one": get(b"Content-Length: 0\r\nContent-Length:\r\n"),
    # 6.1: codings
    "a length and a coding": chunks(WHOLE, b"Content-Length: 3\r\n"),
    "a coding after a length": get(b"Content-Length: 3\r\n", CHUNKED) + b"0\r\n\r\n",
    "an unknown coding": get(b"Transfer-Encoding: cow\r\n"),
    "identity": get(b"Transfer-Encoding: identity\r\n"),
    "gzip": get(b"Transfer-Encoding: gzip\r\n"),
    "several codings": get(b"Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
    "chunked not at the end": get(b"Transfer-Encoding: chunked, identity\r\n") + b"0\r\n\r\n",
    "chunked twice": get(b"Transfer-Encoding: chunked, chunked\r\n") + b"0\r\n\r\n",
    "chunked on two lines": get(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "codings on two lines": get(CHUNKED, b"Transfer-Encoding: identity\r\n") + b"0\r\n\r\n",
    "chunked with a parameter": get(b"Transfer-Encoding: chunked;q=1\r\n") + b"0\r\n\r\n",
    "a quoted coding": get(b'Transfer-Encoding: "chunked"\r\n') + b"0\r\n\r\n",
    "a coding with a blank behind it": get(b"Transfer-Encoding: chunked \r\n") + b"0\r\n\r\n",
    "an empty coding": get(b"Transfer-Encoding:\r\n"),
    "xchunked": get(b"Transfer-Encoding: xchunked\r\n") + b"0\r\n\r\n",
    "a vertical tab before the coding": get(b"Transfer-Encoding: \x0bchunked\r\n") + b"0\r\n\r\n",
    "chunks in HTTP/1.0": get(CHUNKED, line=b"POST /livez HTTP/1.0") + b"0\r\n\r\n",
    # 5.1: names
    "a blank before the colon": get(b"Content-Length : 5\r\n") + b"hello",
    "a tab before the colon": get(b"Content-Length\t: 5\r\n") + b"hello",
    "a blank before the colon of a coding": get(b"Transfer-Encoding : chunked\r\n") + b"0\r\n\r\n",
    "a blank in a name": get(b"X Y: z\r\n"),
    "an empty name": get(b": z\r\n"),
    "a name in quotes": get(b'"X": z\r\n'),
    "a name with brackets": get(b"X[1]: z\r\n"),
    "a name beyond ASCII": get("Xé: z\r\n".encode()),
    "a name with a NUL": get(b"X\0Y: z\r\n"),
    "a name with a control character": get(b"X\x01: z\r\n"),
    "no colon": get(b"nothing\r\n"),
    # 5.2, 2.2: lines
    "a folded line": get(b"X: a\r\n b\r\n"),
    "a folded length": get(b"Content-Length:\r\n 5\r\n") + b"hello",
    "a folded coding": get(b"Transfer-Encoding:\r\n\tchunked\r\n") + b"0\r\n\r\n",
    "a blank line that is none": b"GET /livez HTTP/1.1\r\n X: y\r\nHost: localhost\r\n\r\n",
    "a NUL in a value": get(b"X: a\0b\r\n"),
    "a NUL in a length": get(b"Content-Length: 5\x000\r\n") + b"hello",
    "a NUL at the end of a value": get(b"X: a\0\r\n"),
    "a CR in a value": get(b"X: a\rY: b\r\n"),
    "a CR that hides a length": get(b"X: a\rContent-Length: 5\r\n") + b"hello",
    "a CR at the end of a value": get(b"X: a\r\r\n"),
    "a control character in a value": get(b"X: a\x01b\r\n"),
    "a DEL in a value": get(b"X: a\x7fb\r\n"),
    # 3: the request line
    "a NUL in the target": get(line=b"GET /livez\0x HTTP/1.1"),
    "a tab in the request line": get(line=b"GET\t/livez HTTP/1.1"),
    "two blanks in the request line": get(line=b"GET  /livez HTTP/1.1"),
    "a blank in the target": get(line=b"GET /livez x HTTP/1.1"),
    "a blank after the version": get(line=b"GET /livez HTTP/1.1 "),
    "a blank before the method": get(line=b" GET /livez HTTP/1.1"),
    "a CR in the request line": get(line=b"GET /livez\r HTTP/1.1"),
    "another version's name": get(line=b"GET /livez HTTP/1.1x"),
    # 3.2: the host
    "no host": get(host=b""),
    "two hosts": get(b"Host: other\r\n"),
    "two equal hosts": get(b"Host: localhost\r\n"),
    "two hosts in HTTP/1.0": get(b"Host: other\r\n", line=b"GET /livez HTTP/1.0"),
    "a host with a blank": get(host=b"Host: a b\r\n"),
    "a host with a path": get(host=b"Host: a/b\r\n"),
    "a host with a user": get(host=b"Host: me@a\r\n"),
    "a host with a bad port": get(host=b"Host: a:80x\r\n"),
    "a host with an open bracket": get(host=b"Host: [::1\r\n"),
    # 7.1: chunks
    "a lone LF after a chunk's size": chunks(SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n"),
    "a lone LF after a chunk": chunks(SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n"),
    "a lone LF after the last chunk": chunks(SIZE + b"\r\n" + BODY + b"\r\n0\n\r\n"),
    "a lone LF at the end": chunks(SIZE + b"\r\n" + BODY + b"\r\n0\r\n\n"),
    "a lone LF in an extension": chunks(SIZE + b";a\n" + BODY + b"\r\n0\r\n\r\n"),
    "a lone CR after a chunk's size": chunks(SIZE + b"\r" + BODY + b"\r\n0\r\n\r\n"),
    "nothing after a chunk": chunks(SIZE + b"\r\n" + BODY + b"0\r\n\r\n"),
    "two bytes that are no line end": chunks(SIZE + b"\r\n" + BODY + b"XX0\r\n\r\n"),
    "a chunk longer than its size": chunks(b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's size with a sign": chunks(b"+" + WHOLE),
    "a chunk's size with 0x": chunks(b"0x" + WHOLE),
    "a chunk's size with a blank before it": chunks(b" " + WHOLE),
    "a chunk's size with a blank behind it": chunks(SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's size that is no number": chunks(b"z\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk without a size": chunks(b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "an extension without a size": chunks(b";a\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk's size beyond all": chunks(b"1" + b"0" * 16 + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a NUL in an extension": chunks(SIZE + b";a\0b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a length in a trailer": chunks(WHOLE[:-2] + b"Content-Length: 5\r\n\r\n"),
    "a host in a trailer": chunks(WHOLE[:-2] + b"Host: other\r\n\r\n"),
    "a trailer with a blank before its colon": chunks(WHOLE[:-2] + b"X : y\r\n\r\n"),
    "a lone LF in a trailer": chunks(WHOLE[:-2] + b"X: y\n\r\n"),
}

TAKEN = {
    "a length": post(),
    "a length with blanks before it": get(b"Content-Length: \t 0\r\n"),
    "a length with zeros": get(b"Content-Length: 000\r\n"),
    "chunks": chunks(WHOLE),
    "chunks, each of a byte": chunks(b"".join(b"1\r\n%c\r\n" % c for c in BODY) + b"0\r\n\r\n"),
    "Chunked": post(b"transfer-encoding: Chunked\r\n", body=WHOLE, length=False),
    "a size in capitals, with zeros": chunks(b"000" + SIZE.upper() + b"\r\n" + BODY + b"\r\n000\r\n\r\n"),
    "a trailer": chunks(WHOLE[:-2] + b"X: y\r\n\r\n"),
    "no chunk": get(CHUNKED) + b"0\r\n\r\n",
    "empty lines before the request": b"\r\n\r\n" + get(),
    "lines that end with LF": get().replace(b"\r\n", b"\n"),
    "an empty value": get(b"X:\r\n"),
    "a value beyond ASCII": get("X: é\r\n".encode()),
    "a tab in a value": get(b"X: a\tb\r\n"),
    "every character of a token": get(b"!#$%&'*+-.^_`|~0aZ: x\r\n"),
    "no blank after the colon": get(host=b"Host:localhost\r\n"),
    "a host with a port": get(host=b"Host: localhost:80\r\n"),
    "a host with an empty port": get(host=b"Host: localhost:\r\n"),
    "an IPv6 host": get(host=b"Host: [::1]:8080\r\n"),
}


def talk(daemon, sent):
    """What comes back until the daemon closes the connection: a list of (status, headers, body)."""
    received = []
    with wire.connect((daemon.host, daemon.port)) as client:
        try:
            client.sendall(sent)
            while not received or received[-1]:
                received.append(client.recv(65536))
        except ConnectionError:
            pass  # it had not read all of it
    stream, answers = io.BufferedReader(io.BytesIO(b"".join(received))), []
    while stream.peek(1):
        answers.append(read_response(stream))
    return answers


def statuses(daemon, sent):
    return [status for status, _, _ in talk(daemon, sent)]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_ambiguous_is_refused(daemon, case):
    answers = talk(daemon, REFUSED[case] + SECOND)
    assert [status for status, _, _ in answers] == [400], "once, and the second request is not one"
    _, headers, body = answers[0]
    assert headers["connection"] == "close"
    if "content-type" in headers:  # else the library's own
        assert json.loads(body)["type"].endswith(":invalid-request")


@pytest.mark.parametrize("case", REFUSED)
def test_the_requests_before_it_are_answered(daemon, case):
    assert statuses(daemon, get() + post() + REFUSED[case] + SECOND) == [200, 200, 400]


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_clear_is_taken(daemon, case):
    closing = SECOND.replace(b"Host", b"Connection: close\r\nHost")
    assert statuses(daemon, TAKEN[case] + closing) == [200, 200]


@pytest.mark.parametrize("case", ["two lengths", "a lone LF after a chunk's size", "a NUL in a value"])
def test_byte_by_byte(daemon, case):
    """However the bytes are cut."""
    with wire.connect((daemon.host, daemon.port)) as client:
        client.setsockopt(wire.socket.IPPROTO_TCP, wire.socket.TCP_NODELAY, 1)
        try:
            for i in range(len(REFUSED[case])):
                client.sendall(REFUSED[case][i:i + 1])
        except ConnectionError:
            pass  # it was refused before its end
        assert wire.read_answer(client, "GET").status == 400


def test_a_fault_is_logged_and_counted(start_daemon):
    daemon = start_daemon("--workers", 1)
    for case in ("two lengths", "a lone LF after a chunk's size"):
        assert statuses(daemon, REFUSED[case]) == [400]
    daemon.stop()
    lines = [e for e in daemon.events() if e["event"] == "request"]
    assert [(e["path"], e["status"]) for e in lines] == [("/v1/samples", 400)] * 2
