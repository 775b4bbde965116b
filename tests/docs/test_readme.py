"""The README's claims that are commands: its examples run against a real daemon, its table is complete."""

import os
import pathlib
import re
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
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pngs(folder):
    found = sorted(folder.glob("*.png"))
    for path in found:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n"), path
    return [path.name for path in found]


# What a file begins with, and what an animated PNG has besides.
KINDS = {".png": (b"\x89PNG\r\n\x1a\n", b"IEND"), ".apng": (b"\x89PNG\r\n\x1a\n", b"acTL"),
         ".zip": (b"PK\x03\x04", b"manifest.json")}


def shell(script, address, folder):
    """Run it with a curl that fails where the server refuses, and look at every file that it writes."""
    script = script.replace("localhost:8080", address)
    run(["bash", "-euo", "pipefail", "-c", f'curl() {{ command curl --fail-with-body "$@"; }}\n{script}'], folder)
    for name in re.findall(r"(?<= -o )\S+", script):
        begin, inside = KINDS[pathlib.Path(name).suffix]
        data = (folder / name).read_bytes()
        assert data.startswith(begin) and inside in data, name


def test_shell_examples(address, tmp_path):
    examples = blocks("sh")
    assert len(examples) == 9
    for example in examples:
        shell(example, address, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.zip", "grid.png", "seven.apng", "seven.png",
                                                                "sevens.png"]


def test_a_refused_example_is_noticed(address, tmp_path):
    with pytest.raises(AssertionError):
        shell("curl -s 'localhost:8080/v1/samples/7.png?steps=0' -o seven.png", address, tmp_path)


def test_the_first_curl(address, tmp_path):
    line = next(line for line in README.splitlines() if line.startswith("    curl -s '"))
    shell(line, address, tmp_path)


def test_the_command_line(address, tmp_path):
    section = README.partition("## The command line")[2].partition("##")[0]
    commands = [line.split("  ")[0] for line in re.findall(r"^    (denoised .*)", section, re.M)]
    assert len(commands) >= 5
    for command in commands:
        if command != "denoised serve":
            run([str(BINARY), *command.replace("localhost:8080", address).split()[1:]], tmp_path)
    assert pngs(tmp_path) == ["digits.png"]


def test_python_example(address, tmp_path):
    (example,) = blocks("python")
    out = run([sys.executable, "-"], tmp_path, example.replace("localhost:8080", address))
    assert out.startswith("drawn with seed ")
    assert pngs(tmp_path) == [f"seven-{i}.png" for i in range(4)]


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
