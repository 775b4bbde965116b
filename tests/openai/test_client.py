"""OpenAI's own client (the npm package), in Node; client.js does the asking."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from tests.http.conftest import BINARY, DEADLINE_S, Daemon

CLIENT = pathlib.Path(__file__).parent / "client.js"
MODULES = pathlib.Path(BINARY).resolve().parent / "openai" / "node_modules"
SCENARIOS = re.findall(r"^  async (\w+)\(\)", CLIENT.read_text(), re.M)


def play(daemon):
    """{scenario: None or what went wrong}"""
    assert MODULES.is_dir(), "make test-python fetches the openai package"
    done = subprocess.run(["node", str(CLIENT), daemon.url], text=True, capture_output=True,
                          env={**os.environ, "NODE_PATH": str(MODULES)}, timeout=5 * DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("daemon"),
                    "--model-alias", "dall-e-3=mnist,gpt-image-1=mnist")
    try:
        return play(daemon)
    finally:
        daemon.stop()


def test_every_scenario_is_played(results):
    assert sorted(results) == sorted(SCENARIOS)
    assert len(results) >= 8


@pytest.mark.parametrize("name", SCENARIOS)
def test_with_the_client(results, name):
    assert not results[name], results[name]


def test_a_fault_is_seen(start_daemon):
    """Without the aliases the scenarios about them fail, and no other."""
    failed = {name for name, fault in play(start_daemon()).items() if fault}
    assert failed == {"models", "modelsByName"}
