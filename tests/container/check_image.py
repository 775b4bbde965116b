"""The image of the Dockerfile, built and run with as few rights as it asks for. `make test-container` runs it,
as root; it takes minutes, so it is not called test_*.py and `make test` leaves it out.
"""

import json
import os
import pathlib
import re
import socket
import subprocess

import pytest
import requests

from tests.cli.conftest import clean_environment
from tests.container.engine import IMAGE, LIMITS, Engine
from tests.http.conftest import BINARY, DEADLINE_S, ENDLESS, MODEL, Daemon, wait_for

RIGHTS = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
          "--network", "host", *LIMITS)


@pytest.fixture(scope="session")
def engine():
    assert os.geteuid() == 0, "buildah and podman are run as root here"
    engine = Engine(pathlib.Path("build/container").resolve())
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def image(engine):
    engine.make_base()
    engine.build("built-by-a-test")
    return engine.inspect("image", IMAGE)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Container:
    """A running `denoised serve` of the image, on a port of loopback."""

    def __init__(self, engine, *flags):
        self.engine = engine
        # The health check asks where DENOISED_LISTEN says, so the port must be known before.
        self.url = f"http://127.0.0.1:{free_port()}"
        self.id = engine.podman("run", "--detach", *RIGHTS, *flags, "--env",
                                f"DENOISED_LISTEN={self.url[7:]}", IMAGE).stdout.strip()
        self.pid = self.inspect()["State"]["Pid"]
        wait_for(lambda: "denoised: listening on" in self.log(), "the container to be ready")

    def inspect(self):
        return self.engine.inspect("container", self.id)

    def log(self):
        told = self.engine.podman("logs", self.id)
        assert self.inspect()["State"]["Running"], told.stderr
        return told.stdout

    def get(self, path, **more):
        return requests.get(self.url + path, timeout=DEADLINE_S, **more)

    def status(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{name}:\s*(.*)$", text, re.M)[1].split()

    def health(self):
        return self.engine.podman("healthcheck", "run", self.id, check=False).returncode

    def wait(self):
        return int(self.engine.podman("wait", self.id, timeout=DEADLINE_S).stdout)


@pytest.fixture(scope="session")
def container(engine, image):
    container = Container(engine)
    yield container
    engine.podman("kill", "--signal", "TERM", container.id)
    assert container.wait() == 0


def test_what_the_image_says(image):
    config = image["Config"]
    assert config["User"] == "10001:10001" and config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/usr/bin/denoised"] and config["Cmd"] == ["serve"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert image["Healthcheck"]["Test"] == ["CMD", "/usr/bin/denoised", "health"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image["Labels"].items()}
    assert labels["title"] == "denoised" and labels["licenses"] == "MIT"
    assert labels["revision"] == "built-by-a-test"


def test_the_image_is_small(engine, image):
    print(f"\nimage: {image['Size'] / 1e6:.1f} MB")
    assert image["Size"] < 65e6
    for tool in ("/bin/sh", "/usr/bin/apt", "/usr/bin/perl"):
        assert engine.podman("run", "--rm", *RIGHTS, "--entrypoint", tool, IMAGE, check=False).returncode == 127


def test_scanners_can_tell_the_packages(engine, image):
    root = pathlib.Path(engine.podman("image", "mount", IMAGE).stdout.strip())
    known = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libmicrohttpd12t64", "libopenblas0-serial", "libpng16-16t64", "libuv1t64"} <= known
    for name in known:
        status = (root / "var/lib/dpkg/status.d" / name).read_text()
        assert f"Package: {name}\n" in status and re.search(r"^Version: \S+$", status, re.M)
        assert (root / "usr/share/doc" / name / "copyright").is_file()
    assert "trixie" in (root / "etc/os-release").read_text()


def test_it_is_what_was_built(engine, image):
    told = json.loads(engine.podman("run", "--rm", *RIGHTS, IMAGE, "info", "--json").stdout)
    assert told["revision"] == "built-by-a-test"
    assert [model["id"] for model in told["models"]] == ["mnist", "mnist-fast"]
    assert "SINGLE_THREADED" in told["blas"]["config"]


def test_pages_are_in_it(container):
    for path in ("/", "/docs", "/openapi.json"):
        assert container.get(path).status_code == 200, path


def test_pictures_are_those_of_a_daemon_outside(container, tmp_path):
    daemon = Daemon(tmp_path)
    try:
        pictures = [requests.get(url + "/v1/samples/7.png?seed=42", timeout=DEADLINE_S)
                    for url in (container.url, daemon.url)]
    finally:
        daemon.stop()
    assert [p.status_code for p in pictures] == [200, 200]
    assert pictures[0].content.startswith(b"\x89PNG") and pictures[0].content == pictures[1].content


def test_it_has_no_rights(container):
    assert container.status("NSpid")[-1] == "1", "the daemon itself is the first process"
    assert container.status("Uid") == 4 * ["10001"] and container.status("Gid") == 4 * ["10001"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(container.status(name)[0], 16) == 0, name
    assert container.status("NoNewPrivs") == ["1"]
    mounts = pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text()
    assert re.search(r"^\S+ \S+ \S+ \S+ / ro[, ]", mounts, re.M)


def test_health_check(engine, container):
    assert container.health() == 0
    other = f"DENOISED_LISTEN=127.0.0.1:{free_port()}"
    asked = engine.podman("exec", "--env", other, container.id, "/usr/bin/denoised", "health", check=False)
    assert asked.returncode == 1 and "refused" in asked.stderr


def test_a_drain_is_unhealthy_and_ends_well(engine, image):
    container = Container(engine)
    with requests.post(container.url + "/v1/samples", json=ENDLESS, stream=True, timeout=DEADLINE_S,
                       headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200
        engine.podman("kill", "--signal", "TERM", container.id)
        wait_for(lambda: container.health() != 0, "the health check to fail")
        assert container.inspect()["State"]["Running"]
    assert container.wait() == 0
    assert not pathlib.Path(f"/proc/{container.pid}").exists()
    assert engine.podman("diff", container.id).stdout.split("\n")[0] == "" or \
        not re.search(r"^[AD] ", engine.podman("diff", container.id).stdout, re.M)
    engine.podman("rm", container.id)


def test_a_stop_is_quick(engine, image):
    container = Container(engine)
    engine.podman("stop", "--time", str(DEADLINE_S), container.id)
    state = container.inspect()["State"]
    assert (state["ExitCode"], state["Status"]) == (0, "exited")
    log = engine.podman("logs", container.id).stderr
    assert [json.loads(line)["event"] for line in log.splitlines() if line[0] == "{"][-2:] == ["draining", "stopped"]
    engine.podman("rm", container.id)


def test_a_quota_of_processors_is_followed(engine, image):
    told = engine.podman("run", "--rm", *RIGHTS, "--cpus", "0.75", IMAGE, "info", "--json").stdout
    assert json.loads(told)["cpu_quota"] == 0.75 and json.loads(told)["usable_processors"] == 1


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about x86-64")
def test_it_runs_on_the_oldest_processor_it_is_for(engine, image, tmp_path):
    """A Nehalem of 2009, which is x86-64-v2 and no more, draws what this machine draws."""
    root = pathlib.Path(engine.podman("image", "mount", IMAGE).stdout.strip())
    flags = ["sample", "--label", "7", "--seed", "42", "--steps", "2", "--isa", "scalar", "--precision", "fp32"]
    # With OPENBLAS_NUM_THREADS denoised need not execute itself again, which would leave QEMU.
    env = clean_environment({"OPENBLAS_NUM_THREADS": "1"})
    old = ["qemu-x86_64", "-cpu", "Nehalem", "-L", str(root), str(root / "usr/bin/denoised")]
    for command, name in ((old, "old.npy"), ([BINARY], "here.npy")):
        subprocess.run([*command, *flags, "--model", MODEL, "-o", str(tmp_path / name)], env=env, check=True,
                       stdout=subprocess.DEVNULL, timeout=DEADLINE_S)
    assert (tmp_path / "old.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()
