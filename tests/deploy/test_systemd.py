"""The installed units under a real systemd: a manager as users have one, in a mount namespace of its own, because it
only starts where it finds /run/systemd/system. Needs root."""

import os
import shutil
import signal
import subprocess
import threading

import pytest

from tests.deploy.test_files import BINARY, ROOT
from tests.deploy.test_install import PREFIX, make
from tests.deploy.test_nginx import UnixConnection
from tests.http.conftest import DEADLINE_S, SANITIZED, wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("systemctl"), reason="not root, or no systemd"),
    pytest.mark.skipif(SANITIZED, reason="the units shut in more than a sanitizer can do with")]

# What a user's manager, or a container, cannot do.
CANNOT = "[Service]\nDynamicUser=no\nProtectKernelLogs=no\nProtectKernelTunables=no\nProtectHome=no\n"

UNITS = ["denoised.socket", "denoised-admin.socket", "denoised.service"]


class Manager:
    def __init__(self):
        self.folder = BINARY.parent / "systemd"
        # The service has a /tmp of its own, in which a checkout that lies there is not to be found.
        private = "PrivateTmp=no\n" if self.folder.parts[1] in ("tmp", "var") else ""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.units, self.root = self.folder / "units", self.folder / "root"
        self.units.mkdir(parents=True)
        make("install", self.root)
        for path in (self.root / PREFIX[1:] / "lib/systemd/system").iterdir():
            text = path.read_text().replace(f"{PREFIX}/", f"{self.root}{PREFIX}/")
            (self.units / path.name).write_text(text.replace("127.0.0.1:8080", f"{self.folder}/passed")
                                                .replace("/run/denoised-admin.sock", f"{self.folder}/admin"))
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder / "run"),
                            "SYSTEMD_UNIT_PATH": f"{self.units}:"}
        (self.folder / "run").mkdir()
        self.drop_in("test", CANNOT + private + "Environment=DENOISED_LISTEN=unix:%t/denoised/denoised.sock\n"
                     f"StandardError=append:{self.folder}/log\nStandardOutput=null\n")
        self.log = self.folder / "log"
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", "mount --make-rshared / && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && "
             "exec /lib/systemd/systemd --user --unit=basic.target"],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.process.poll() is not None or (self.folder / "run/systemd/private").exists(),
                 "systemd")

    def drop_in(self, name, text):
        path = self.units / "denoised.service.d" / f"{name}.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def take_back(self, name):
        (self.units / "denoised.service.d" / f"{name}.conf").unlink()

    def run(self, *arguments):
        return subprocess.run(["systemctl", "--user", *arguments], env=self.environment, capture_output=True,
                              text=True, timeout=DEADLINE_S)

    def do(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, (done.stderr, self.log.exists() and self.log.read_text())

    def show(self, name, unit="denoised.service"):
        return self.run("show", "-P", name, unit).stdout.strip()

    def stop(self):
        self.run("stop", *UNITS)
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def manager():
    if len(str(BINARY)) > 60:
        pytest.skip("the build folder's path is too long for the sockets in it")
    manager = Manager()
    if manager.process.poll() is not None:
        pytest.skip("no systemd can be started here")
    yield manager
    manager.stop()


@pytest.fixture(autouse=True)
def fresh(manager):
    yield
    manager.run("stop", *UNITS)
    manager.run("reset-failed")


def get(path, url, headers=None):
    connection = UnixConnection(path)
    try:
        connection.request("GET", url, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def own_socket(manager):
    return manager.folder / "run/denoised/denoised.sock"


def test_start_reload_stop(manager):
    manager.do("start", "denoised.service")  # returns when it is ready
    assert get(own_socket(manager), "/readyz")[0] == 200
    assert (manager.show("ActiveState"), manager.show("SubState")) == ("active", "running")
    assert manager.show("StatusText").startswith("Serving unix:")
    pid = manager.show("MainPID")
    manager.do("reload", "denoised.service")
    wait_for(lambda: "models_reloaded" in manager.log.read_text(), "the reload")
    wait_for(lambda: manager.show("ActiveState") == "active", "readiness")
    assert manager.show("MainPID") == pid and manager.show("StatusText").startswith("Serving ")
    manager.do("stop", "denoised.service")
    assert (manager.show("Result"), manager.show("ExecMainStatus")) == ("success", "0")
    assert not own_socket(manager).exists()


def test_a_restart_refuses_nobody(manager):
    manager.do("start", "denoised.socket")
    assert manager.show("ActiveState") == "inactive"
    path = manager.folder / "passed"
    assert get(path, "/readyz")[0] == 200  # which has started it
    answers, failures, leave = [], [], threading.Event()

    def ask():
        while not leave.is_set() and not failures:
            try:
                answers.append(get(path, f"/v1/samples/7.png?seed={len(answers)}&steps=2")[0])
            except OSError as e:
                failures.append(e)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    pids = {manager.show("MainPID")}
    for _ in range(3):
        asked = len(answers)
        wait_for(lambda: failures or len(answers) > asked, "answers")
        manager.do("restart", "denoised.service")
        pids.add(manager.show("MainPID"))
    leave.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not failures and set(answers) == {200} and len(pids) == 4


def test_the_admins_socket(manager):
    manager.do("start", "denoised.socket", "denoised-admin.socket")
    assert get(manager.folder / "admin", "/admin/models")[0] == 200  # which has started it
    assert get(manager.folder / "passed", "/readyz")[0] == 200
    assert (manager.folder / "admin").stat().st_mode & 0o777 == 0o600
    assert not own_socket(manager).exists()


def test_one_that_hangs_is_started_again(manager):
    manager.drop_in("hang", "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=100ms\n")
    try:
        manager.do("daemon-reload")
        manager.do("start", "denoised.service")
        pid = int(manager.show("MainPID"))
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: manager.show("NRestarts") == "1" and manager.show("SubState") == "running", "the next one")
        assert int(manager.show("MainPID")) != pid
        assert get(own_socket(manager), "/readyz")[0] == 200
    finally:
        manager.take_back("hang")
        manager.do("daemon-reload")


def test_keys_as_a_credential(manager):
    keys = manager.folder / "keys"
    keys.write_text("studio a-key-of-at-least-16-characters\n")
    keys.chmod(0o600)
    text = (ROOT / "systemd/api-keys.conf").read_text()
    assert text.count("api-keys:/etc/denoised/api-keys") == 1
    manager.drop_in("keys", text.replace("api-keys:/etc/denoised/api-keys", f"api-keys:{keys}"))
    try:
        manager.do("daemon-reload")
        manager.do("start", "denoised.service")
        url = "/v1/samples/7.png?seed=1&steps=2"
        assert get(own_socket(manager), url)[0] == 401
        assert get(own_socket(manager), url, {"X-API-Key": "a-key-of-at-least-16-characters"})[0] == 200
    finally:
        manager.take_back("keys")
        manager.do("daemon-reload")
