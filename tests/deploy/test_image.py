"""What of the Dockerfile can be run without Docker: its health check, and that versions agree."""

import json
import re
import socket
import subprocess
import threading

import pytest
import yaml

from tests.deploy.test_files import BINARY, ROOT
from tests.http.conftest import DEADLINE_S, Daemon

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def health_check(port):
    """Its exit status, on `port` instead of 8080."""
    command = json.loads(re.search(r"^HEALTHCHECK .*\n +CMD (\[.*\])$", DOCKERFILE, re.M)[1])
    assert command[-1].count("/8080 ") == 1
    command[-1] = command[-1].replace("/8080 ", f"/{port} ")
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=DEADLINE_S).returncode


def test_health_check_of_a_ready_daemon(tmp_path):
    daemon = Daemon(tmp_path)
    try:
        assert health_check(daemon.port) == 0
    finally:
        daemon.stop()
    assert health_check(daemon.port) != 0


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b""])
def test_health_check_of_a_daemon_that_is_not_ready(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        status = health_check(server.getsockname()[1])
        thread.join()
    assert status != 0


def test_one_version_everywhere():
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[1]
    assert re.search(r"^VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)[1] == version
    assert re.search(r'image\.version="(\S+)"', DOCKERFILE)[1] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version
    assert yaml.safe_load((ROOT / "openapi.yaml").read_text())["info"]["version"] == version
