"""What of the Dockerfile can be checked without making an image; `make test-container` makes one."""

import json
import re
import subprocess

import yaml

from tests.deploy.test_files import BINARY, ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_health_check_is_a_command_of_the_program():
    command = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.M)[1])
    assert command == ["/usr/bin/denoised", "health"]
    assert subprocess.run([BINARY, *command[1:], "--help"], stdout=subprocess.DEVNULL).returncode == 0


def test_one_version_everywhere():
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[1]
    assert re.search(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)[1] == version
    assert re.search(r'image\.version="(\S+)"', DOCKERFILE)[1] == version
    assert re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version
    assert yaml.safe_load((ROOT / "openapi.yaml").read_text())["info"]["version"] == version
