"""Run the program as a user does, with an environment that holds none of its variables."""

import os
import pathlib
import subprocess

import pytest

BINARY = pathlib.Path(os.environ.get("DENOISED_BINARY", "build/denoised")).resolve()
MODEL = pathlib.Path("models/mnist.safetensors").resolve()
# Sanitizer builds on a busy machine are some twenty times slower than the real one.
DEADLINE_S = 120


def clean_environment(extra=None):
    names = ("DENOISED_", "OPENBLAS_", "_DENOISED_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    return {**env, **(extra or {})}


@pytest.fixture
def run(tmp_path):
    """run("sample", ..., env={...}) -> CompletedProcess, in an empty folder."""

    def call(*arguments, env=None, binary=BINARY, **more):
        return subprocess.run([str(binary), *map(str, arguments)], env=clean_environment(env),
                              cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S,
                              **more)

    return call


@pytest.fixture
def sample(run):
    """`denoised sample` of few steps, which must succeed."""

    def call(*arguments, **more):
        done = run("sample", *arguments, **more)
        assert done.returncode == 0, done.stderr
        return done

    return call
