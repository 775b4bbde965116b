"""What well-behaved clients may expect of any HTTP server: methods, codings, traces, origins."""

import gzip
import json

import pytest
import requests

from . import contract, wire
from .conftest import DEADLINE_S, Daemon, read_response
from .test_errors import check_problem

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
GOOD, EVIL = "https://studio.example", "https://evil.example"


def raw(daemon, request):
    """Send bytes as they are; the answer as (status, headers, body)."""
    client = daemon.connect()
    client.sendall(request)
    answer = read_response(client.makefile("rb"))
    client.close()
    return answer


def get_coded(daemon, path, coding):
    line = f"Accept-Encoding: {coding}\r\n" if coding is not None else ""
    return raw(daemon, f"GET {path} HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode())


# ---- methods and media types --------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/", "/v1/samples", "/v1/samples/7.png", "/v1/models",
                                  "/v1/models/mnist", "/v1/capabilities", "/livez", "/readyz",
                                  "/metrics", "/version", "/openapi.json"])
def test_options_and_405_name_the_methods(daemon, path):
    options = requests.options(daemon.url + path, timeout=DEADLINE_S)
    assert (options.status_code, options.content) == (204, b"")
    allow = options.headers["Allow"].split(", ")
    assert "OPTIONS" in allow and ("GET" in allow) == ("HEAD" in allow)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"):
        if method not in allow:
            answer = requests.request(method, daemon.url + path, timeout=DEADLINE_S)
            assert answer.status_code == 405
            assert answer.headers["Allow"].split(", ") == allow
            if method != "HEAD":
                check_problem(answer, 405, "method-not-allowed")


def test_options_of_the_server(daemon):
    answer = wire.ask((daemon.host, daemon.port), "OPTIONS", "*")
    contract.check_answer("OPTIONS", "*", answer.status, answer.headers, answer.body)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD, POST, DELETE, OPTIONS"
    status, _, body = raw(daemon, b"GET * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 404 and json.loads(body)["type"].endswith(":not-found")


def test_an_expectation_that_nobody_can_meet(daemon):
    status, _, body = raw(daemon, b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n"
                                  b"Expect: miracles\r\n\r\n{\"label\":1}")
    assert status == 417 and json.loads(body)["type"].endswith(":expectation-failed")


# ---- gzip ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br, gzip;q=0.5", "x-gzip", "*", "deflate, *"])
@pytest.mark.parametrize("path", ["/openapi.json", "/v1/capabilities", "/metrics"])
def test_gzip_where_it_is_asked_for(daemon, path, coding):
    status, headers, body = get_coded(daemon, path, coding)
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert "Accept-Encoding" in headers["vary"]
    plain = gzip.decompress(body)
    assert len(plain) > len(body)
    if path != "/metrics":
        assert plain == get_coded(daemon, path, None)[2]


@pytest.mark.parametrize("coding", [None, "", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=0, *",
                                    "gzi", "gzipped"])
def test_no_gzip_where_it_is_not(daemon, coding):
    status, headers, body = get_coded(daemon, "/openapi.json", coding)
    assert status == 200 and "content-encoding" not in headers
    assert "Accept-Encoding" in headers["vary"] and json.loads(body)


def test_small_bodies_and_pictures_stay_as_they_are(daemon):
    for path in ("/livez", "/nope", "/v1/samples/7.png?seed=1&steps=1&scale=16"):
        _, headers, _ = get_coded(daemon, path, "gzip")
        assert "content-encoding" not in headers and "vary" not in headers


def test_gzip_of_a_document(daemon):
    body = {"label": 3, "n": 8, "steps": 1, "seed": 4}
    with daemon.post(body, headers={"Accept-Encoding": "gzip"}, stream=True) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        data = answer.raw.read(decode_content=False)
    plain = daemon.post(body, headers={"Accept-Encoding": "identity"})
    assert json.loads(gzip.decompress(data))["images"] == plain.json()["images"]
    assert len(data) < len(plain.content)
    assert "Accept" in plain.headers["Vary"].split(", ")


def test_head_tells_the_length_of_the_coded_body(daemon):
    for coding in ("gzip", "identity"):
        given = {"Accept-Encoding": coding}
        head = requests.head(daemon.url + "/openapi.json", headers=given, timeout=DEADLINE_S)
        with daemon.get("/openapi.json", headers=given, stream=True) as get:
            assert len(get.raw.read(decode_content=False)) == int(head.headers["Content-Length"])
            assert head.headers.get("Content-Encoding") == get.headers.get("Content-Encoding")


# ---- traceparent --------------------------------------------------------------------------------

def test_a_trace_goes_on(start_daemon):
    daemon = start_daemon("--workers", 1)
    answers = [daemon.get("/livez", headers={"traceparent": value}).headers
               for value in (TRACEPARENT, TRACEPARENT, f"cc-{TRACEPARENT[3:]}-more")]
    spans = set()
    for headers in answers:
        version, trace, span, flags = headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01") and span != "00f067aa0ba902b7"
        spans.add(span)
    assert len(spans) == 3
    daemon.get("/livez")
    daemon.stop()
    lines = [e for e in daemon.events() if e["event"] == "request"]
    assert [e.get("trace_id") for e in lines] == [TRACE] * 3 + [None]
    assert {e["span_id"] for e in lines[:3]} == spans


@pytest.mark.parametrize("value", [
    "", "00", TRACEPARENT.upper(), TRACEPARENT + "-x", TRACEPARENT[:-1], "ff" + TRACEPARENT[2:],
    f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-xx-01",
    TRACEPARENT.replace("-", "_"), "0" * 5000])
def test_a_malformed_trace_is_none(daemon, value):
    answer = daemon.get("/livez", headers={"traceparent": value})
    assert answer.status_code == 200 and "traceparent" not in answer.headers


# ---- origins ------------------------------------------------------------------------------------

def preflight(daemon, origin, path="/v1/samples"):
    return requests.options(daemon.url + path, timeout=DEADLINE_S, headers={
        "Origin": origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type"})


def cors_of(answer):
    return {k.lower() for k in answer.headers if k.lower().startswith("access-control-")}


def test_no_origin_is_allowed_by_default(daemon):
    for answer in (preflight(daemon, GOOD), daemon.get("/livez", headers={"Origin": GOOD})):
        assert not cors_of(answer) and "Origin" not in answer.headers.get("Vary", "")


def test_configured_origins(start_daemon):
    daemon = start_daemon("--cors-origin", f"{GOOD},http://localhost:3000")
    for origin in (GOOD, "http://localhost:3000"):
        answer = preflight(daemon, origin)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "POST" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"content-type", "authorization", "x-api-key", "idempotency-key"} <= set(allowed)
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        for answer in (daemon.get("/v1/models", headers={"Origin": origin}),
                       daemon.get("/nope", headers={"Origin": origin}),
                       daemon.post({"label": 1, "steps": 1}, headers={"Origin": origin})):
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
    for origin in (EVIL, "null", GOOD + ".evil.example", GOOD[:-1], "http" + GOOD[5:], "", "*", GOOD.upper(),
                   GOOD.title()):
        for answer in (preflight(daemon, origin), daemon.get("/livez", headers={"Origin": origin})):
            assert answer.ok and not cors_of(answer)
            assert "Origin" in answer.headers["Vary"]  # caches must not mix the two up


SDK = ["authorization", "content-type", "x-stainless-lang", "x-stainless-retry-count", "x-stainless-os"]


@pytest.mark.parametrize("allowed", ["*", GOOD])
def test_headers_of_client_libraries(start_daemon, allowed):
    """openai-node in a browser sends a dozen of its own; the list may come on several lines."""
    daemon = start_daemon("--workers", 1, "--cors-origin", allowed)

    def asking(*wanted, origin=GOOD):
        lines = [("Origin", origin), ("Access-Control-Request-Method", "POST"),
                 *(("Access-Control-Request-Headers", value) for value in wanted)]
        answer = wire.ask((daemon.host, daemon.port), "OPTIONS", "/v1/images/generations", lines)
        contract.check_answer("OPTIONS", "/v1/images/generations", 204, answer.headers, answer.body)
        return {name.strip() for name in answer.headers.get("Access-Control-Allow-Headers", "").split(",")}

    assert set(SDK) <= asking(",".join(SDK))
    assert set(SDK) <= asking(SDK[0], SDK[1], ", ".join(SDK[2:]))
    for wanted in ((), ("",), ("a b: c;",), ("x" * 5000,)):  # what is no list of names
        assert "Authorization" in asking(*wanted)
    assert allowed == "*" or asking(SDK[0], origin=EVIL) == {""}


def test_any_origin(start_daemon):
    daemon = start_daemon("--cors-origin", "*")
    for answer in (preflight(daemon, EVIL), daemon.get("/livez", headers={"Origin": EVIL})):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert not cors_of(daemon.get("/livez"))


@pytest.mark.parametrize("value", ["example.org", "https://", "https://a/", "https://a,", "*,https://a",
                                   "https://a https://b", "://a", "HTTPS://a", "https://A.example", "https://*.a", "null"])
def test_origins_that_are_none(tmp_path, value):
    daemon = Daemon(tmp_path, "--cors-origin", value, wait=False)
    assert daemon.wait() == 2
    assert "--cors-origin" in daemon.log_path.read_text()
