"""The objects of the build keep to objects.py's rules, and it sees those that do not."""

import os
import pathlib
import platform
import subprocess

import pytest

from tests.lint.objects import check

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="its rules are for x86-64")

SQRT = """#include <immintrin.h>
void {name}(float *p) {{ _mm256_storeu_ps(p, _mm256_sqrt_ps(_mm256_loadu_ps(p))); }}
"""


@pytest.mark.skipif("DENOISED_BINARY" not in os.environ, reason="run by make test, on its build")
def test_the_build():
    breaches, n_objects, n_new = check(pathlib.Path(os.environ["DENOISED_BINARY"]).parent)
    assert not breaches
    assert n_objects > 40 and n_new >= 6


def compiled(folder, path, source):
    where = folder / path
    where.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-mavx2", "-O2", "-c", "-x", "c", "-", "-o", str(where)], input=source,
                   text=True, check=True)


def test_its_own_names_are_fine(tmp_path):
    compiled(tmp_path, "core/kernels/vector/sqrt_avx2.o", SQRT.format(name="dn_sqrt_avx2"))
    assert check(tmp_path) == ([], 1, 1)


def test_a_name_for_everybody_is_seen(tmp_path):
    compiled(tmp_path, "core/kernels/vector/sqrt_avx2.o", SQRT.format(name="dn_sqrt"))
    [breach], _, _ = check(tmp_path)
    assert "defines dn_sqrt for everybody" in breach


def test_an_instruction_outside_the_kernels_is_seen(tmp_path):
    compiled(tmp_path, "core/sampling/sqrt_avx2.o", SQRT.format(name="dn_sqrt_avx2"))
    [breach], _, _ = check(tmp_path)
    assert "not a kernel" in breach


def test_an_instruction_in_an_object_for_everybody_is_seen(tmp_path):
    compiled(tmp_path, "core/kernels/sqrt.o", SQRT.format(name="dn_sqrt"))
    [breach], _, _ = check(tmp_path)
    assert "core/kernels/sqrt.o: not a kernel of an instruction set" in breach


def test_an_empty_build_is_seen(tmp_path):
    assert check(tmp_path)[0]
