"""Guidance on a part of the steps: named in bodies and URLs, shown, counted, and part of what a picture says of itself."""

import base64
import json

import pytest
import requests

from .conftest import DEADLINE_S, FEW, Daemon, write_model

PART = {"samplers": ["ddim", "dpmpp_2m"],
        "default": {"sampler": "dpmpp_2m", "steps": 10, "guidance_scale": 2, "guidance_interval": [0.2, 0.8]},
        "presets": {"half": {"sampler": "ddim", "steps": 4, "guidance_scale": 2, "guidance_interval": [0.5, 1]},
                    "default": {"sampler": "ddim", "steps": 5, "guidance_scale": 2}}}
ASKED = {"label": 7, "seed": 42, "steps": 5, "guidance_scale": 2}


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """A model that is guided on a part of the steps by default, and one whose guidance is fixed."""
    folder = tmp_path_factory.mktemp("part")
    write_model(folder / "part.safetensors", PART)
    write_model(folder / "few.safetensors", FEW)
    daemon = Daemon(folder, "--model", folder / "few.safetensors", model=folder / "part.safetensors")
    yield daemon
    daemon.stop()


def evaluations(daemon, body):
    """The answer's parameters, and the network evaluations that it took."""
    before = daemon.metric("evaluations_total")
    answer = daemon.post(body)
    assert answer.status_code == 200, answer.text
    return answer.json()["params"], daemon.metric("evaluations_total") - before


@pytest.mark.parametrize("interval, guided", [([0, 1], 5), ([0.2, 0.8], 3), ([0, 0.2], 1), ([0.9, 1], 0)])
def test_only_its_steps_are_guided(start_daemon, interval, guided):
    daemon = start_daemon("--workers", 1)
    params, n = evaluations(daemon, {**ASKED, "n": 2, "guidance_interval": interval})
    assert params["guidance_interval"] == interval and n == 2 * (5 + guided)


def test_bodies_and_urls_name_the_same_picture(daemon):
    def url(interval):
        return daemon.get(f"/v1/samples/7.png?seed=42&steps=5&guidance_scale=2{interval}")

    whole, middle, spelled = url(""), url("&guidance_interval=0.2,0.8"), url("&guidance_interval=2e-1%2C0.80")
    assert middle.content == spelled.content and middle.headers["ETag"] == spelled.headers["ETag"]
    assert "hit" in spelled.headers["Cache-Status"]
    assert middle.headers["X-Sample-Digest"] != whole.headers["X-Sample-Digest"]
    assert middle.headers["ETag"] != whole.headers["ETag"]
    assert url("&guidance_interval=0,1").headers["ETag"] == whole.headers["ETag"]
    image = daemon.post({**ASKED, "guidance_interval": [0.2, 0.8]}).json()["images"][0]
    assert image["digest"] == middle.headers["X-Sample-Digest"]
    assert base64.b64decode(image["b64"]) == middle.content
    verdict = requests.post(daemon.url + "/v1/verify", data=middle.content, timeout=DEADLINE_S,
                            headers={"Content-Type": "image/png"}).json()
    assert verdict["match"] and verdict["drawn"]["params"]["guidance_interval"] == [0.2, 0.8]


def test_the_models_default(part):
    model = part.get("/v1/models").json()["data"][0]
    assert model["defaults"]["guidance_interval"] == [0.2, 0.8]
    params, n = evaluations(part, ASKED)
    assert params["guidance_interval"] == [0.2, 0.8] and n == 8
    params, n = evaluations(part, {**ASKED, "guidance_interval": [0, 1]})
    assert params["guidance_interval"] == [0, 1] and n == 10
    # Nothing is said of it where there is no guidance.
    params, n = evaluations(part, {**ASKED, "guidance_scale": 1})
    assert "guidance_interval" not in params and n == 5
    params, n = evaluations(part, {"model": "few", "label": 7, "steps": 4})
    assert "guidance_interval" not in params and n == 4


def test_presets(part):
    presets = part.get("/v1/models").json()["data"][0]["presets"]
    assert [(p["name"], p.get("guidance_interval"), p["evaluations"]) for p in presets] == [
        ("half", [0.5, 1], 6), ("default", None, 8)]
    for preset in presets:
        _, n = evaluations(part, {"label": 7, "seed": 1, "preset": preset["name"]})
        assert n == preset["evaluations"]
    params, n = evaluations(part, {"label": 7, "seed": 2, "preset": "default", "guidance_interval": [0, 1]})
    assert params["guidance_interval"] == [0, 1] and n == 10


@pytest.mark.parametrize("body, detail", [
    ({"guidance_interval": [0.8, 0.2]}, "0 <= start < end <= 1 expected"),
    ({"guidance_interval": [0.5, 0.5]}, "0 <= start < end <= 1 expected"),
    ({"guidance_interval": [-0.1, 0.5]}, "0 <= start < end <= 1 expected"),
    ({"guidance_interval": [0, 1.5]}, "0 <= start < end <= 1 expected"),
    ({"guidance_interval": 0.5}, "an array of two numbers is expected"),
    ({"guidance_interval": []}, "two numbers are expected"),
    ({"guidance_interval": [0]}, "two numbers are expected"),
    ({"guidance_interval": [0, 0.5, 1]}, "two numbers are expected"),
    ({"guidance_interval": ["0", "1"]}, "two numbers are expected"),
    ({"guidance_interval": [0, 0.5], "guidance_scale": 1}, "guidance is off"),
    ({"guidance_interval": [0, 0.5], "model": "few"}, "0 to 1 expected: this model has its guidance in its weights"),
    ({"guidance_interval": [0, 1], "preset": "half"}, "preset half sets it"),
])
def test_refused(part, body, detail):
    answer = part.post({"label": 7, **body})
    assert answer.status_code == 400
    error, = answer.json()["errors"]
    assert error["pointer"] == "/guidance_interval" and detail in error["detail"]


@pytest.mark.parametrize("text", ["", "0", "0,", ",1", "0,1,2", "0;1", "x,1", "[0,1]", "0 ,1", "0" * 99 + ",1", "1,0"])
def test_refused_in_urls(part, text):
    answer = part.get("/v1/samples/7.png", params={"seed": 1, "guidance_interval": text})
    assert answer.status_code == 400
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/guidance_interval"]


def test_in_openais_shape(part):
    def generate(**more):
        return requests.post(part.url + "/v1/images/generations", json={"prompt": "7", "seed": 1, **more},
                             timeout=DEADLINE_S)

    assert generate(guidance_interval=[0.25, 1]).json()["params"]["guidance_interval"] == [0.25, 1]
    assert generate(guidance_interval=None).json()["params"]["guidance_interval"] == [0.2, 0.8]
    for value in (0.5, [1, 0], [1], "0,1"):
        answer = generate(guidance_interval=value)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "guidance_interval", json.dumps(value)
