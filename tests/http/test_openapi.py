"""openapi.yaml as a document: its examples run, its routes are the daemon's, and the reverse.

That every answer is as documented: test_contract.py.
"""

import itertools

import jsonschema
import pytest
import requests

from .conftest import DEADLINE_S
from .contract import DOCUMENT, OPERATIONS, is_valid, resolve, validate

SAMPLES = DOCUMENT["paths"]["/v1/samples"]["post"]
EXAMPLES = SAMPLES["requestBody"]["content"]["application/json"]["examples"]
IMAGES = DOCUMENT["paths"]["/v1/images/generations"]["post"]
IMAGES_EXAMPLES = IMAGES["requestBody"]["content"]["application/json"]["examples"]


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
    served = {(r["method"], r["path"]) for url in (daemon.url + "/", daemon.admin_url + "/admin")
              for r in requests.get(url, timeout=DEADLINE_S).json()["routes"]}
    assert served == {(op.method, op.path) for op in OPERATIONS if op.method != "HEAD"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(daemon, name):
    body = EXAMPLES[name]["value"]
    validate(body, DOCUMENT["components"]["schemas"]["SampleRequest"])
    answer = daemon.post(body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", IMAGES_EXAMPLES)
def test_examples_of_images_run(daemon, name):
    body = IMAGES_EXAMPLES[name]["value"]
    validate(body, DOCUMENT["components"]["schemas"]["ImagesRequest"])
    answer = requests.post(daemon.url + "/v1/images/generations", json=body, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text


def test_the_schema_and_the_daemon_agree(daemon):
    """What the schema refuses the daemon refuses, and what it accepts is at most out of range."""
    schema = DOCUMENT["components"]["schemas"]["SampleRequest"]
    values = [None, True, -1, 0, 1, 1.5, 2**53, "ddim", "grid", "png", "apng", "x", [], [1], {}]
    refused = accepted = 0
    for name, value in itertools.product(schema["properties"], values):
        body = {"label": 1, "steps": 1, name: value}
        if name == "labels":
            del body["label"]
        status = daemon.post(body).status_code
        if is_valid(body, schema):
            accepted += status == 200
            late = name == "timeout_ms" and status in (503, 504)
            assert late or status in (200, 400, 404), (name, value)
        else:
            refused += 1
            assert status == 400, (name, value)
    assert refused > 50 and accepted > 10
