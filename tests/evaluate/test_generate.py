"""Settings as words, what the program makes of them, and results that are kept."""

import os

import numpy as np
import pytest

from tests.evaluate.conftest import shipped_model_with
from tools.evaluate import pieces
from tools.evaluate.generate import Program, Settings, parse_settings


def test_settings():
    assert parse_settings("") == [Settings()]
    assert parse_settings("sampler=ddim,ddpm steps=2,5 guidance_scale=1.5") == [
        Settings(None, sampler, steps, 1.5) for sampler in ("ddim", "ddpm") for steps in (2, 5)]
    assert parse_settings("guidance_interval=0.2:0.8,0:1") == [
        Settings(guidance_interval=(0.2, 0.8)), Settings(guidance_interval=(0, 1))]
    assert Settings("m", "ddim", 2, 1.0, (0.2, 0.8), 0.5).flags() == [
        "--model", "m", "--sampler", "ddim", "--steps", "2", "--guidance-scale", "1.0",
        "--guidance-interval", "0.2,0.8", "--eta", "0.5"]


@pytest.mark.parametrize("bad", ["ddim", "step=3", "steps=", "steps=2,", "steps=x",
                                 "steps=1 steps=2", "guidance_interval=0.5",
                                 "guidance_interval=0:0.5:1"])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="=|expected"):
        parse_settings(bad)


def few_step_model(path):
    """The shipped model with the config of one that has guidance trained in."""
    sampling = {"samplers": ["consistency"], "timesteps": {"1": [999], "2": [999, 399]},
                "fixed_guidance_scale": 1.5,
                "default": {"sampler": "consistency", "steps": 2, "guidance_scale": 1.5}}
    shipped_model_with(path, lambda config: config.update(sampling=sampling))
    return str(path)


def test_resolved(program, tmp_path):
    default = program.resolve(Settings())
    assert (default.model, default.sampler, default.steps, default.guidance_scale) == (
        "mnist", "heun", 7, 1.4)
    assert default.evaluations == 14, "a guided step is two"
    assert default.name() == "mnist: heun, 7 steps, guidance 1.4"
    other = program.resolve(Settings(sampler="ddim", steps=3, guidance_scale=1, eta=0.5))
    assert (other.sampler, other.steps, other.evaluations, other.eta) == ("ddim", 3, 3, 0.5)
    assert other.digest == default.digest
    few = program.resolve(Settings(model=few_step_model(tmp_path / "few.safetensors"), steps=1))
    assert (few.model, few.sampler, few.evaluations) == ("few", "consistency", 1)
    assert few.digest != default.digest


def test_evaluations_of_an_interval(program, cache):
    some = program.resolve(Settings(steps=10, guidance_interval=(0.3, 0.7)))
    assert some.evaluations == 14
    assert some.name() == "mnist: heun, 10 steps, guidance 1.4 in 0.3..0.7"
    none = Settings(steps=4, guidance_interval=(0.1, 0.2))
    assert program.resolve(none).evaluations == 4, "it lies between two steps"
    assert program.resolve(Settings(guidance_interval=(0, 1))) == program.resolve(Settings())
    unguided = Settings(steps=4, guidance_scale=1)
    drawn = [program.draw(s, 20, 5)[0].tobytes() for s in (none, unguided, Settings(steps=4))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_drawn_once(program, cache, tmp_path):
    settings = Settings(steps=2)
    images, labels = program.draw(settings, 20, 5)
    assert images.dtype == np.uint8 and images.shape == (20, 28, 28)
    assert labels.tolist() == sorted(list(range(10)) * 2)
    broken = Program(program.binary, ["--no-such-flag"])
    again, _ = broken.draw(settings, 20, 5)
    np.testing.assert_array_equal(again, images)
    same, _ = broken.draw(Settings(sampler="heun", steps=2), 20, 5)
    assert same.tobytes() == images.tobytes()
    for changed in ((Settings(steps=3), 20, 5), (settings, 30, 5), (settings, 20, 6)):
        with pytest.raises(Exception, match="no-such-flag"):
            broken.draw(*changed)
        assert program.draw(*changed)[0].tobytes() != images.tobytes()


def test_a_new_export_of_the_same_weights_is_known(program, cache, tmp_path):
    """Not what is allowed, recommended or told, but what makes pixels."""
    def of(name, change):
        shipped_model_with(tmp_path / f"{name}.safetensors", change)
        return Settings(model=str(tmp_path / f"{name}.safetensors"), sampler="ddim", steps=2)

    first = program.draw(of("first", lambda c: None), 20, 5)[0]
    broken = Program("no-such-program")
    broken._described = program._described

    def change(config):
        config["sampling"] = {"samplers": ["ddim", "dpmpp_2m"],
                              "default": {"sampler": "ddim", "steps": 7, "guidance_scale": 1.4}}
        config["training"]["epochs"] = 99

    told = of("told", change)
    clipped = of("clipped", lambda c: c["diffusion"].update(clip_sample=True))
    for settings in (told, clipped):
        program.describe(settings.model)
    assert broken.draw(told, 20, 5)[0].tobytes() == first.tobytes()
    with pytest.raises(FileNotFoundError):
        broken.draw(clipped, 20, 5)


@pytest.mark.parametrize("count", [0, 15, 10])
def test_count_must_divide(program, count):
    with pytest.raises(ValueError, match="multiple of 10"):
        program.draw(Settings(), count, 1)


def test_kept(cache):
    calls = []

    def make():
        calls.append(1)
        return {"x": np.arange(3), "y": 2.5}

    first = pieces.keep("a", {"n": 1, "m": [2]}, make)
    again = pieces.keep("a", {"m": [2], "n": 1}, make)
    assert len(calls) == 1 and again["x"].tolist() == first["x"].tolist() == [0, 1, 2]
    assert float(again["y"]) == float(first["y"]) == 2.5
    pieces.keep("a", {"n": 2, "m": [2]}, make)
    pieces.keep("b", {"n": 1, "m": [2]}, make)
    assert len(calls) == 3
    assert sorted(p.suffix for p in pieces.folder().iterdir()) == [".npz"] * 3
    assert pieces.keep_json("c", 1, lambda: {"a": {"b": None}}) == {"a": {"b": None}}
    assert pieces.keep_json("c", 1, None) == {"a": {"b": None}}


def test_what_failed_is_not_kept(cache):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pieces.keep("a", 1, fail)
    assert not os.path.exists(pieces.folder())
    assert pieces.keep("a", 1, lambda: {"x": 1})["x"] == 1


def test_digest():
    x = np.arange(6)
    assert pieces.digest(x) == pieces.digest(x.copy()) == pieces.digest(x.reshape(2, 3).T.T.ravel())
    assert len({pieces.digest(y) for y in (x, x[::-1], x.reshape(2, 3), x.astype(np.uint8))}) == 4
