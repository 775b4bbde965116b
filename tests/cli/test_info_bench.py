"""`denoised info` and `denoised bench`, and how the default model and OpenBLAS's core are found."""

import hashlib
import json
import platform
import shutil

import pytest

from tests.cli.conftest import BINARY, MODEL, write_model


def info(run, *arguments, **more):
    done = run("info", "--json", *arguments, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_info_json(run):
    told = info(run)
    assert set(told) == {"version", "revision", "processors", "cpu_quota", "usable_processors",
                         "cpu_features", "isas", "blas", "libraries", "models"}
    assert 1 <= told["usable_processors"] <= told["processors"]
    assert told["cpu_quota"] is None or told["cpu_quota"] > 0
    assert {"scalar", "openblas"} <= set(told["isas"])
    assert set(told["libraries"]) == {"libmicrohttpd", "libuv", "cjson", "libpng", "zlib", "nettle",
                                      "openblas"}
    for version in told["libraries"].values():
        assert version[0].isdigit() and "." in version
    model = told["models"][0]
    assert model["id"] == "mnist"
    assert model["digest"] == "sha256:" + hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert model["file_bytes"] == MODEL.stat().st_size
    assert model["image"] == {"channels": 1, "height": 28, "width": 28}
    assert model["classes"][7] == "seven" and len(model["classes"]) == 10
    assert model["samplers"] == model["config"]["sampling"]["samplers"]
    assert model["timesteps"] == 1000 and model["prediction"] == "v_prediction"
    default = model["config"]["sampling"]["default"]
    assert model["default"] == {"guidance_interval": [0, 1], **default}
    assert 85e6 < model["macs"] < 92e6, "design: 89 M multiply-adds"
    assert model["isa"] in told["isas"] and model["precision"] in ("fp32", "bf16")
    has_amx = "amx" in told["isas"]
    assert model["precision"] == ("bf16" if has_amx else "fp32")
    assert ("AMX" in model["precision_reason"]) or "no bf16 kernels" in model["precision_reason"]
    assert f"precision {model['precision']}: {model['precision_reason']})" in run("info").stdout
    plain = info(run, "--precision", "fp32")["models"][0]
    assert plain["precision_reason"] is None
    assert plain["precision"] == "fp32" and plain["kernels"].startswith("fp32-")


def test_info_of_several_models(run, tmp_path):
    shutil.copy(MODEL, tmp_path / "other.safetensors")
    flags = ("--model", MODEL, "--model", "other.safetensors", "--isa", "scalar")
    models = info(run, *flags)["models"]
    assert [m["id"] for m in models] == ["mnist", "other"]
    assert {m["isa"] for m in models} == {"scalar"}
    text = run("info", *flags).stdout
    for word in ("model       mnist", "model       other", "7=seven", "OpenBLAS", "libuv"):
        assert word in text


def test_info_broken_model(run):
    done = run("info", "--json", "--model", MODEL, "--model", "none.safetensors")
    assert done.returncode == 1 and done.stdout == "" and "none.safetensors" in done.stderr


@pytest.mark.parametrize("place", ["models", "share/denoised/models"])
def test_default_model_is_found(run, tmp_path, place):
    """Beside the program: in a source tree, and where it was installed."""
    (tmp_path / "bin").mkdir()
    program = shutil.copy(BINARY, tmp_path / "bin")
    (tmp_path / place).mkdir(parents=True)
    shutil.copy(MODEL, tmp_path / place)
    [model] = info(run, binary=program)["models"]
    assert model["file"].endswith(f"/../{place}/mnist.safetensors")
    assert model["file"].startswith(str(tmp_path))


def test_both_shipped_models_are_found(run, tmp_path):
    """The quick one behind the other; sample takes it where it alone has the preset."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "models").mkdir()
    program = shutil.copy(BINARY, tmp_path / "bin")
    for name, preset in (("mnist", "slow"), ("mnist-fast", "quick")):
        write_model(tmp_path / f"models/{name}.safetensors", presets={
            preset: {"sampler": "ddim", "steps": 2, "guidance_scale": 1}})
    assert [m["id"] for m in info(run, binary=program)["models"]] == ["mnist", "mnist-fast"]
    for flags, model in (((), "mnist"), (("--preset=slow",), "mnist"), (("--preset=quick",), "mnist-fast")):
        done = run("sample", "--label=7", *flags, "-o", "x.png", binary=program)
        assert f" of {model}, seed" in done.stdout, done.stderr
    done = run("sample", "--label=7", "--preset=best", "-o", "x.png", binary=program)
    assert done.returncode == 2 and "and the others that come with denoised have no preset" in done.stderr
    (tmp_path / "models/mnist.safetensors").unlink()
    assert info(run, binary=program)["models"] == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="OpenBLAS's x86 core types")
def test_blas_core_is_right_or_the_users(run):
    assert info(run)["blas"]["better_core"] is None
    mine = info(run, env={"OPENBLAS_CORETYPE": "Haswell"})["blas"]
    assert (mine["core"], mine["corrected_from"]) == ("Haswell", None)
    slow = info(run, env={"OPENBLAS_CORETYPE": "Prescott"})["blas"]
    assert (slow["core"], slow["corrected_from"]) == ("Prescott", None)
    assert slow["better_core"] in ("Haswell", "SkylakeX")


@pytest.mark.parametrize("batch, threads", [(1, 1), (4, 2)])
def test_bench_json(run, batch, threads):
    done = run("bench", "--batch", batch, "--threads", threads, "--seconds", 0.3, "--json",
               "--precision", "fp32")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    told = json.loads(done.stdout)
    assert {"ms_per_image_step", "ms_per_image_step_p10", "ms_per_image_step_p90",
            "image_steps_per_s", "batch", "threads", "precision", "isa", "kernels", "gflops", "model",
            "digest", "seconds", "steps"} <= set(told)
    assert (told["batch"], told["threads"], told["precision"]) == (batch, threads, "fp32")
    assert told["steps"] >= threads
    assert 0 < told["ms_per_image_step_p10"] <= told["ms_per_image_step"]
    assert told["ms_per_image_step"] <= told["ms_per_image_step_p90"]
    flops = 2 * told["macs_per_image_step"] * told["image_steps_per_s"]
    assert told["gflops"] == pytest.approx(flops / 1e9, rel=1e-3)


@pytest.mark.parametrize("threads", [1, 2])
def test_bench_profile(run, threads):
    done = run("bench", "--profile", "--batch", 2, "--threads", threads, "--seconds", 0.3, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ops = told["ops"]
    for op in ops:
        assert set(op) == {"name", "kind", "ms", "gflops", "share", "macs", "weight_bytes",
                           "map_bytes"}
        assert op["ms"] >= 0 and op["map_bytes"] > 0
        assert op["gflops"] == pytest.approx(2e-6 * op["macs"] / op["ms"], rel=1e-2) or not op["ms"]
    assert "encoder.0.res_blocks.1.conv" in [op["name"] for op in ops]
    assert sum(op["macs"] for op in ops) == told["macs_per_image_step"]
    assert sum(op["share"] for op in ops) == pytest.approx(1, abs=1e-2)


def test_bench_profile_text(run):
    done = run("bench", "--profile", "--seconds", 0.1)
    assert done.returncode == 0, done.stderr
    assert "share" in done.stdout and "encoder.0.res_blocks.1.conv" in done.stdout
    assert "share" not in run("bench", "--seconds", 0.1).stdout


def test_bench_of_each_isa(run):
    for isa in info(run)["isas"]:
        done = run("bench", "--isa", isa, "--seconds", 0.1, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["isa"] == isa


def test_bench_text(run):
    done = run("bench", "--seconds", 0.1)
    assert done.returncode == 0
    assert "ms per image-step" in done.stdout and "image-steps/s" in done.stdout


def test_isa_that_is_not_there(run):
    isas = info(run)["isas"]
    missing = [i for i in ("avx2", "avx512", "amx", "neon") if i not in isas]
    assert missing, "no processor has both AVX and NEON"
    for isa in missing:
        done = run("bench", "--isa", isa, "--seconds", 0.1)
        assert done.returncode == 1 and isa in done.stderr and done.stderr.count("\n") == 1
