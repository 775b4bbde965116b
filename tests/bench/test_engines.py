"""How engines are asked, with programs in their place that answer at once."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tools.bench import engines

FAKE = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "variants":
        print(json.dumps({"variants": ["slow", "quick"], "version": "1"}), flush=True)
    elif request["do"] == "measure":
        ms = 8.0 / request["threads"] ** 0.5 / (4 if request["variant"] == "quick" else 1)
        print(json.dumps({"ms": [ms, ms, ms]}), flush=True)
    else:
        sys.exit(3)
"""


@pytest.fixture
def peer():
    made = engines.Peer("fake", "a fake", [sys.executable, "-c", FAKE])
    yield made
    made.close()


def test_peer_chooses_what_suits_it(peer):
    peer.choose(8, 1)
    peer.choose(8, 2)
    peer.choose(1, 2)
    # Two processes share the work fully, two threads of this one do not; one image cannot be split.
    assert peer.choices == {(8, 1): ("quick", 1), (8, 2): ("quick", 2), (1, 2): ("quick", 1)}
    assert peer.measure(8, 1, 0.1) == [2, 2, 2]
    assert peer.measure(8, 2, 0.1) == [1, 1, 1]
    assert peer.measure(1, 2, 0.1)[1] == pytest.approx(2 / 2**0.5)


def test_choices_are_taken_over(peer):
    peer.take_choices([{"engine": "fake", "images": 8, "threads": 1, "variant": "slow", "processes": 1},
                       {"engine": "other", "images": 1, "threads": 1, "variant": "no", "processes": 1}])
    peer.choose(8, 1)
    assert peer.choices == {(8, 1): ("slow", 1)}
    peer.choose(1, 1)
    assert [(r["images"], r["variant"]) for r in peer.choices_as_records()] == [(1, "quick"), (8, "slow")]


def test_a_peer_that_ends_is_an_error(peer):
    with pytest.raises(RuntimeError, match="ended with status 3"):
        peer.ask("nonsense")


def test_a_program_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="exit status 4: it says why"):
        engines.program(sys.executable, "-c", "import sys; sys.stderr.write('it says why'); sys.exit(4)")


def test_onednn_takes_the_faster_form(monkeypatch, tmp_path):
    layers = [{"name": "a", "implementation": "x", "ms": 8.0},
              {"name": "up", "implementation": "deconv", "ms": 4.0},
              {"name": "up", "implementation": "conv", "ms": 2.0}]
    monkeypatch.setattr(engines, "program", lambda *_, **__: {"layers": layers, "version": "2"})
    (tmp_path / "layers.txt").write_text("")
    found, version = engines.onednn_convs(tmp_path, "f32", 8, 0.1)
    assert (found["a"]["ms"], found["up"], version) == (1, {"ms": 0.25, "implementation": "conv"}, "2")


def can_trap_cpuid():
    return " cpuid_fault" in pathlib.Path("/proc/cpuinfo").read_text()


@pytest.mark.skipif(not can_trap_cpuid(), reason="this processor or kernel cannot trap CPUID")
def test_avx512_is_hidden(tmp_path):
    """A program sees a processor that ends at AVX2, and its own crashes still end it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    source = tmp_path / "asks.c"
    source.write_text("#include <cpuid.h>\n#include <stdio.h>\n"
                      "int main(int argc, char **argv)\n{\n"
                      "    unsigned a, b, c, d;\n    (void)argv;\n"
                      "    __cpuid_count(7, 0, a, b, c, d);\n"
                      '    printf("%u %u\\n", b >> 5 & 1, b >> 16 & 1);\n    fflush(stdout);\n'
                      "    return argc > 1 ? *(volatile int *)8 : 0;\n}\n")
    library, asks = tmp_path / "hide.so", tmp_path / "asks"
    hide = engines.ROOT / "tools" / "bench" / "hide_avx512.c"
    for argv in (["-shared", "-fPIC", "-o", library, hide, "-ldl"], ["-o", asks, source]):
        subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", *argv], check=True)

    def told(*arguments, **more):
        return subprocess.run([asks, *arguments], capture_output=True, text=True, check=False, **more)

    plain, held = told(), told(env={"LD_PRELOAD": str(library)})
    assert held.returncode == 0 and held.stdout == plain.stdout[0] + " 0\n"
    crashed = told("crash", env={"LD_PRELOAD": str(library)})
    assert crashed.returncode < 0 and crashed.stdout == held.stdout


def test_lock_file_names_no_registry():
    lock = json.loads((engines.ROOT / "tools" / "bench" / "package-lock.json").read_text())
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert "node_modules/onnxruntime-node" in packages
    for name, package in packages.items():
        assert "resolved" not in package and package["integrity"].startswith("sha512-"), name
