"""The README's claims that are commands: its examples run against a real daemon, its table is complete."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("DENOISED_BINARY", "build/denoised")).resolve()
README = (ROOT / "README.md").read_text()
DEADLINE_S = 300


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def address():
    """host:port of a daemon on a free port."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DENOISED_")}
    daemon = subprocess.Popen([str(BINARY), "serve", "--listen", "127.0.0.1:0"], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = daemon.stdout.readline()
    assert line.startswith("denoised: listening on http://"), line
    yield line.strip().removeprefix("denoised: listening on http://")
    daemon.terminate()
    assert daemon.wait(DEADLINE_S) == 0


def run(command, folder, text=None):
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pngs(folder):
    found = sorted(folder.glob("*.png"))
    for path in found:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n"), path
    return [path.name for path in found]


def test_shell_examples(address, tmp_path):
    examples = blocks("sh")
    assert len(examples) == 9
    for example in examples:
        out = run(["bash", "-euo", "pipefail", "-c", example.replace("localhost:8080", address)],
                  tmp_path)
        assert '"errors"' not in out
    assert pngs(tmp_path) == ["grid.png", "seven.png", "sevens.png"]


def test_the_first_curl(address, tmp_path):
    line = next(line for line in README.splitlines() if line.startswith("    curl -s '"))
    run(["bash", "-c", line.replace("localhost:8080", address)], tmp_path)
    assert pngs(tmp_path) == ["seven.png"]


def test_python_example(address, tmp_path):
    (example,) = blocks("python")
    out = run([sys.executable, "-"], tmp_path, example.replace("localhost:8080", address))
    assert out.startswith("drawn with seed ")
    assert pngs(tmp_path) == [f"seven-{i}.png" for i in range(4)]


@pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")
def test_javascript_example(address, tmp_path):
    fetched, streamed, in_a_browser = blocks("js")
    def node(example):
        return run(["node", "--input-type=module", "-"], tmp_path,
                   example.replace("localhost:8080", address))
    assert re.fullmatch(r"(\d sha256:[0-9a-f]{64}\n){3}", node(fetched))
    told = re.findall(r"^(\w+) \{", node(streamed), re.M)
    assert told[0] == "started" and told[-1] == "completed"
    assert told.count("image") == 2 and "preview" in told and "progress" in told
    assert "EventSource" in in_a_browser  # tests/browser runs it


def test_every_flag_of_serve_is_in_the_table():
    help_text = run([str(BINARY), "serve", "--help"], ROOT)
    flags = re.findall(r"^  (--[a-z-]+)", help_text, re.M)
    table = re.findall(r"^\| `(--[a-z-]+)` \| `(DENOISED_[A-Z_]+)` \| (.*?) \|", README, re.M)
    assert flags == [row[0] for row in table]
    for flag, variable, default in table:
        entry = re.search(rf"^  {flag} .*?\[(DENOISED_\w+)(?:; [^\]]*?)?(?:default (\S+))?\]", help_text,
                          re.M | re.S)
        assert entry.group(1) == variable
        if entry.group(2):
            assert default == f"`{entry.group(2)}`", flag


def test_every_linked_file_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 15
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing
