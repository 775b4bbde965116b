"""The flags, their environment twins and --help. --help is read back: what it promises is tried."""

import re
import subprocess

import pytest

from tests.cli.conftest import BINARY, clean_environment

COMMANDS = ("serve", "sample", "bench", "info", "health")


def read_help(command):
    """[{flag, letter, value, variable, low, high, default}] of one command's --help."""
    text = subprocess.run([str(BINARY), command, "--help"], env=clean_environment(), check=True,
                          capture_output=True, text=True).stdout
    rows = []
    for line in text.splitlines():
        head = re.fullmatch(r"  (?:-(\w), )?(--[a-z-]+) ?(\S*)", line)
        if head:
            rows.append({"letter": head[1], "flag": head[2], "value": head[3]})
        tail = re.fullmatch(r" +\[(DENOISED_\w+)(?:; ([\d.]+)\.\.([\d.]+))?(?:; default (\S+))?\]",
                            line)
        if tail:
            rows[-1].update(variable=tail[1], low=tail[2], high=tail[3], default=tail[4])
    return rows


ROWS = [(command, row) for command in COMMANDS for row in read_help(command)]
RANGES = [(c, r) for c, r in ROWS if r["low"] is not None]
LISTS = ("--listen", "--label", "--allowed-hosts")  # of names that anybody may choose
NAMES = [(c, r) for c, r in ROWS if "|" in r["value"] and r["flag"] not in LISTS]


def label(case):
    return f"{case[0]} {case[1]['flag']}"


def refused(done, *words):
    """Exit status 2, one line on standard error with these words, nothing on standard output."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("denoised: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_help_has_every_flag():
    flags = {c: {r["flag"] for r in read_help(c)} for c in COMMANDS}
    for command in ("serve", "sample", "bench", "info"):
        assert {"--model", "--isa", "--precision"} <= flags[command]
    assert {"--listen", "--workers", "--max-batch", "--max-queue-rows", "--max-rows-per-request",
            "--max-body-bytes", "--max-connections", "--max-connections-per-address", "--cache-bytes",
            "--max-answers-bytes", "--request-timeout-s", "--keepalive-timeout-s",
            "--drain-timeout-s", "--log-format", "--log-access"} <= flags["serve"]
    assert {"--label", "--n", "--seed", "--sampler", "--steps", "--guidance-scale",
            "--guidance-interval", "--eta",
            "--output", "--scale", "--threads"} <= flags["sample"]
    assert {"--batch", "--threads", "--seconds", "--json"} <= flags["bench"]
    assert "--json" in flags["info"]
    assert flags["health"] == {"--listen", "--timeout-s"}


@pytest.mark.parametrize("case", ROWS, ids=label)
def test_every_flag_has_its_twin(case):
    row = case[1]
    assert row["variable"] == "DENOISED_" + row["flag"][2:].upper().replace("-", "_")


def test_general_help_is_all_of_them(run):
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        one = run(command, "--help").stdout
        assert run("help", command).stdout == one
        section = one.split("\n\n", 1)[1].split("\n\ndenoised [COMMAND]")[0]
        assert section in done.stdout


def test_version(run):
    done = run("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"denoised \d+\.\d+\.\d+ \(\S+\)\n", done.stdout)


@pytest.mark.parametrize("case", RANGES, ids=label)
def test_numbers_are_checked(run, case):
    command, row = case
    below = "-1" if float(row["low"]) == 0 else "0"
    above = str(int(float(row["high"])) + 1)
    for text in (below, above, "", " 1", "1 ", "1x", "+1", "0x1", "1e", "nan", "inf", "-inf", "one",
                 "99999999999999999999", "1,5"):
        refused(run(command, row["flag"] + "=" + text), row["flag"] + ":")
        if text:
            refused(run(command, env={row["variable"]: text}), row["variable"] + ":")


@pytest.mark.parametrize("case", NAMES, ids=label)
def test_names_are_checked(run, case):
    command, row = case
    for text in ("", "nonsense", row["value"].split("|")[0] + " ", row["value"].upper()):
        refused(run(command, row["flag"], text), row["flag"] + ":")
        if text:
            refused(run(command, env={row["variable"]: text}), row["variable"] + ":")


@pytest.mark.parametrize("text", ["", ",", "0.5", "0,", ",1", "0,0", "0.5,0.4", "-0.1,1", "0,1.1",
                                  "0,1,", "0,0.5,1", " 0,1", "0, 1", "nan,1", "0,nan", "0;1",
                                  40 * "0" + ",1"])
def test_intervals_are_checked(run, text):
    refused(run("sample", "--guidance-interval=" + text), "--guidance-interval:")
    if text:
        refused(run("sample", env={"DENOISED_GUIDANCE_INTERVAL": text}), "DENOISED_GUIDANCE_INTERVAL:")


@pytest.mark.parametrize("text", ["", "8080", ":8080", "localhost", "localhost:", "localhost:x",
                                  "localhost:65536", "localhost:-1", "localhost: 80", "::1:80",
                                  "[]:80", "[::1:80", "::1]:80", "a[b]:80", "unix:", "unix:" + 200 * "x"])
def test_listen_is_checked(run, text):
    refused(run("--listen", text), "--listen:")
    if text:
        refused(run("serve", env={"DENOISED_LISTEN": text}), "DENOISED_LISTEN:")


@pytest.mark.parametrize("arguments, words", [
    (["--frobnicate"], ["--frobnicate:", "no such flag"]),
    (["--frobnicate=3"], ["--frobnicate:"]),
    (["-x"], ["-x:"]),
    (["-"], ["-:"]),
    (["--"], ["--:"]),
    (["--work", "3"], ["--work:"]),
    (["--workersx", "3"], ["--workersx:"]),
    (["paint"], ["paint:", "no such command"]),
    (["serve", "extra"], ["extra:"]),
    (["--workers", "1", "extra"], ["extra:"]),
    (["--workers"], ["--workers:", "missing"]),
    (["--workers", "--isa", "auto"], ["--workers:", "missing"]),
    (["sample", "-o", "-n", "3"], ["-o:", "missing"]),
    (["--workers", "1", "--workers", "1"], ["--workers:", "twice"]),
    (["sample", "-n", "1", "--n", "1"], ["--n:", "twice"]),
    (["serve", "--label", "7"], ["--label:", "serve"]),
    (["--seconds", "7"], ["--seconds:", "serve"]),
    (["sample", "--workers", "7"], ["--workers:", "sample"]),
    (["info", "--json=yes"], ["--json:", "on or off"]),
    (["info", "--no-json=on"], ["--no-json:", "no value"]),
    (["info", "--json", "--no-json"], ["--no-json:", "twice"]),
    (["--no-workers"], ["--no-workers:", "no such flag"]),
    (["bench", "--model", "a", "--model", "b"], ["--model:", "at most 1"]),
    (["sample", "-o", "x.png"], ["--label:"]),
    (["sample", "--label", "7"], ["--output:"]),
    (["sample", "--sampler", "euler"], ["--sampler:", "dpmpp_2m"]),
    (["health", "--listen", "localhost:0"], ["--listen:", "port"]),
    (["health", "--model", "a"], ["--model:", "health"]),
    (["--max-queue-rows", "5", "--max-rows-per-request", "6"], ["--max-rows-per-request:", "--max-queue-rows 5"]),
    *((["--model-alias", alias], ["--model-alias:", "NAME=MODEL", "letters, digits and"])
      for alias in (".=mnist", "..=mnist", "=mnist", "a b=mnist", "a/b=mnist", 'a"b=mnist', "a'b=mnist", "a=..",
                    "\x1b[2J=mnist", "a\u202eb=mnist", "a\tb=mnist", "\u00e9=mnist", "a" * 64 + "=mnist")),
    (["--log-access", "yes"], ["--log-access:", "on|off|no-probes"]),
    (["--max-answers-bytes", "1048575"], ["--max-answers-bytes:", "1048576"]),
    (["--max-answers-bytes", "2147483648"], ["--max-answers-bytes:", "2147483647"]),
])
def test_command_line_errors(run, arguments, words):
    refused(run(*arguments), *words)


def test_too_many_models(run):
    refused(run(*(17 * ["--model", "a.safetensors"])), "--model:", "at most 16")
    refused(run(env={"DENOISED_MODEL": ":".join(17 * ["a"])}), "DENOISED_MODEL:", "at most 16")
    refused(run(env={"DENOISED_MODEL": "a::b"}), "DENOISED_MODEL:", "empty")
    refused(run("bench", env={"DENOISED_MODEL": "a:b"}), "DENOISED_MODEL:", "at most 1")


def test_unknown_variables(run):
    for name in ("DENOISED_WORKER", "DENOISED_", "DENOISED_PORTS", "DENOISED_" + 300 * "X"):
        refused(run("info", env={name: "1"}), name[:100])


def test_an_empty_variable_is_none(run):
    """Whatever it is called, and whatever its values are."""
    for command in ("info", "bench", "sample"):
        variables = {row["variable"]: "" for _, row in ROWS}
        flags = {"info": (), "bench": ("--seconds", "0.1"), "sample": ("--label=7", "-o", "x.png")}[command]
        done = run(command, *flags, env={**variables, "DENOISED_NO_SUCH": ""})
        assert done.returncode == 0, done.stderr


def test_variables_of_others(run):
    """Of another command, of Kubernetes and of the tools: left alone."""
    others = {"DENOISED_WORKERS": "nonsense", "DENOISED_SERVICE_HOST": "10.0.0.1",
              "DENOISED_SERVICE_PORT_HTTP": "80", "DENOISED_PORT": "tcp://10.0.0.1:80",
              "DENOISED_PORT_8080_TCP_ADDR": "10.0.0.1", "DENOISED_CACHE": "/tmp"}
    done = run("info", env=others)
    assert done.returncode == 0, done.stderr


def test_flag_beats_variable_beats_default(sample):
    def steps(*arguments, env=None):
        done = sample("--label", 1, "--sampler", "ddim", "-o", "x.png", *arguments, env=env)
        return int(re.search(r"ddim (\d+) steps", done.stdout)[1])

    assert steps() == 7
    assert steps(env={"DENOISED_STEPS": "3"}) == 3
    assert steps("--steps", "2", env={"DENOISED_STEPS": "3"}) == 2
    assert steps("--steps=2", env={"DENOISED_STEPS": "nonsense"}) == 2


def test_variables_of_each_type(run, tmp_path):
    env = {"DENOISED_LABEL": "seven", "DENOISED_N": "2", "DENOISED_SEED": "9007199254740991",
           "DENOISED_SAMPLER": "ddim", "DENOISED_STEPS": "2", "DENOISED_GUIDANCE_SCALE": "0.5",
           "DENOISED_GUIDANCE_INTERVAL": "0,.6",
           "DENOISED_ETA": ".25", "DENOISED_OUTPUT": "x.npy", "DENOISED_ISA": "scalar",
           "DENOISED_PRECISION": "fp32"}
    done = run("sample", env=env)
    assert done.returncode == 0, done.stderr
    for part in ("2 images", "seed 9007199254740991", "ddim 2 steps", "guidance 0.5 in 0..0.6", "eta 0.25"):
        assert part in done.stdout
    assert (tmp_path / "x.npy").stat().st_size == 128 + 2 * 28 * 28
    assert run("info", env={"DENOISED_JSON": "on"}).stdout.startswith("{")
    assert run("info", env={"DENOISED_JSON": "off"}).stdout.startswith("denoised")
    refused(run("info", env={"DENOISED_JSON": "1"}), "DENOISED_JSON:", "on or off")
