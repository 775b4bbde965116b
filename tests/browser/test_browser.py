"""The pages in a real Chromium; play.js does the clicking, of the scenarios that are asked for: -k docsTriedOut.

BROWSER_TEST_SCREENSHOTS=FOLDER keeps pictures."""

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
CLOTHES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
KEY = "ada-0123456789abcdef"
SCENARIOS = [a or b for path in sorted((HERE / "scenarios").iterdir())
             for a, b in re.findall(r"^  (?:async (\w+)\(page\)|(\w+): Object\.assign)", path.read_text(), re.M)]


def node(*arguments):
    done = subprocess.run(["node", *arguments], env={**os.environ, "NODE_PATH": str(MODULES)}, text=True,
                          capture_output=True, timeout=10 * DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """{scenario: None or what went wrong} of those that this run is about, all played in one browser."""
    assert MODULES.is_dir(), "make test-python fetches playwright-core"
    folder = tmp_path_factory.mktemp("models")
    (folder / "keys").write_text(f"ada {KEY}\n")
    write_model(folder / "second.safetensors", FEW)
    write_model(folder / "few.safetensors", FEW)
    write_model(folder / "base.safetensors", BASE)
    write_model(folder / "clothes.safetensors", {name: BASE[name] for name in ("samplers", "default")}, classes=CLOTHES)
    daemons = {"open": Daemon(tmp_path_factory.mktemp("daemon")),
               "cors": Daemon(tmp_path_factory.mktemp("daemon"), "--cors-origin", "*", "--api-keys-file",
                              str(folder / "keys")),
               "keyed": Daemon(tmp_path_factory.mktemp("daemon"), "--api-keys-file", str(folder / "keys"),
                               "--model", str(folder / "second.safetensors")),
               "preset": Daemon(tmp_path_factory.mktemp("daemon"), "--model", str(folder / "few.safetensors"),
                                "--model", str(folder / "clothes.safetensors"),
                                model=str(folder / "base.safetensors"))}
    names = [item.callspec.params["name"] for item in request.session.items
             if getattr(item, "originalname", None) == "test_in_chromium"]
    world = {"urls": {name: daemon.url for name, daemon in daemons.items()}, "key": KEY, "names": names,
             "openai": str(MODULES.parent.parent / "openai/node_modules/openai"),
             "folder": os.environ.get("BROWSER_TEST_SCREENSHOTS")}
    try:
        return json.loads(node(str(HERE / "play.js"), json.dumps(world)))
    finally:
        for daemon in daemons.values():
            daemon.stop()


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_chromium(results, name):
    assert not results[name], results[name]


def test_every_scenario_is_played():
    world = json.dumps({"urls": {}, "key": "", "names": [], "folder": None})
    program = f"""const names = {json.dumps([str(path) for path in (HERE / "scenarios").iterdir()])}
        .flatMap((path) => Object.keys(require(path)));
        console.log(JSON.stringify(names));"""
    # What comes after "-" stands where play.js finds its world.
    there = json.loads(node("-e", program, "-", world))
    assert sorted(there) == sorted(SCENARIOS) and len(there) > 10


def test_modules_in_node():
    node(str(HERE / "modules.mjs"))
