"""The pages in a real Chromium; scenarios.js does the clicking. BROWSER_TEST_SCREENSHOTS=FOLDER keeps pictures."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from tests.http.conftest import DEADLINE_S, FEW, Daemon, write_model

HERE = pathlib.Path(__file__).parent
MODULES = pathlib.Path(os.environ.get("BROWSER_TEST_FOLDER", "build/browser")).resolve() / "node_modules"
BASE = {"samplers": ["ddim", "dpmpp_2m"], "default": {"sampler": "dpmpp_2m", "steps": 20, "guidance_scale": 1.5},
        "presets": {"fast": {"sampler": "dpmpp_2m", "steps": 2, "guidance_scale": 1},
                    "balanced": {"sampler": "dpmpp_2m", "steps": 3, "guidance_scale": 2}}}
KEY = "ada-0123456789abcdef"
SCENARIOS = re.findall(r"^  (?:async (\w+)\(page\)|(\w+): Object\.assign)",
                       (HERE / "scenarios.js").read_text(), re.M)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{scenario: None or what went wrong}, all played in one browser."""
    assert MODULES.is_dir(), "make test-python fetches playwright-core"
    folder = tmp_path_factory.mktemp("second")
    (folder / "keys").write_text(f"ada {KEY}\n")
    write_model(folder / "second.safetensors", FEW)
    write_model(folder / "few.safetensors", FEW)
    write_model(folder / "base.safetensors", BASE)
    daemons = [Daemon(tmp_path_factory.mktemp("daemon")),
               Daemon(tmp_path_factory.mktemp("daemon"), "--api-keys-file", str(folder / "keys"),
                      "--model", str(folder / "second.safetensors")),
               Daemon(tmp_path_factory.mktemp("daemon"), "--model", str(folder / "few.safetensors"),
                      model=str(folder / "base.safetensors"))]
    try:
        command = ["node", str(HERE / "scenarios.js"), *(daemon.url for daemon in daemons), KEY]
        command += filter(None, [os.environ.get("BROWSER_TEST_SCREENSHOTS")])
        done = subprocess.run(command, env={**os.environ, "NODE_PATH": str(MODULES)}, text=True,
                              capture_output=True, timeout=5 * DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    finally:
        for daemon in daemons:
            daemon.stop()


def test_every_scenario_is_played(results):
    assert sorted(results) == sorted(a or b for a, b in SCENARIOS)
    assert len(results) > 10


@pytest.mark.parametrize("name", [a or b for a, b in SCENARIOS])
def test_in_chromium(results, name):
    assert not results[name], results[name]


def test_modules_in_node():
    done = subprocess.run(["node", str(HERE / "modules.mjs")], capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
