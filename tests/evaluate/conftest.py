"""Evaluators, drawn digits, and a hundred of those in the place of the real ones."""

import json
import struct

import pytest

from tests.cli.conftest import BINARY, MODEL
from tools import mnist
from tools.evaluate.generate import Program, Settings
from tools.evaluate.network import SHIPPED_MLP, Evaluator


@pytest.fixture(scope="session")
def evaluator():
    return Evaluator()


@pytest.fixture(scope="session")
def mlp():
    return Evaluator(SHIPPED_MLP)


@pytest.fixture(scope="session")
def program():
    return Program(BINARY)


@pytest.fixture(scope="session")
def drawn(program, tmp_path_factory):
    """100 digits by the shipped model with its default sampler, in 10 steps; and their labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENOISED_CACHE", str(tmp_path_factory.mktemp("drawn")))
        return program.draw(Settings(steps=10), 100, 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for what is kept."""
    monkeypatch.setenv("DENOISED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_digits(drawn, cache, monkeypatch):
    """The drawn digits as if they were the real ones: 50 to train on, 50 to test with."""
    images, labels = drawn
    sets = {"train": (images[::2], labels[::2]), "t10k": (images[1::2], labels[1::2])}
    monkeypatch.setattr(mnist, "load", sets.__getitem__)
    return sets


def shipped_model_with(path, change):
    """Write the shipped model with its config changed: change(config)."""
    data = MODEL.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    config = json.loads(header["__metadata__"]["denoised.config"])
    change(config)
    header["__metadata__"]["denoised.config"] = json.dumps(config)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64 + 56)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
