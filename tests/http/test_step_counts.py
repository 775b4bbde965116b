"""A model that was trained for a few step counts at one guidance scale, beside one that was not."""

import pytest

from .conftest import FEW, Daemon, write_model

@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    write_model(folder / "few.safetensors", FEW)
    daemon = Daemon(folder, "--model", folder / "few.safetensors")
    yield daemon
    daemon.stop()


def test_models_tells(both):
    base, few = both.get("/v1/models").json()["data"]
    assert (base["step_counts"], base["guidance"], base["fixed_guidance_scale"]) == (None, True, None)
    assert (few["step_counts"], few["guidance"], few["fixed_guidance_scale"]) == ([1, 2, 4], False, 1.5)
    assert few["samplers"] == ["consistency"]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_allowed_steps(both, steps):
    body = {"model": "few", "label": 7, "seed": 42, "steps": steps}
    answer = both.post(body).json()
    assert answer["params"]["steps"] == steps and answer["params"]["guidance_scale"] == 1.5
    # Its own scale may be named, and the image is the same one.
    again = both.post(body | {"guidance_scale": 1.5, "sampler": "consistency"}).json()
    assert again["images"][0]["digest"] == answer["images"][0]["digest"]


@pytest.mark.parametrize("field, value, detail", [
    ("steps", 3, "1, 2 or 4 expected"),
    ("steps", 0, "1, 2 or 4 expected"),
    ("steps", 20, "1, 2 or 4 expected"),
    ("guidance_scale", 1, "1.5 expected: it is fixed"),
    ("guidance_scale", 2, "1.5 expected: it is fixed"),
    ("sampler", "ddim", "consistency"),
    ("eta", 0, "no eta"),
])
def test_anything_else_is_refused(both, field, value, detail):
    answer = both.post({"model": "few", "label": 7, field: value})
    assert answer.status_code == 400
    error, = answer.json()["errors"]
    assert error["pointer"] == "/" + field and detail in error["detail"]


def test_the_other_model_has_no_consistency_sampler(both):
    answer = both.post({"label": 7, "sampler": "consistency"})
    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == "/sampler"


def test_one_evaluation_a_step(both):
    before = both.metric("evaluations_total")
    both.post({"model": "few", "label": 3, "n": 5, "steps": 4, "seed": 1})
    assert both.metric("evaluations_total") - before == 5 * 4
