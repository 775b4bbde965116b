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


def tables(machine):
    """What `auto` takes, {(isa, precision): domain} of what runs there, the set of features."""
    lines = [line.split() for line in run(*machine, "tables").splitlines()]
    [auto] = [tuple(words[1:3]) for words in lines if words[0] == "auto"]
    found = {(words[1], words[2]): words[3] for words in lines if words[0] == "table"}
    [features] = [set(words[1:]) for words in lines if words[0] == "features"]
    return auto, found, features


def digests(machine, isa, precision):
    lines = [line.split() for line in run(*machine, "digests", isa, precision).splitlines()]
    found = dict(lines)
    assert len(found) == len(lines)
    return found


@pytest.fixture(scope="module")
def want():
    """{domain: digests} of plain C on this processor: rows of each sampler, in fp32 kernels too."""
    found = {tables(NATIVE)[1]["scalar", p]: digests(NATIVE, "scalar", p) for p in ("fp32", "bf16")}
    fp32, bf16 = found.values()
    assert {"conv-1x1x1", "group_norm", "row-ddpm"} < set(fp32)
    assert {"row-ddpm", "row-ddim", "row-dpmpp_2m"} <= set(bf16)
    every = [*fp32.values(), *bf16.values()]
    assert len(set(every)) == len(every)
    return found


@pytest.mark.parametrize("machine, isa, precision", [
    (ARM, "scalar", "fp32"), (ARM, "scalar", "bf16"), (ARM, "neon", "fp32"),
    # No FMA: libm's fmaf() in software.
    (x86("Nehalem"), "scalar", "fp32"), (x86("Nehalem"), "scalar", "bf16"),
    (x86("Haswell"), "avx2", "fp32"),
], ids=["arm-fp32", "arm-bf16", "neon", "nehalem-fp32", "nehalem-bf16", "haswell-avx2"])
def test_the_same_bits(want, machine, isa, precision):
    domain = tables(machine)[1][isa, precision]
    assert digests(machine, isa, precision) == want[domain]


def test_the_same_bits_natively(want):
    _, here, _ = tables(NATIVE)
    checked = [table for table, domain in here.items() if domain in want]
    assert len(checked) >= 2
    for isa, precision in checked:
        assert digests(NATIVE, isa, precision) == want[here[isa, precision]], (isa, precision)


ALWAYS = {("scalar", "fp32"), ("scalar", "bf16"), ("openblas", "fp32")}


@pytest.mark.parametrize("machine, auto, more, features", [
    (x86("Nehalem"), "openblas", set(), {"sse4.2"}),
    (x86("SandyBridge"), "openblas", set(), {"sse4.2", "avx"}),
    (x86("Haswell"), "avx2", {("avx2", "fp32")}, {"sse4.2", "avx", "avx2", "fma"}),
    (x86("Haswell,-fma"), "openblas", set(), {"sse4.2", "avx", "avx2"}),
    # AVX2, but the operating system does not save its registers.
    (x86("Haswell,-xsave"), "openblas", set(), {"sse4.2"}),
    (ARM, "neon", {("neon", "fp32")}, None),
], ids=["nehalem", "sandybridge", "haswell", "haswell-no-fma", "haswell-no-xsave", "arm"])
def test_dispatch(machine, auto, more, features):
    found = tables(machine)
    assert found[0] == (auto, "fp32")
    assert set(found[1]) == ALWAYS | more
    assert features in (None, found[2])


def bits(*numbers):
    return f"{sum(1 << n for n in numbers):#x}u"


# Feature bits of CPUID leaf 7 (Intel SDM volume 2A, table 3-8) that are taken from this processor.
OLDER = {
    # Foundation, BW, DQ and VL, but no IFMA, VBMI, VNNI, BITALG, VPOPCNTDQ, FP16, BF16, AMX.
    "skylake": dict(EBX=bits(21), ECX=bits(1, 6, 11, 12, 14), EDX=bits(8, 22, 23, 24, 25),
                    EAX=bits(5, 21)),
    # Has BF16, but no AMX.
    "cooper-lake": dict(EBX=bits(21), ECX=bits(1, 6, 12, 14), EDX=bits(8, 22, 23, 24, 25),
                        EAX=bits(21)),
    # AVX-512 without BW: Knights Landing.
    "no-bw": dict(EBX=bits(30), ECX="0", EDX=bits(22, 24, 25), EAX=bits(5, 21)),
}
AVX2 = {("avx2", "fp32")}
AVX512 = {("avx512", "fp32")} | AVX2


@pytest.mark.skipif(" cpuid_fault" not in pathlib.Path("/proc/cpuinfo").read_text(),
                    reason="this processor or kernel cannot trap CPUID")
@pytest.mark.parametrize("name, best, more", [
    ("skylake", "avx512", AVX512),
    # Intel's dot product of bf16 is slower than its fp32.
    ("cooper-lake", "avx512", AVX512 | {("avx512", "bf16")}),
    ("no-bw", "avx2", AVX2),
])
def test_dispatch_natively(want, tmp_path, name, best, more):
    """This processor with less to tell of itself: QEMU has no AVX-512."""
    _, here, _ = tables(NATIVE)
    if not more <= set(here):
        pytest.skip("this processor is not a newer one")
    library = tmp_path / "older.so"
    run("gcc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, "-I.",
        *(f"-D{register}_CLEARED={mask}" for register, mask in OLDER[name].items()),
        "tools/bench/hide_avx512.c", "-ldl")
    older = ["env", f"LD_PRELOAD={library}", *NATIVE]
    auto, found, _ = tables(older)
    assert auto == (best, "fp32")
    assert set(found) == ALWAYS | more
    assert digests(older, *auto) == want[found[auto]]


def test_a_table_is_refused_where_it_cannot_run():
    with pytest.raises(AssertionError, match="no such kernels here"):
        digests(x86("Nehalem"), "avx2", "fp32")


def test_arm_draws_the_digit_that_denoised_draws(tmp_path):
    pixels = run(*ARM, "image", "neon", "fp32", MODEL)
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
