"""What clients, proxies and browsers really send: headers on several lines, empty bodies, preconditions."""

import pytest
import requests

from . import contract, wire
from .conftest import DEADLINE_S
from .test_keys import ADA, BOB, ONE, start_with_keys  # noqa: F401: a fixture

PICTURE = "/v1/samples/7.png?seed=1&steps=1"
OTHER = '"0123456789abcdef"'
JOB = {"label": 1, "steps": 1, "guidance_scale": 1}


def ask(daemon, method, target, *lines, body=None, documented=None):
    answer = wire.ask((daemon.host, daemon.port), method, target, list(lines), body)
    contract.check_answer(method, documented or target, answer.status, answer.headers, answer.body)
    return answer


# ---- a list header on several lines (RFC 9110, 5.2) ---------------------------------------------

def test_accept_on_several_lines(daemon):
    answer = ask(daemon, "GET", "/v1/models", ("Accept", "text/html"), ("Accept", "application/json"))
    assert answer.status == 200
    answer = ask(daemon, "GET", "/", ("Accept", "application/json;q=0.1"), ("accept", "text/html"))
    assert answer.headers["Content-Type"].startswith("text/html")
    answer = ask(daemon, "POST", "/v1/samples", ("Accept", "application/zip;q=0"), ("Accept", "image/png"),
                 body=b'{"label":1,"steps":1}')
    assert answer.headers["Content-Type"] == "image/png"


def test_accept_encoding_on_several_lines(daemon):
    for lines in ((("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")),
                  (("Accept-Encoding", ""), ("Accept-Encoding", "x"), ("ACCEPT-ENCODING", "*"))):
        assert ask(daemon, "GET", "/openapi.json", *lines).headers["Content-Encoding"] == "gzip"
    answer = ask(daemon, "GET", "/openapi.json", ("Accept-Encoding", "*"), ("Accept-Encoding", "gzip;q=0"))
    assert "Content-Encoding" not in answer.headers


def test_prefer_on_several_lines(daemon):
    answer = ask(daemon, "POST", "/v1/samples", ("Prefer", "handling=strict"), ("Prefer", "respond-async"),
                 body=b'{"label":1,"steps":1}')
    assert answer.status == 202


@pytest.mark.parametrize("target", [PICTURE, "/assets/playground.js"])
def test_if_none_match_on_several_lines(daemon, target):
    tag = ask(daemon, "HEAD", target).headers["ETag"]
    lines = (("If-None-Match", OTHER), ("If-None-Match", tag))
    assert ask(daemon, "GET", target, *lines).status == 304
    assert ask(daemon, "GET", target, *lines[:1]).status == 200


def test_what_is_said_twice_is_said_once(daemon):
    answer = ask(daemon, "POST", "/v1/samples", ("Expect", "100-continue"), ("Expect", "100-Continue"),
                 ("Content-Encoding", "identity"), ("Content-Encoding", "identity"), body=b'{"label":1}')
    assert answer.status == 200
    answer = ask(daemon, "POST", "/v1/samples", ("Content-Encoding", "identity"),
                 ("Content-Encoding", "gzip"), body=b'{"label":1}')
    assert answer.status == 415
    answer = ask(daemon, "POST", "/v1/samples", ("Expect", "100-continue"), ("Expect", "miracles"),
                 body=b'{"label":1}')
    assert answer.status == 417


# ---- an empty body is none ----------------------------------------------------------------------

CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/v1/models", PICTURE])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_chunked_body_without_a_chunk_is_none(daemon, method, path):
    answer = ask(daemon, method, path, CHUNKED, body=b"0\r\n\r\n")
    assert answer.status == (204 if method == "OPTIONS" else 200)
    assert ask(daemon, method, path, CHUNKED, body=b"1\r\nx\r\n0\r\n\r\n").status == 400


@pytest.mark.parametrize("body", [b"", b"{}", b" {\r\n}\n"])
@pytest.mark.parametrize("more", [[], [("Content-Type", "application/json")], [("Expect", "100-continue")]])
def test_nothing_is_said_as_an_empty_object(daemon, body, more):
    job = requests.post(daemon.url + "/v1/jobs", json=JOB, timeout=DEADLINE_S).json()["id"]
    for method, target in (("POST", f"/v1/jobs/{job}/cancel"), ("GET", "/livez"), ("GET", f"/v1/jobs/{job}")):
        assert ask(daemon, method, target, *more, body=body).status == 200
    assert ask(daemon, "DELETE", f"/v1/jobs/{job}", *more, body=body).status == 204


@pytest.mark.parametrize("body", [b"x", b"[]", b"{}{}", b'{"a":1}', b"{", b"null", b"{\0}", b"{}" + b" " * 100])
def test_where_nothing_is_taken_nothing_else_is(daemon, body):
    assert ask(daemon, "POST", "/v1/jobs/none/cancel", body=body).status == 400


# ---- preconditions (RFC 9110, 13) ---------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", [PICTURE, "/assets/playground.js"])
def test_if_match(daemon, method, target):
    tag = ask(daemon, "HEAD", target).headers["ETag"]
    for value, status in ((tag, 200), ("*", 200), (f"{OTHER}, {tag}", 200), (OTHER, 412), ("W/" + tag, 412),
                          ("", 412)):
        assert ask(daemon, method, target, ("If-Match", value)).status == status, value
    assert ask(daemon, method, target, ("If-Match", OTHER), ("If-Match", tag)).status == 200
    assert ask(daemon, method, target, ("If-Match", tag), ("If-None-Match", tag)).status == 304
    assert ask(daemon, method, target, ("If-Match", OTHER), ("If-None-Match", tag)).status == 412


def test_if_match_where_there_is_no_tag(daemon):
    job = requests.post(daemon.url + "/v1/jobs", json=JOB, timeout=DEADLINE_S).json()["id"]
    for method, target in (("DELETE", f"/v1/jobs/{job}"), ("GET", f"/v1/jobs/{job}"), ("GET", "/v1/models")):
        assert ask(daemon, method, target, ("If-Match", OTHER)).status == 412
    assert ask(daemon, "GET", "/v1/jobs/none", ("If-Match", OTHER)).status == 404
    assert ask(daemon, "GET", f"/v1/jobs/{job}", ("If-Match", "*")).status == 200
    assert ask(daemon, "DELETE", f"/v1/jobs/{job}", ("If-Match", "*")).status == 204


# ---- names of things ----------------------------------------------------------------------------

@pytest.mark.parametrize("path,plain", [
    ("/%6civez", "/livez"), ("/%6Civez", "/livez"), ("/v1/%6d%6Fdels", "/v1/models"),
    ("/v1/samples/%37%2Epng?seed=1&steps=1", PICTURE)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_escapes_that_nothing_needs(daemon, method, path, plain):
    answer, same = ask(daemon, method, path, documented=plain), ask(daemon, method, plain)
    assert answer.status == same.status < 300
    assert answer.body == same.body


@pytest.mark.parametrize("path", ["/%2flivez", "/livez%", "/livez%6", "/%zzlivez", "/livez%00", "/%256civez"])
def test_escapes_that_mean_something_stay(daemon, path):
    assert ask(daemon, "GET", path).status == 404


@pytest.mark.parametrize("charset,status", [
    ("utf-8", 200), ("UTF-8", 200), ("utf8", 200), ('"UTF8"', 200), ("latin1", 415), ("utf", 415),
    ("utf88", 415), ("utf-16", 415)])
def test_names_of_utf_8(daemon, charset, status):
    answer = ask(daemon, "POST", "/v1/samples", ("Content-Type", f"application/json; charset={charset}"),
                 body=b'{"label":1,"steps":1}')
    assert answer.status == status


HTML = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.parametrize("target", ["/?utm_source=x", "/?fbclid=1&fbclid=2", "/assets/playground.css?v=3"])
def test_a_page_is_a_page(daemon, target):
    for method in ("GET", "HEAD"):
        assert ask(daemon, method, target, HTML).status == 200
    assert ask(daemon, "OPTIONS", target).status == 204
    if target.startswith("/?"):
        assert ask(daemon, "GET", target, ("Accept", "application/json")).status == 400


# ---- credentials --------------------------------------------------------------------------------

BASIC = ("Authorization", "Basic cHJveHk6c2VjcmV0")


@pytest.mark.parametrize("lines,status", [
    ([("X-API-Key", ADA), BASIC], 200),
    ([BASIC, ("X-API-Key", ADA)], 200),
    ([BASIC, ("Authorization", "Bearer " + ADA)], 200),
    ([("X-API-Key", ADA), ("Authorization", "Bearer " + ADA)], 200),
    ([("X-API-Key", ADA), ("X-API-Key", ADA)], 200),
    ([("Authorization", "bearer  " + ADA)], 200),
    ([("X-API-Key", ""), ("Authorization", "Bearer " + ADA)], 200),
    ([("X-API-Key", ADA), ("Authorization", "")], 200),
    ([("X-API-Key", ADA), ("Authorization", "Bearer " + BOB)], 400),
    ([("X-API-Key", ADA), ("X-API-Key", BOB)], 400),
    ([("X-API-Key", ADA), ("Authorization", "Bearer " + ADA[:-1])], 400),
    ([("X-API-Key", ADA + " junk")], 401),
    ([("Authorization", f"Bearer {ADA} junk")], 401),
    ([("X-API-Key", ADA), ("Authorization", f"Bearer {ADA} junk")], 401),
    ([("X-API-Key", f"{ADA}\tx")], 401),
    ([("X-API-Key", f"{ADA}, {ADA}")], 401),
    ([BASIC], 401), ([("Authorization", "Bearer")], 401), ([("X-API-Key", "")], 401), ([], 401)])
def test_whose_key_counts(start_with_keys, lines, status):  # noqa: F811
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB}\n", "--workers", 1)
    answer = ask(daemon, "POST", "/v1/samples", ("Content-Type", "application/json"), *lines,
                 body=b'{"label":1,"steps":1}')
    assert answer.status == status


@pytest.mark.parametrize("accept", [
    "application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    "application/vnd.google.protobuf", "text/html"])
def test_metrics_are_scraped_whatever_is_asked_for(daemon, accept):
    """There is one format; RFC 9110, 12.5.1, lets a server send what it has, and scrapers look at its type."""
    for method in ("GET", "HEAD"):
        answer = ask(daemon, method, "/metrics", ("Accept", accept))
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
