"""openapi.yaml is the contract: its examples run, its routes are the daemon's, and the reverse."""

import itertools

import jsonschema
import pytest
import yaml

from .conftest import DEADLINE_S, wait_for

import requests

with open("openapi.yaml", encoding="utf-8") as f:
    DOCUMENT = yaml.safe_load(f)
SAMPLES = DOCUMENT["paths"]["/v1/samples"]["post"]
EXAMPLES = SAMPLES["requestBody"]["content"]["application/json"]["examples"]
IMAGES = DOCUMENT["paths"]["/v1/images/generations"]["post"]
IMAGES_EXAMPLES = IMAGES["requestBody"]["content"]["application/json"]["examples"]
PICTURE = DOCUMENT["paths"]["/v1/samples/{label}.png"]


def resolve(node):
    while "$ref" in node:
        target = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def validate(instance, schema):
    resolver = jsonschema.RefResolver("", DOCUMENT)
    jsonschema.Draft202012Validator(schema, resolver=resolver).validate(instance)


def check_answer(operation, answer):
    """The status, headers and body of an answer are as documented."""
    documented = operation["responses"]
    assert str(answer.status_code) in documented, answer.text
    response = resolve(documented[str(answer.status_code)])
    media_type = answer.headers.get("Content-Type", "").split(";")[0]
    if answer.content:
        assert media_type in response["content"]
        if media_type.endswith("json"):
            validate(answer.json(), response["content"][media_type]["schema"])


def objects(node, path="#"):
    if isinstance(node, dict):
        yield path, node
        for key, child in node.items():
            yield from objects(child, f"{path}/{key}")
    elif isinstance(node, list):
        for i, child in enumerate(node):
            yield from objects(child, f"{path}/{i}")


def test_the_daemon_serves_it(daemon):
    assert daemon.get("/openapi.json").json() == DOCUMENT


def test_references_and_schemas_are_sound():
    for path, node in objects(DOCUMENT):
        if "$ref" in node:
            resolve(node)
        if node.get("type") == "object" and path.startswith("#/components/schemas"):
            assert "additionalProperties" in node, path
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_its_routes_are_the_daemons(daemon):
    served = {(r["method"], r["path"]) for r in daemon.get("/").json()["routes"]}
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items()
                  for method in item if method in ("get", "post", "put", "delete", "patch")}
    assert served == documented


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(daemon, name):
    body = EXAMPLES[name]["value"]
    validate(body, DOCUMENT["components"]["schemas"]["SampleRequest"])
    answer = daemon.post(body)
    assert answer.status_code == 200, answer.text
    check_answer(SAMPLES, answer)
    for header in ("X-Seed", "X-Model-Digest", "Server-Timing", "X-Determinism"):
        assert header in answer.headers


@pytest.mark.parametrize("name", IMAGES_EXAMPLES)
def test_examples_of_images_run(daemon, name):
    body = IMAGES_EXAMPLES[name]["value"]
    validate(body, DOCUMENT["components"]["schemas"]["ImagesRequest"])
    answer = requests.post(daemon.url + "/v1/images/generations", json=body, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    check_answer(IMAGES, answer)
    for header in () if body.get("stream") is True else IMAGES["responses"]["200"]["headers"]:
        assert header in answer.headers


def test_parameter_examples_run(daemon):
    query = {p["name"]: p["example"] for p in PICTURE["parameters"] if p["in"] == "query"}
    label = next(p["example"] for p in PICTURE["parameters"] if p["in"] == "path")
    answer = daemon.get(f"/v1/samples/{label}.png", params=query)
    assert answer.status_code == 200, answer.text
    check_answer(PICTURE["get"], answer)
    for name in resolve(PICTURE["get"]["responses"]["200"])["headers"]:
        assert name in answer.headers, name
    check_answer(PICTURE["get"], daemon.get(f"/v1/samples/{label}.png", params=query,
                                            headers={"If-None-Match": answer.headers["ETag"]}))
    # Each alone, where it can stand alone.
    for name, value in query.items():
        if name != "eta":
            one = daemon.get(f"/v1/samples/{label}.png", params={"steps": 2, name: value})
            assert one.status_code == 200, one.text


def test_plain_gets(daemon):
    requests.post(daemon.url + "/v1/jobs", json={"id": "digits-1", "label": 1, "steps": 1},
                  timeout=DEADLINE_S)
    wait_for(lambda: daemon.get("/v1/jobs/digits-1?wait=60").json()["status"] == "succeeded", "the job")
    for path, item in DOCUMENT["paths"].items():
        if path == "/v1/samples/{label}.png" or "get" not in item:
            continue
        for parameter in map(resolve, item.get("parameters", [])):
            path = path.replace("{%s}" % parameter["name"], parameter["example"])
        answer = daemon.get(path)
        assert answer.status_code == 200
        check_answer(item["get"], answer)


def test_errors_are_documented(daemon):
    check_answer(SAMPLES, daemon.post({"label": 99}))
    check_answer(SAMPLES, daemon.post({"label": 1, "model": "x"}))
    check_answer(SAMPLES, daemon.post({"label": 1}, headers={"Accept": "text/html"}))
    check_answer(SAMPLES, daemon.post("x", headers={"Content-Type": "text/html"}))
    check_answer(SAMPLES, daemon.post(b" " * 100000, headers={"Content-Type": "application/json"}))
    check_answer(PICTURE["get"], daemon.get("/v1/samples/x.png"))
    check_answer(PICTURE["get"], daemon.get("/v1/samples/1.png?model=x"))


def test_the_schema_and_the_daemon_agree(daemon):
    """What the schema refuses the daemon refuses, and what it accepts is at most out of range."""
    schema = DOCUMENT["components"]["schemas"]["SampleRequest"]
    values = [None, True, -1, 0, 1, 1.5, 2**53, "ddim", "grid", "png", "x", [], [1], {}]
    refused = accepted = 0
    for name, value in itertools.product(schema["properties"], values):
        body = {"label": 1, "steps": 1, name: value}
        if name == "labels":
            del body["label"]
        try:
            validate(body, schema)
            valid = True
        except jsonschema.ValidationError:
            valid = False
        status = daemon.post(body).status_code
        if valid:
            accepted += status == 200
            late = name == "timeout_ms" and status in (503, 504)
            assert late or status in (200, 400, 404), (name, value)
        else:
            refused += 1
            assert status == 400, (name, value)
    assert refused > 50 and accepted > 10


def test_what_a_key_changes_is_documented(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("ada ada-0123456789abcdef rows-per-minute=1\n")
    daemon = start_daemon("--api-keys-file", keys, "--metrics-need-key", "on")
    refused = 0
    for path, item in DOCUMENT["paths"].items():
        for parameter in map(resolve, item.get("parameters", [])):
            path = path.replace("{%s}" % parameter["name"], str(parameter["example"]))
        for method in item.keys() & {"get", "post", "put", "delete"}:
            answer = requests.request(method, daemon.url + path, timeout=DEADLINE_S)
            if answer.status_code == 401:
                check_answer(item[method], answer)
                refused += 1
    assert refused > 6
    headers = {"X-API-Key": "ada-0123456789abcdef"}
    answers = [daemon.post({"label": 1, "steps": 1}, headers=headers) for _ in range(2)]
    assert answers[1].status_code == 429
    for name in resolve(SAMPLES["responses"]["429"])["headers"]:
        assert name in answers[1].headers
    check_answer(SAMPLES, answers[1])
    check_answer(PICTURE["get"], daemon.get("/v1/samples/1.png", headers=headers))


def test_unavailable_is_documented(start_daemon):
    daemon = start_daemon("--max-queue-rows", 1, "--max-rows-per-request", 1)
    client = daemon.send_post({"label": 1, "steps": 1000, "sampler": "ddpm"})
    answers = [requests.post(daemon.url + "/v1/samples", json={"label": 1, "steps": 1},
                             timeout=DEADLINE_S) for _ in range(3)]
    for answer in answers:
        check_answer(SAMPLES, answer)
    client.close()
