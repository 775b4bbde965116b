"""make install and make uninstall, into a folder of the test's, and what systemd says of the units."""

import os
import re
import subprocess

import pytest

from tests.deploy.test_files import BINARY, ROOT
from tests.http.conftest import DEADLINE_S

PREFIX = "/opt/denoised"
ENVIRONMENT = "etc/denoised/denoised.env"


def make(target, destination, *variables):
    """Without building: the program is the one under test."""
    subprocess.run(["make", "-s", "-o", "all", target, f"DESTDIR={destination}", f"PREFIX={PREFIX}",
                    f"BUILD={os.path.relpath(BINARY.parent, ROOT)}", *variables],
                   cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_S)


def files(folder):
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module", params=["252", "255"])
def installed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    make("install", folder, f"SYSTEMD_VERSION={request.param}")
    return folder, int(request.param)


def unit(installed, name="denoised.service"):
    return (installed[0] / PREFIX[1:] / "lib/systemd/system" / name).read_text()


def test_everything_is_in_its_place(installed):
    found = files(installed[0])
    own = PREFIX[1:]
    for name in ["bin/denoised", "share/denoised/models/mnist.safetensors",
                 "share/denoised/models/mnist-fast.safetensors",
                 "lib/systemd/system/denoised.service", "lib/systemd/system/denoised.socket",
                 "lib/systemd/system/denoised-admin.socket",
                 "share/doc/denoised/README.md", "share/doc/denoised/openapi.yaml",
                 "share/doc/denoised/docs/determinism.md", "share/doc/denoised/models/mnist.md",
                 "share/doc/denoised/examples/denoised.conf", "share/doc/denoised/examples/api-keys.conf"]:
        assert f"{own}/{name}" in found, name
    assert found.pop(ENVIRONMENT).read_text() == (ROOT / "systemd/denoised.env").read_text()
    assert all(name.startswith(own) for name in found)
    for name, path in found.items():
        assert path.stat().st_mode & 0o777 == (0o755 if name == own + "/bin/denoised" else 0o644), name


def test_what_is_installed_runs(installed):
    """It finds its models without being told."""
    program = installed[0] / PREFIX[1:] / "bin/denoised"
    info = subprocess.run([program, "info"], capture_output=True, text=True, cwd="/", check=True,
                          timeout=DEADLINE_S).stdout
    found = re.findall(r"^model +(\S+), (.*)/share/denoised/models/", info, re.M)
    assert [name for name, _ in found] == ["mnist", "mnist-fast"]
    assert all(folder.startswith(str(program.parent)) for _, folder in found)


def test_the_unit_speaks_its_systemds_language(installed):
    text = unit(installed)
    assert "@" not in text.replace("@system-service", "").replace("@privileged", "").replace("@resources", "")
    assert f"ExecStart={PREFIX}/bin/denoised serve\n" in text
    if installed[1] >= 253:
        assert "Type=notify-reload\n" in text and "ExecReload" not in text
    else:
        assert "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n" in text


def test_uninstall_removes_it_all(tmp_path):
    make("install", tmp_path)
    make("uninstall", tmp_path)
    assert files(tmp_path) == {} and not (tmp_path / "etc/denoised").exists()


def test_settings_are_the_operators(tmp_path):
    settings = tmp_path / ENVIRONMENT
    settings.parent.mkdir(parents=True)
    settings.write_text("DENOISED_WORKERS=2\n")
    make("install", tmp_path)
    make("uninstall", tmp_path)
    assert files(tmp_path) == {ENVIRONMENT: settings}
    assert settings.read_text() == "DENOISED_WORKERS=2\n"


# ---- systemd's opinion --------------------------------------------------------------------------



def analyze(*arguments, **environment):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=DEADLINE_S)


@pytest.fixture
def units(tmp_path):
    """The installed units for the systemd of this machine, the program being where it is."""
    root = tmp_path / "root"
    make("install", root)
    folder = tmp_path / "units"
    folder.mkdir()
    for path in (root / PREFIX[1:] / "lib/systemd/system").iterdir():
        (folder / path.name).write_text(path.read_text().replace(f"{PREFIX}/bin/denoised", str(BINARY)))
    return folder


def verify(units):
    done = analyze("verify", units / "denoised.service", units / "denoised.socket",
                   units / "denoised-admin.socket", SYSTEMD_UNIT_PATH=f"{units}:")
    return [line for line in done.stderr.splitlines() if "denoised" in line] or done.returncode


def test_systemd_accepts_the_units(units):
    assert verify(units) == 0
    drop_in = units / "denoised.service.d/api-keys.conf"
    drop_in.parent.mkdir()
    drop_in.write_text((ROOT / "systemd/api-keys.conf").read_text())
    assert verify(units) == 0


def test_verify_can_fail(units):
    service = units / "denoised.service"
    service.write_text(service.read_text().replace("WatchdogSec=30", "WatchdogSec=often"))
    assert verify(units) != 0


def test_the_service_is_shut_in(units):
    """systemd's own measure of what a service could do to its machine, from 0 to 10; below 5 is what it calls OK."""
    rating = ["security", "--offline=yes", "--threshold=15"]
    done = analyze(*rating, units / "denoised.service")
    assert done.returncode == 0, done.stdout
    service = units / "denoised.service"
    service.write_text(service.read_text().replace("ProtectSystem=strict\n", "").replace("DynamicUser=yes\n", ""))
    assert analyze(*rating, service).returncode != 0
