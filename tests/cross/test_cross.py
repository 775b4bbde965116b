"""Other processors, emulated: each gives the bits of this one, and none is sent what it cannot run.

`make test-cross` builds the programs and says where they are.
"""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

from tests.cli.conftest import clean_environment

pytestmark = pytest.mark.skipif("DENOISED_BUILD" not in os.environ, reason="run by make test-cross")

BUILD = pathlib.Path(os.environ.get("DENOISED_BUILD", "build")).resolve()
NATIVE = [BUILD / "tests/cross/digests"]
ARM = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", BUILD / "cross/aarch64/tests/cross/digests"]
MODEL = pathlib.Path("models/mnist.safetensors").resolve()
DEADLINE_S = 300


def x86(cpu, program=NATIVE[0]):
    return ["qemu-x86_64", "-cpu", cpu, program]


def run(*command):
    # With OPENBLAS_NUM_THREADS denoised need not execute itself again, which would leave QEMU.
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=DEADLINE_S, env=clean_environment({"OPENBLAS_NUM_THREADS": "1"}))
    assert done.returncode == 0, (command, done.returncode, done.stderr)
    return done.stdout


def isas(machine):
    """What `auto` gives, the set of tables that run here, the set of features."""
    lines = [line.split() for line in run(*machine, "isas").splitlines()]
    available = {words[1] for words in lines if words[0] == "available"}
    [auto] = [words[1] for words in lines if words[0] == "auto"]
    [features] = [set(words[1:]) for words in lines if words[0] == "features"]
    return auto, available, features


def digests(machine, isa):
    lines = [line.split() for line in run(*machine, "digests", isa).splitlines()]
    assert {line[0] for line in lines} == {isa}
    found = {what: digest for _, what, digest in lines}
    assert len(found) == len(lines)
    return found


@pytest.fixture(scope="module")
def want():
    """Plain C on this processor: each kernel, and rows of each sampler."""
    found = digests(NATIVE, "scalar")
    assert {"group_norm", "row-ddpm-guided-yes", "row-dpmpp_2m-guided-no"} < set(found)
    assert len(set(found.values())) == len(found)
    return found


@pytest.mark.parametrize("machine, isa", [
    (ARM, "scalar"), (ARM, "neon"),
    (x86("Nehalem"), "scalar"),  # no FMA: libm's fmaf() in software
    (x86("Haswell"), "avx2"),
], ids=["arm-scalar", "arm-neon", "nehalem-scalar", "haswell-avx2"])
def test_the_same_bits(want, machine, isa):
    assert digests(machine, isa) == want


def test_the_same_bits_natively(want):
    for isa in isas(NATIVE)[1]:
        assert digests(NATIVE, isa) == want


@pytest.mark.parametrize("machine, auto, available, features", [
    (x86("Nehalem"), "openblas", set(), {"sse4.2"}),
    (x86("SandyBridge"), "openblas", set(), {"sse4.2", "avx"}),
    (x86("Haswell"), "avx2", {"avx2"}, {"sse4.2", "avx", "avx2", "fma"}),
    (x86("Haswell,-fma"), "openblas", set(), {"sse4.2", "avx", "avx2"}),
    # A processor with AVX2 whose operating system does not save its registers.
    (x86("Haswell,-xsave"), "openblas", set(), {"sse4.2"}),
    (ARM, "neon", {"neon"}, None),
], ids=["nehalem", "sandybridge", "haswell", "haswell-no-fma", "haswell-no-xsave", "arm"])
def test_dispatch(machine, auto, available, features):
    found = isas(machine)
    assert found[:2] == (auto, {"scalar"} | available)
    assert features in (None, found[2])


def test_a_table_is_refused_where_it_cannot_run():
    with pytest.raises(AssertionError, match="no such kernels here"):
        digests(x86("Nehalem"), "avx2")


def test_arm_draws_the_digit_that_denoised_draws(tmp_path):
    isa, what, pixels = run(*ARM, "image", "neon", MODEL).split()
    assert (isa, what) == ("neon", "image")
    run(BUILD / "denoised", "sample", "--isa", "scalar", "--precision", "fp32", "--model", MODEL,
        "--label", 7, "--seed", 42, "--sampler", "dpmpp_2m", "--steps", 2, "--guidance-scale", 1,
        "-o", tmp_path / "x.npy")
    drawn = np.load(tmp_path / "x.npy")
    assert drawn.max() > 200 and bytes.fromhex(pixels) == drawn.tobytes()


def test_denoised_runs_on_an_old_processor(tmp_path):
    old = x86("Nehalem", BUILD / "denoised")
    told = json.loads(run(*old, "info", "--json", "--model", MODEL))
    assert told["isas"] == ["scalar", "openblas"]
    assert told["models"][0]["isa"] == "openblas" and told["models"][0]["precision"] == "fp32"
    run(*old, "sample", "--model", MODEL, "--label", 7, "--seed", 42, "--sampler", "dpmpp_2m",
        "--steps", 2, "--guidance-scale", 1, "-o", tmp_path / "old.npy")
    assert np.load(tmp_path / "old.npy").max() > 200
