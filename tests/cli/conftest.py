"""Run the program as a user does, with an environment that holds none of its variables."""

import json
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


def write_model(path, **sampling):
    """The shipped weights with other values in the config's `sampling`."""
    raw = MODEL.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    config = json.loads(header["__metadata__"]["denoised.config"])
    config["sampling"].update(sampling)
    header["__metadata__"]["denoised.config"] = json.dumps(config)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length:])


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
