"""What `make` runs: its help, what installs packages, and how the tools end and where they write."""

import gzip
import hashlib
import os
import re
import subprocess
import sys

import pytest

from tests.deploy.test_files import ROOT
from tests.http.conftest import DEADLINE_S

MAKEFILE = (ROOT / "Makefile").read_text()
# What a person calls; the rest of .PHONY are parts of these.
PARTS = re.compile(r".*-deps|deps|all|fuzz-run|install-program|FORCE")
TOOLS = ("tools.train", "tools.train.consistency", "tools.evaluate", "tools.evaluate.history", "tools.bench",
         "tools.bench.load", "tools.bench.load.overload", "tools.soak")


def run(*command, path=None, env=None, **more):
    """As from a shell: not as a part of the make that runs the tests."""
    outer = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    env = {**outer, **(env or {})}
    if path:
        env["PATH"] = f"{path}:{env['PATH']}"
    return subprocess.run([*map(str, command)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=DEADLINE_S,
                          **more)


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# ---- make ---------------------------------------------------------------------------------------

def test_help_has_every_target():
    told = run("make", "-s", "help")
    assert told.returncode == 0, told.stderr
    listed = set(re.findall(r"^make ([\w-]+) ", told.stdout, re.M))
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M) for name in line.split()}
    assert {name for name in phony if not PARTS.fullmatch(name)} == listed
    assert "(REQUESTS=" in told.stdout


def test_all_processors_are_used_unless_told():
    assert run("make", "-s", "-f", "-", "show", input="include Makefile\nshow: ; @echo '$(MAKEFLAGS)'\n").stdout.count(
        f"-j{os.cpu_count()}") == 1 or os.cpu_count() == 1


def test_what_tests_need_is_installed_before_they_are_compiled():
    """With -j nothing but this order keeps a fresh machine from compiling without the library."""
    told = run("make", "-n", "-p", "BUILD=/nonexistent/build", "help").stdout
    for name in ("tests/unit/test_png.o", "tests/golden/test_golden.o"):
        rule, = re.findall(rf"^/nonexistent/build/{name}:.*$", told, re.M)
        assert "test-deps" in rule.partition("|")[2], rule


# ---- packages -----------------------------------------------------------------------------------

@pytest.fixture
def debian(tmp_path):
    """A folder for PATH with a dpkg-query that knows nothing, an apt-get of the test's and no sudo to ask."""
    program(tmp_path, "dpkg-query", "exit 1")
    program(tmp_path, "sudo", 'exec "$@"')
    program(tmp_path, "sleep", "exit 0")
    program(tmp_path, "apt-get", f'echo "$@" >> {tmp_path}/calls')
    return tmp_path


def install(debian, *packages):
    return run("tools/install-packages.sh", *packages, path=debian)


def test_packages_are_installed_with_apts_wait_for_its_lock(debian):
    done = install(debian, "some-package")
    assert done.returncode == 0, done.stderr
    update, installs = (debian / "calls").read_text().splitlines()
    assert "update" in update and "DPkg::Lock::Timeout=" in update
    assert "install -y --no-install-recommends some-package" in installs and "DPkg::Lock::Timeout=" in installs


def test_a_locked_list_is_awaited(debian):
    program(debian, "apt-get", f"""echo x >> {debian}/calls
        [ $(wc -l < {debian}/calls) -gt 2 ] || {{ echo 'E: Could not get lock /var/lib/apt/lists/lock'; exit 100; }}""")
    done = install(debian, "some-package")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("waiting for it to end") == 1


def test_what_apt_says_is_shown_when_it_fails(debian):
    program(debian, "apt-get", "echo 'E: Unable to locate package some-package' >&2; exit 100")
    done = install(debian, "some-package")
    assert done.returncode == 1
    assert "Unable to locate package some-package" in done.stderr and "repeat the command" in done.stderr


def test_there_is_no_lock_file_of_one_user(debian, tmp_path):
    folder = tmp_path / "nobody-may-write"
    folder.mkdir(mode=0o500)
    done = run("tools/install-packages.sh", "some-package", path=debian, env={"TMPDIR": str(folder)})
    assert done.returncode == 0 and not list(folder.iterdir())


def test_unpacking_says_why_it_failed(debian, tmp_path):
    program(debian, "apt-get", "echo 'E: Failed to fetch it' >&2; exit 100")
    done = run("tools/unpack-package.sh", tmp_path / "to", "a,b", path=debian)
    assert done.returncode != 0 and "Failed to fetch it" in done.stderr


def test_npm_says_why_it_failed(tmp_path):
    """Nobody listens at the registry; npm's own limits would be minutes."""
    source, cache = tmp_path / "source", tmp_path / "cache"
    source.mkdir()
    (source / "package.json").write_text('{"name": "x", "dependencies": {"left": "1.0.0"}}')
    (source / "package-lock.json").write_text(
        '{"name": "x", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "x", "dependencies": '
        '{"left": "1.0.0"}}, "node_modules/left": {"version": "1.0.0", "integrity": "sha512-' + "A" * 86 + '=="}}}')
    done = run("tools/npm-ci.sh", tmp_path / "to", source,
               env={"npm_config_registry": "http://127.0.0.1:9/", "npm_config_cache": str(cache)})
    assert done.returncode == 1
    assert "ECONNREFUSED" in done.stdout and "repeat the command" in done.stderr
    assert not (tmp_path / "to/node_modules/.package-lock.json").exists()


def test_the_program_is_built_without_npm():
    """The renderer of /docs is in the repository, unchanged: its file says what it must be."""
    folder = ROOT / "web/vendor/swagger-ui"
    sums = re.findall(r"^    ([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(), re.M)
    assert [name for _, name in sums] == ["swagger-ui-bundle.js", "swagger-ui.css"]
    for digest, name in sums:
        assert hashlib.sha256(gzip.decompress((folder / f"{name}.gz").read_bytes())).hexdigest() == digest, name
    needed = MAKEFILE.partition("# ---- what is missing gets installed")[0]
    assert "npm" not in needed


# ---- the tools in Python ------------------------------------------------------------------------

@pytest.mark.parametrize("tool", TOOLS)
def test_ctrl_c_ends_a_tool_with_a_line(tool, tmp_path):
    """As it comes while a library is loaded, before the tool has a line of its own to catch it."""
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    done = run(sys.executable, "-m", tool, "--help", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 130, done
    assert done.stderr == "\nstopped by Ctrl-C\n"


def test_other_errors_are_told_whole():
    done = run(sys.executable, "-c", "import tools; 1 / 0")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_results_go_to_the_build_folder_unless_asked():
    code = "from tools import results; print(results.folder({}, 'performance').relative_to(results.ROOT))"
    assert run(sys.executable, "-c", code.format(False)).stdout == "build/results/performance\n"
    assert run(sys.executable, "-c", code.format(True)).stdout == "docs/performance\n"
    for name in ("bench/__main__.py", "bench/load/__main__.py", "bench/load/overload.py", "soak/__main__.py"):
        text = (ROOT / "tools" / name).read_text()
        assert "results.add_flag(" in text and "results.folder(" in text, name
