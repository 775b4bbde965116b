"""What the lint tests share: a copy of the C tree that a test may spoil."""

import os
import pathlib
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path):
    """A copy of what the checks read. Nothing of it is built."""
    for room in ("api", "core", "server"):
        shutil.copytree(ROOT / room, tmp_path / room)
    for name in (".clang-format", ".clang-tidy"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def tool():
    """tool(name): a reason to skip where a tool of `make lint` is missing; inside it, a failure."""
    def need(name):
        if shutil.which(name) is None:
            if os.environ.get("DENOISED_LINT"):
                pytest.fail(f"{name} is not installed")
            pytest.skip(f"{name} is not installed; `make lint` installs it")
    return need
