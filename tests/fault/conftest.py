"""Daemons whose calls fail on demand, and what the tests know of them."""

import os
import struct

import pytest

from tests.fault.control import Control
from tests.fuzz.make_corpus import model
from tests.http.conftest import BINARY, SANITIZED, Daemon

LIBRARY = os.path.abspath(os.path.join(os.path.dirname(BINARY), "tests", "fault", "fail_nth.so"))
# `make test-faults` lets every call fail, `make test` one in so many.
ALL = os.environ.get("FAULTS") == "all"


def pytest_collection_modifyitems(items):
    """A sanitizer's runtime has an allocator of its own, which the library cannot stand before."""
    for item in items:
        if SANITIZED and "control" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="not with a sanitizer's allocator"))


def tiny_model():
    """A model of 468 parameters, which loads in no time; its data begin at a multiple of 8."""
    data = model()
    header = data[8:8 + struct.unpack("<Q", data[:8])[0]]
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + struct.unpack("<Q", data[:8])[0]:]


@pytest.fixture
def control(tmp_path, monkeypatch):
    """What every daemon that is started meanwhile obeys."""
    control = Control(tmp_path / "control")
    monkeypatch.setenv("FAULT_CONTROL", str(tmp_path / "control"))
    monkeypatch.setenv("MALLOC_PERTURB_", "165")  # what is freed is overwritten: its use shows
    return control


@pytest.fixture
def start_faulty(tmp_path_factory, control, monkeypatch):
    """start_faulty("--flag", value, ...) -> Daemon with the library, stopped after the test."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    path.write_bytes(tiny_model())
    daemons = []

    def start(*arguments, wait=True):
        monkeypatch.setenv("LD_PRELOAD", LIBRARY)
        daemon = Daemon(tmp_path_factory.mktemp("daemon"), "--workers", "1", "--max-batch", "2",
                        *map(str, arguments), model=str(path), wait=wait)
        monkeypatch.delenv("LD_PRELOAD")
        daemon.control = control
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        control.disarm()
        daemon.stop()


def owner(callers):
    """The module whose code made the call: the first that is neither the C library nor the loader."""
    for caller in callers:
        if not caller.startswith(("fail_nth.so", "libc.so", "ld-linux", "libasan", "libubsan")):
            return caller.split("+")[0]
    return "the C library"
