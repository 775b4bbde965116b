"""Every bad input is refused with a problem that names its place."""

import json

import pytest
import requests

from .conftest import DEADLINE_S, read_response


def check_problem(answer, status, kind, pointer=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "errors", "request_id"}
    assert problem["status"] == status
    assert problem["type"] == "urn:denoised:problem:" + kind
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    pointers = [e["pointer"] for e in problem["errors"]]
    assert all(e["detail"] for e in problem["errors"])
    if pointer is not None:
        assert pointer in pointers, problem
    return problem


# Bodies that are JSON but not a request, and the field at fault.
INVALID = [
    ({}, "/label"), ([], ""), ("x", ""), (7, ""), (None, ""),
    ({"label": 10}, "/label"), ({"label": -1}, "/label"), ({"label": 1.5}, "/label"),
    ({"label": None}, "/label"), ({"label": True}, "/label"), ({"label": [1]}, "/label"),
    ({"label": {}}, "/label"), ({"label": "ten"}, "/label"), ({"label": "07"}, "/label"),
    ({"label": ""}, "/label"), ({"label": 1e300}, "/label"),
    ({"label": 1, "labels": [1]}, "/labels"), ({"labels": []}, "/labels"),
    ({"labels": 1}, "/labels"), ({"labels": [1, 99]}, "/labels/1"),
    ({"labels": [[1]]}, "/labels/0"), ({"labels": [None]}, "/labels/0"),
    ({"labels": [1] * 257}, "/labels"),
    ({"label": 1, "n": 0}, "/n"), ({"label": 1, "n": -1}, "/n"), ({"label": 1, "n": 257}, "/n"),
    ({"label": 1, "n": "4"}, "/n"), ({"label": 1, "n": 1.5}, "/n"), ({"label": 1, "n": None}, "/n"),
    ({"label": 1, "n": 1e18}, "/n"), ({"labels": [1, 2], "n": 129}, "/n"),
    ({"label": 1, "seed": -1}, "/seed"), ({"label": 1, "seed": 2**53}, "/seed"),
    ({"label": 1, "seed": 0.5}, "/seed"), ({"label": 1, "seed": "1"}, "/seed"),
    ({"label": 1, "seed": None}, "/seed"), ({"label": 1, "seed": 2**64 + 1}, "/seed"),
    ({"label": 1, "index": -1}, "/index"), ({"label": 1, "index": 2**32}, "/index"),
    ({"label": 1, "n": 2, "index": 2**32 - 1}, "/index"),
    ({"label": 1, "steps": 0}, "/steps"), ({"label": 1, "steps": 1001}, "/steps"),
    ({"label": 1, "steps": "20"}, "/steps"), ({"label": 1, "steps": 2.5}, "/steps"),
    ({"label": 1, "sampler": "euler"}, "/sampler"), ({"label": 1, "sampler": 1}, "/sampler"),
    ({"label": 1, "sampler": "DDIM"}, "/sampler"), ({"label": 1, "sampler": ""}, "/sampler"),
    ({"label": 1, "guidance_scale": -0.1}, "/guidance_scale"),
    ({"label": 1, "guidance_scale": 20.5}, "/guidance_scale"),
    ({"label": 1, "guidance_scale": "2"}, "/guidance_scale"),
    ({"label": 1, "sampler": "ddim", "eta": 1.01}, "/eta"),
    ({"label": 1, "sampler": "ddim", "eta": -1}, "/eta"),
    ({"label": 1, "sampler": "ddpm", "eta": 0}, "/eta"),
    ({"label": 1, "sampler": "ddim", "eta": False}, "/eta"),
    ({"label": 1, "format": "jpeg"}, "/format"), ({"label": 1, "format": 1}, "/format"),
    ({"label": 1, "layout": "row"}, "/layout"), ({"label": 1, "layout": []}, "/layout"),
    ({"label": 1, "scale": 0}, "/scale"), ({"label": 1, "scale": 33}, "/scale"),
    ({"label": 1, "scale": 2.5}, "/scale"), ({"label": 1, "n": 256, "scale": 32}, "/scale"),
    ({"label": 1, "columns": 1}, "/columns"),
    ({"label": 1, "layout": "grid", "columns": 0}, "/columns"),
    ({"label": 1, "layout": "grid", "columns": 2}, "/columns"),
    ({"label": 1, "model": 5}, "/model"),
    ({"label": 1, "prompt": "a cat"}, "/prompt"), ({"label": 1, "Seed": 1}, "/Seed"),
    ({"label": 1, "a/b~c": 1}, "/a~1b~0c"), ({"label": 1, "": 1}, "/"),
    ({"LABEL": 1}, "/LABEL"), ({"LABEL": 1}, "/label"),
    ({"label": 1, "ключ": 1}, "/ключ"),
]


@pytest.mark.parametrize("body,pointer", INVALID, ids=lambda v: json.dumps(v)[:40])
def test_invalid_request(daemon, body, pointer):
    headers = {"Content-Type": "application/json"}
    answer = daemon.post(json.dumps(body), headers=headers)
    check_problem(answer, 400, "invalid-request", pointer)


def test_all_faults_at_once(daemon):
    answer = daemon.post({"label": 99, "n": 0, "steps": "x", "nope": 1, "scale": 99})
    problem = check_problem(answer, 400, "invalid-request")
    assert {e["pointer"] for e in problem["errors"]} == {"/label", "/n", "/steps", "/nope", "/scale"}


# Bodies that are not acceptable JSON at all, and the place.
MALFORMED = [
    (b"", ""), (b" ", ""), (b"{", ""), (b"nope", ""), (b"{'label':1}", ""), (b"\xef\xbb\xbf{}", ""),
    (b'{"label":1}x', ""), (b'{"label":1}{}', ""), (b'{"label":1}\0', ""), (b'{"label":1,}', ""),
    (b'{"label" 1}', "/label"), (b'{"label":}', "/label"), (b'{"label":01}', "/label"),
    (b'{"label":+1}', "/label"), (b'{"label":.5}', "/label"), (b'{"label":1.}', "/label"),
    (b'{"label":1e}', "/label"), (b'{"label":0x1}', ""), (b'{"label":NaN}', "/label"),
    (b'{"label":Infinity}', "/label"), (b'{"label":-Infinity}', "/label"),
    (b'{"seed":1e999}', "/seed"), (b'{"seed":-1e999}', "/seed"),
    (b'{"seed":' + b"1" * 400 + b"}", "/seed"), (b'{"label":tru}', "/label"),
    (b'{"label":1,"label":2}', "/label"), (b'{"label":1,"l\\u0061bel":1}', "/label"),
    (b'{"label":1,"x":{"y":1,"y":2}}', "/x/y"),
    (b'{"label":"\xff"}', "/label"), (b'{"label":"\xc0\xaf"}', "/label"),
    (b'{"label":"\xed\xa0\x80"}', "/label"), (b'{"label":"\xf4\x90\x80\x80"}', "/label"),
    (b'{"label":"\xe2\x82"}', "/label"), (b'{"\xff":1}', ""),
    (b'{"label":"a\nb"}', "/label"), (b'{"label":"\\u0000"}', "/label"),
    (b'{"label":"\\ud800"}', "/label"), (b'{"label":"\\udc00\\ud800"}', "/label"),
    (b'{"label":"\\u12"}', "/label"), (b'{"label":"\\x41"}', "/label"), (b'{"label":"a', "/label"),
    (b'{"label":"a\\', "/label"), (b"[" * 100000 + b"]" * 100000, None), (b"[" * 60000, ""),
    (b'{"a":' * 9000 + b"1" + b"}" * 9000, "/a/a/a/a/a/a/a/a"),
    (b"{" + b",".join(b'"k%d":1' % i for i in range(65)) + b"}", ""),
    ("{\"label\":1}".encode("utf-16"), ""),
]


@pytest.mark.parametrize("body,pointer", MALFORMED, ids=lambda v: repr(v)[:40])
def test_malformed_json(daemon, body, pointer):
    answer = daemon.post(body, headers={"Content-Type": "application/json"})
    if pointer is None:
        check_problem(answer, 413, "body-too-large")
    else:
        check_problem(answer, 400, "malformed-json", pointer)


def test_unknown_model(daemon):
    for model in ("cifar", "", "MNIST", "sha256:" + "0" * 64, "x" * 5000, "ü" * 100):
        check_problem(daemon.post({"label": 1, "model": model}), 404, "model-not-found", "/model")
        check_problem(daemon.get("/v1/samples/1.png", params={"model": model}), 404,
                      "model-not-found", "/model")
    check_problem(daemon.get("/v1/models/cifar"), 404, "model-not-found", "/id")
    check_problem(daemon.get("/v1/models/%ff"), 404, "model-not-found", "/id")
    check_problem(daemon.get("/v1/models/" + "x" * 500), 404, "model-not-found", "/id")


@pytest.mark.parametrize("query,pointer", [
    ("seed=-1", "/seed"), ("seed=9007199254740992", "/seed"), ("seed=", "/seed"), ("seed", "/seed"),
    ("seed=1&seed=2", "/seed"), ("seed=1&s%65ed=1", "/seed"), ("seed=0x1", "/seed"),
    ("seed=1.5", "/seed"), ("seed=01", "/seed"), ("seed=%201", "/seed"), ("seed=+1", "/seed"),
    ("seed=1e999", "/seed"), ("seed=nan", "/seed"), ("seed=" + "1" * 500, "/seed"),
    ("steps=0", "/steps"), ("steps=1001", "/steps"), ("sampler=x", "/sampler"),
    ("guidance_scale=21", "/guidance_scale"), ("eta=0.5", "/eta"), ("sampler=ddim&eta=2", "/eta"),
    ("scale=33", "/scale"), ("index=4294967296", "/index"), ("n=2", "/n"), ("label=1", "/label"),
    ("layout=grid", "/layout"), ("format=png", "/format"), ("x=1", "/x"), ("=1", "/"),
    ("seed=%", "/seed"), ("seed=%4", "/seed"), ("seed=%zz", "/seed"), ("sampler=%00", "/sampler"),
    ("sampler=%ff", "/sampler"), ("%ff=1", ""), ("a=1&" * 1, "/a"),
    ("&".join(f"k{i}=1" for i in range(33)), "")])
def test_invalid_query(daemon, query, pointer):
    check_problem(daemon.get("/v1/samples/1.png?" + query), 400, "invalid-request", pointer)


@pytest.mark.parametrize("label", ["10", "-1", "07", "7.0", "1e0", "x", "%00", "%ff", "%", "+7",
                                   "9" * 300, "99999999999999999999"])
def test_invalid_label_in_path(daemon, label):
    check_problem(daemon.get(f"/v1/samples/{label}.png"), 400, "invalid-request", "/label")


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v1/samples/", "/v1/samples/7",
                                  "/v1/samples/.png", "/v1/samples/7.jpg", "/v1/samples/7/8.png",
                                  "/v1/models/", "/v1/models/mnist/x", "/livez/", "/LIVEZ",
                                  "/v1/samples/7.png/..", "/%2e%2e/etc/passwd", "/v1%2fsamples",
                                  "/\xff"])
def test_unknown_route(daemon, path):
    check_problem(daemon.get(path), 404, "not-found")


def test_two_slashes_are_no_page(daemon):
    """On a socket, for newer versions of requests send one."""
    with daemon.connect() as client:
        client.sendall(b"GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status, headers, _ = read_response(client.makefile("rb"))
    assert (status, headers["content-type"]) == (404, "application/problem+json")


ALLOWED = {"/": "GET, HEAD, OPTIONS", "/v1/samples": "POST, OPTIONS",
           "/v1/samples/7.png": "GET, HEAD, OPTIONS", "/v1/models": "GET, HEAD, OPTIONS",
           "/livez": "GET, HEAD, OPTIONS", "/metrics": "GET, HEAD, OPTIONS"}


@pytest.mark.parametrize("path,allow", ALLOWED.items())
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW",
                                    "A" * 40, "get"])
def test_wrong_method(daemon, path, allow, method):
    if method in allow.split(", "):
        return
    answer = requests.Request(method, daemon.url + path).prepare()
    answer.method = method  # requests would write it large
    with requests.Session() as session:
        answer = session.send(answer, timeout=DEADLINE_S)
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize("path,allow", ALLOWED.items())
def test_options(daemon, path, allow):
    answer = requests.options(daemon.url + path, timeout=DEADLINE_S)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == allow


def test_not_acceptable(daemon):
    for accept in ("text/html", "application/xml, image/jpeg", "application/json;q=0",
                   "image/png;q=0, application/json;q=0", "text/csv"):
        check_problem(daemon.post({"label": 1}, headers={"Accept": accept}), 406, "not-acceptable")
    for path in ("/v1/models", "/version", "/v1/samples/7.png", "/", "/openapi.json"):
        check_problem(daemon.get(path, headers={"Accept": "audio/ogg"}), 406, "not-acceptable")
    for path in ("/livez", "/readyz"):  # a probe gets its answer whatever it accepts
        assert daemon.get(path, headers={"Accept": "audio/ogg"}).status_code == 200


@pytest.mark.parametrize("content_type", [
    "text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonp",
    "application/json; charset=latin-1", "application/json;charset=\"utf-16\"", "json", ""])
def test_unsupported_media_type(daemon, content_type):
    answer = daemon.post('{"label":1}', headers={"Content-Type": content_type})
    check_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("content_type", [
    "application/json", "APPLICATION/JSON", "application/json; charset=utf-8",
    "application/json;charset=\"UTF-8\"", "application/vnd.x+json"])
def test_supported_media_type(daemon, content_type):
    body = '{"label":1,"steps":1}'
    assert daemon.post(body, headers={"Content-Type": content_type}).status_code == 200


def test_content_coding(daemon):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    check_problem(daemon.post(b'{"label":1}', headers=headers), 415, "unsupported-media-type")


def test_body_too_large(daemon):
    headers = {"Content-Type": "application/json"}
    limit = daemon.get("/v1/capabilities").json()["limits"]["body_bytes"]
    body = b'{"label":1,"steps":1}'
    full = body + b" " * (limit - len(body))
    assert daemon.post(full, headers=headers).status_code == 200
    check_problem(daemon.post(full + b" ", headers=headers), 413, "body-too-large")
    check_problem(daemon.post(b" " * (8 << 20), headers=headers), 413, "body-too-large")
    pieces = (b" " * 5000 for _ in range(100))  # chunked, so that no length announces it
    check_problem(daemon.post(pieces, headers=headers), 413, "body-too-large")


def test_a_chunked_body(daemon):
    pieces = iter([b'{"label":', b'1,"steps":1}'])
    answer = daemon.post(pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


def test_a_body_where_none_belongs(daemon):
    answer = requests.get(daemon.url + "/v1/models", data=b"x", timeout=DEADLINE_S)
    check_problem(answer, 400, "invalid-request")


def test_a_query_where_none_belongs(daemon):
    check_problem(daemon.get("/v1/models?limit=5"), 400, "invalid-request", "/limit")
    check_problem(daemon.post({"label": 1}, params={"seed": 1}), 400, "invalid-request", "/seed")


def test_uri_too_long(daemon):
    check_problem(daemon.get("/v1/samples/7.png?sampler=" + "x" * 9000), 414, "uri-too-long")


def test_png_of_several_images_needs_a_grid(daemon):
    answer = daemon.post({"label": 1, "n": 2}, headers={"Accept": "image/png"})
    check_problem(answer, 400, "invalid-request", "/layout")
