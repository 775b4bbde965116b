"""What people expect of a command line: help, hints, switches, short flags, `-` for standard output."""

import io
import json
import os
import pty
import subprocess

import pytest
from PIL import Image

from tests.cli.conftest import BINARY, DEADLINE_S, clean_environment
from tests.cli.test_options import COMMANDS, refused
from tests.http.conftest import Daemon

DRAW = ("sample", "--label", "7", "--steps", "2", "--seed", "1")


def test_help_without_a_command(run):
    """Examples first, then the commands, on one screen."""
    short = run("help")
    assert short.returncode == 0 and short.stdout == run("-h").stdout
    lines = short.stdout.splitlines()
    assert len(lines) <= 24 and lines[2].startswith("  denoised ")
    for command in COMMANDS:
        assert f"\n  {command} " in short.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_short_help_of_a_command(run, command):
    short, long = run(command, "-h"), run(command, "--help")
    assert short.returncode == long.returncode == 0
    assert run("help", command).stdout == long.stdout
    for text in (short.stdout, long.stdout):
        example, first_flag = text.index(f"\n  denoised {command}"), text.index("  --")
        assert example < text.index("--listen" if command in ("serve", "health") else "--model", first_flag)
    flags = [line.split()[0] for line in long.stdout.splitlines() if line.startswith("  --")]
    assert flags and all(flag + " " in short.stdout for flag in flags)
    assert len(short.stdout) < len(long.stdout)


@pytest.mark.parametrize("arguments, meant", [
    (["serv"], "serve"), (["smaple"], "sample"), (["help", "benhc"], "bench"),
    (["--listne", "x"], "--listen"), (["--work", "3"], "--workers"), (["sample", "--lable", "7"], "--label"),
    (["sample", "--sampler", "ddmi"], "ddim"), (["serve", "--isa", "avx22"], "avx2"),
    (["serve", "--log-format", "jsno"], "json"), (["sample", "--label", "sevn", "-o", "x.png"], "seven"),
])
def test_hints(run, arguments, meant):
    refused(run(*arguments), f"did you mean {meant}?")


def test_hints_for_variables(run):
    refused(run("info", env={"DENOISED_WORKRES": "1"}), "did you mean DENOISED_WORKERS?")


@pytest.mark.parametrize("arguments", [["zzz"], ["--frobnicate"], ["sample", "--sampler", "q"]])
def test_no_hint_where_nothing_is_near(run, arguments):
    done = run(*arguments)
    refused(done)
    assert "did you mean" not in done.stderr


def test_errors_list_what_there_is(run):
    refused(run("sample", "--label", "cat", "-o", "x.png"), "zero, one, two", "eight, nine")
    refused(run("sample", "--label", "7", "--sampler", "consistency", "-o", "x.png"), "not one of this model's", "ddim")
    refused(run("sample", "--sampler", "x"), "ddpm|ddim")
    refused(run("--isa", "auto", "sample"), "the command comes first")
    refused(run("help", "info", "more"), "more:")


@pytest.mark.parametrize("arguments, is_on", [
    (["--json"], True), (["--json", "on"], True), (["--json=on"], True), (["--no-json"], False),
    (["--json", "off"], False), (["--json=off"], False), ([], False),
])
def test_switches(run, arguments, is_on):
    done = run("info", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{") == is_on
    if is_on:
        json.loads(done.stdout)
    done = run("info", *arguments, env={"DENOISED_JSON": "on"})
    assert done.stdout.startswith("{") == (is_on or not arguments), "the flag beats the variable"


def test_every_switch_is_one(run):
    """A bare flag, --no- and a value are understood: what is missed is something else."""
    for command, flags in {"serve": ["seccomp", "metrics-need-key", "log-access"], "bench": ["profile", "json"]}.items():
        for flag in flags:
            for form in ([f"--{flag}"], [f"--no-{flag}"], [f"--{flag}", "off"], [f"--{flag}=on"]):
                refused(run(command, *form, "--isa", "none"), "--isa:")


@pytest.mark.parametrize("form", [["-n4"], ["-n", "4"], ["-n=4"], ["--n", "4"], ["--n=4"]])
def test_a_short_flag_and_its_value(run, tmp_path, form):
    done = run(*DRAW, *form, "-ox.png")
    assert done.returncode == 0 and "4 images" in done.stdout, done.stderr
    assert (tmp_path / "x.png").exists()
    refused(run(*DRAW, "-nx", "-ox.png"), "-n:", "'x'")


@pytest.mark.parametrize("form", [["-o", "-"], ["-o-"], ["--output=-"]])
def test_a_picture_to_standard_output(run, tmp_path, form):
    """Its bytes are those of the file; what is said goes to standard error."""
    command = [str(BINARY), *DRAW, "-n4", *form]
    done = subprocess.run(command, env=clean_environment(), cwd=tmp_path, capture_output=True, timeout=DEADLINE_S)
    assert done.returncode == 0 and b"4 images of mnist, seed 1" in done.stderr
    assert Image.open(io.BytesIO(done.stdout)).size == (56, 56)
    assert os.listdir(tmp_path) == []
    assert run(*DRAW, "-n4", "-o", "x.png").returncode == 0
    assert (tmp_path / "x.png").read_bytes() == done.stdout


def test_no_picture_for_a_terminal_or_a_full_disk(tmp_path):
    command = [str(BINARY), *DRAW, "-o", "-"]
    main, side = pty.openpty()
    done = subprocess.run(command, env=clean_environment(), stdout=side, stderr=subprocess.PIPE, timeout=DEADLINE_S)
    assert done.returncode == 2 and b"terminal" in done.stderr
    os.close(main)
    os.close(side)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE_S)
    assert done.returncode == 1 and b"standard output" in done.stderr


@pytest.mark.parametrize("flags, queue_rows, request_rows", [
    (("--max-queue-rows", "20"), 20, 20), (("--max-rows-per-request", "5000"), 5000, 5000),
    (("--max-rows-per-request", "10"), 4096, 10),
])
def test_defaults_give_way(tmp_path, flags, queue_rows, request_rows):
    """No flag is refused for the sake of one that nobody set."""
    daemon = Daemon(tmp_path, "--workers", "1", *flags)
    limits = daemon.get("/v1/capabilities").json()["limits"]
    daemon.stop()
    assert (limits["queue_rows"], limits["rows_per_request"]) == (queue_rows, request_rows)
