"""Settings that models give a name: which model a name chooses, what it stands for, what may not stand beside it."""

import json

import pytest
import requests

from .conftest import DEADLINE_S, FEW, Daemon, write_model

BASE = {"samplers": ["ddim", "dpmpp_2m"], "default": {"sampler": "dpmpp_2m", "steps": 20, "guidance_scale": 1.5},
        "presets": {"fast": {"sampler": "dpmpp_2m", "steps": 2, "guidance_scale": 1},
                    "balanced": {"sampler": "dpmpp_2m", "steps": 3, "guidance_scale": 2},
                    "exact": {"sampler": "ddim", "steps": 4, "guidance_scale": 1.5, "eta": 1}}}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    write_model(folder / "base.safetensors", BASE)
    write_model(folder / "few.safetensors", {**FEW, "presets": {**FEW["presets"], "balanced": {
        "sampler": "consistency", "steps": 2, "guidance_scale": 1.5}}})
    daemon = Daemon(folder, "--model", folder / "few.safetensors", model=folder / "base.safetensors")
    yield daemon
    daemon.stop()


def sampling(document):
    """(model, sampler, steps, guidance_scale, eta) of an answer."""
    params = document["params"]
    return (document["model"]["id"], params["sampler"], params["steps"], params["guidance_scale"], params.get("eta"))


def test_models_lists_them(both):
    base, few = both.get("/v1/models").json()["data"]
    assert base["presets"] == [
        {"name": "fast", **BASE["presets"]["fast"], "evaluations": 2},
        {"name": "balanced", **BASE["presets"]["balanced"], "evaluations": 6},
        {"name": "exact", **BASE["presets"]["exact"], "evaluations": 8}]
    assert [(p["name"], p["evaluations"]) for p in few["presets"]] == [("turbo", 1), ("balanced", 2)]


@pytest.mark.parametrize("asked, drawn", [
    ({"preset": "fast"}, ("base", "dpmpp_2m", 2, 1, None)),
    ({"preset": "exact"}, ("base", "ddim", 4, 1.5, 1)),
    ({"preset": "turbo"}, ("few", "consistency", 1, 1.5, None)),
    ({"preset": "balanced"}, ("base", "dpmpp_2m", 3, 2, None)),
    ({"preset": "balanced", "model": "few"}, ("few", "consistency", 2, 1.5, None)),
])
def test_the_preset_and_what_it_stands_for_are_the_same_picture(both, asked, drawn):
    document = both.post({"label": 7, "seed": 42, **asked}).json()
    assert sampling(document) == drawn
    again = both.post({**document["params"], "model": drawn[0]}).json()
    assert again["params"] == document["params"]
    assert again["images"][0]["b64"] == document["images"][0]["b64"]
    assert "preset" not in json.dumps(document)


def test_a_url_with_a_preset_is_the_picture_of_what_it_stands_for(both):
    named = both.get("/v1/samples/7.png?seed=42&preset=fast")
    spelled = both.get("/v1/samples/7.png?seed=42&sampler=dpmpp_2m&steps=2&guidance_scale=1")
    assert named.content == spelled.content and named.headers["ETag"] == spelled.headers["ETag"]
    assert "hit" in spelled.headers["Cache-Status"]
    other = both.get("/v1/samples/7.png?seed=42&preset=turbo")
    assert other.headers["X-Model-Digest"] == both.get("/v1/models/few").json()["digest"]


@pytest.mark.parametrize("body, pointer, detail", [
    ({"preset": "best"}, "/preset", "fast of base, balanced of base, exact of base, turbo of few, balanced of few"),
    ({"preset": "turbo", "model": "base"}, "/preset", "must be one of: fast of base, balanced of base, exact of base"),
    ({"preset": "fast", "steps": 2}, "/steps", "preset fast sets it"),
    ({"preset": "fast", "sampler": "dpmpp_2m"}, "/sampler", "preset fast sets it"),
    ({"preset": "turbo", "guidance_scale": 1.5}, "/guidance_scale", "preset turbo sets it"),
    ({"preset": "exact", "eta": 0}, "/eta", "preset exact sets it"),
    ({"preset": "fast", "eta": 0}, "/eta", "sampler dpmpp_2m has no eta"),
    ({"preset": 1}, "/preset", "a string is expected"),
    ({"preset": ""}, "/preset", "must be one of"),
])
def test_refused(both, body, pointer, detail):
    answer = both.post({"label": 7, **body})
    assert answer.status_code == 400
    error, = answer.json()["errors"]
    assert error["pointer"] == pointer and detail in error["detail"]


def test_a_model_without_presets_says_so(start_daemon, tmp_path):
    write_model(tmp_path / "few.safetensors", {name: value for name, value in FEW.items() if name != "presets"})
    daemon = start_daemon(model=tmp_path / "few.safetensors")
    for body, detail in (({"preset": "fast"}, "no model here has presets"),
                         ({"preset": "fast", "model": "few"}, "model few has no presets")):
        error, = daemon.post({"label": 7, **body}).json()["errors"]
        assert error == {"pointer": "/preset", "detail": detail}


# ---- through OpenAI's shape ---------------------------------------------------------------------

def generate(daemon, body):
    return requests.post(daemon.url + "/v1/images/generations", json=body, timeout=DEADLINE_S)


@pytest.mark.parametrize("asked, drawn", [
    ({}, ("base", "dpmpp_2m", 20, 1.5, None)),
    ({"quality": "auto"}, ("base", "dpmpp_2m", 20, 1.5, None)),
    ({"quality": "standard"}, ("base", "dpmpp_2m", 20, 1.5, None)),
    ({"quality": "low"}, ("base", "dpmpp_2m", 2, 1, None)),
    ({"quality": "medium"}, ("base", "dpmpp_2m", 3, 2, None)),
    ({"quality": "medium", "model": "few"}, ("few", "consistency", 2, 1.5, None)),
    ({"quality": "high"}, ("base", "ddim", 4, 1.5, 1)),
    ({"quality": "hd"}, ("base", "ddim", 4, 1.5, 1)),
    ({"preset": "turbo"}, ("few", "consistency", 1, 1.5, None)),
])
def test_quality_is_a_preset(both, asked, drawn):
    document = generate(both, {"prompt": "seven", "seed": 1, **asked})
    assert sampling(document.json()) == drawn


@pytest.mark.parametrize("body, param, message", [
    ({"quality": "best"}, "quality", "must be one of: auto, standard, low, medium, high, hd"),
    ({"quality": "high", "model": "few"}, "quality", "high is the preset exact, which there is not here"),
    ({"quality": "low", "preset": "turbo"}, "quality", "not both"),
    ({"quality": "low", "num_inference_steps": 2}, "num_inference_steps", "preset fast sets it"),
    ({"preset": "best"}, "preset", "turbo of few"),
])
def test_refused_in_openais_shape(both, body, param, message):
    answer = generate(both, {"prompt": "seven", **body})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param and message in error["message"]
