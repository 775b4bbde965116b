"""The real daemon on a free port, and what the tests need to talk to it."""

import errno
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from . import contract

BINARY = os.environ.get("DENOISED_BINARY", "build/denoised")
MODEL = "models/mnist.safetensors"
with open(BINARY, "rb") as f:
    # A build with a sanitizer finds leaks and races by itself, and needs memory of its own.
    SANITIZED = re.search(rb"__[at]san_init", f.read()) is not None
# How a model of few steps is sampled.
FEW = {"samplers": ["consistency"], "timesteps": {"1": [999], "2": [999, 399], "4": [999, 799, 599, 299]},
       "fixed_guidance_scale": 1.5,
       "default": {"sampler": "consistency", "steps": 2, "guidance_scale": 1.5},
       "presets": {"turbo": {"sampler": "consistency", "steps": 1, "guidance_scale": 1.5}}}
# A generous limit for anything awaited: sanitizer builds on a busy machine are slow.
DEADLINE_S = 120


def write_model(path, sampling, **changes):
    """The shipped weights under another `sampling`, and other `changes` of the config."""
    raw = open(MODEL, "rb").read()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    config = json.loads(header["__metadata__"]["denoised.config"])
    config.update(changes, sampling=sampling)
    header["__metadata__"]["denoised.config"] = json.dumps(config)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length:])


def preloaded(**variables):
    """The environment of a daemon with preload.c, which the variables tell what to do."""
    library = os.path.join(os.path.dirname(os.path.abspath(BINARY)), "tests/http/preload.so")
    # The sanitizers insist on being first, but need not.
    return {"LD_PRELOAD": library, **variables,
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Poll until condition() is truthy and return it; fail after the deadline."""
    pause = threading.Event()
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        pause.wait(0.01)


class Hold:
    """A named pipe at which preload.c lets a daemon wait until it is released, each time it comes by."""

    def __init__(self, path):
        self.path, self.fd = str(path), None
        os.mkfifo(path)

    def await_daemon(self):
        """Until somebody opens the pipe to read, opening it to write fails."""
        def is_there():
            try:
                self.fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as fault:
                assert fault.errno == errno.ENXIO, fault
            return self.fd is not None

        wait_for(is_there, "the daemon to wait")

    def release(self):
        if self.fd is None:
            self.await_daemon()
        os.write(self.fd, b".")
        os.close(self.fd)
        self.fd = None


def parse_metrics(text):
    """{'name{labels}': value} of a Prometheus exposition; checks its grammar on the way."""
    values = {}
    types = {}
    sample = re.compile(r'^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (\S+)$')
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types, f"{name} is described twice"
            types[name] = kind
        elif not line.startswith("#"):
            match = sample.match(line)
            assert match, f"not a sample: {line}"
            base = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in types or types.get(base) == "histogram", f"{match[1]} has no TYPE"
            key = match[1] + (match[2] or "")
            assert key not in values, f"{key} occurs twice"
            values[key] = float(match[3])
    return values


class Daemon:
    """A running `denoised serve`."""

    def __init__(self, folder, *arguments, listen="127.0.0.1:0", model=MODEL, wait=True,
                 log_format="json", variables=None, passed=None):
        """`variables` are added to the environment, `passed` is a listening socket for it, or a list."""
        self.log_path = pathlib.Path(folder) / "log"
        self.log = open(self.log_path, "wb")
        env = {k: v for k, v in os.environ.items() if not k.startswith("DENOISED_")}
        command = [BINARY, "serve", "--listen", listen, "--model", model, "--log-format", log_format,
                   *arguments]
        # Requests written by hand are for a host "x"; tests/http/test_origins.py is about those.
        env["DENOISED_ALLOWED_HOSTS"] = "*"
        # A call that the filter refuses ends the daemon, and so the test: what any test asks for is done under
        # the filter, with the libraries that are here.
        env["DENOISED_SECCOMP"] = "kill"
        env.update(variables or {})
        env = {k: v for k, v in env.items() if v is not None}
        sockets = passed if isinstance(passed, list) else [passed] if passed else []
        # Out of the way of the descriptors that they become.
        kept = [fcntl.fcntl(s, fcntl.F_DUPFD_CLOEXEC, 64) for s in sockets]
        if kept:
            moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(kept))
            command = ["bash", "-c", f'LISTEN_FDS={len(kept)} LISTEN_PID=$$ exec "$@" {moves}', "bash", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=env,
                                        pass_fds=kept)
        for fd in kept:
            os.close(fd)
        self.line = None
        if wait:
            self.await_line()

    def await_line(self):
        timer = threading.Timer(DEADLINE_S, self.process.kill)
        timer.start()
        self.line = self.process.stdout.readline().decode()
        timer.cancel()
        assert self.line.startswith("denoised: listening on "), self.log_path.read_text()
        self.url = self.line.split()[-1]
        if self.url.startswith("http://"):
            self.host, port = self.url.removeprefix("http://").rsplit(":", 1)
            self.port = int(port)

    @property
    def admin_url(self):
        return wait_for(lambda: [e["url"] for e in self.events() if e["event"] == "admin_listening"],
                        "the admin listener")[0]

    def events(self):
        # The last line may still be on its way.
        lines = self.log_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def post(self, body, **more):
        if isinstance(body, dict):
            more["json"] = body
        else:
            more["data"] = body
        return requests.post(self.url + "/v1/samples", timeout=DEADLINE_S, **more)

    def get(self, path, **more):
        return requests.get(self.url + path, timeout=DEADLINE_S, **more)

    def metrics(self):
        return parse_metrics(self.get("/metrics").text)

    def metric(self, name):
        return self.metrics()["denoised_" + name]

    def connect(self):
        s = socket.create_connection((self.host, self.port), timeout=DEADLINE_S)
        return s

    def send_post(self, body):
        """A POST on a socket of its own, whose answer nobody has read yet."""
        s = self.connect()
        data = json.dumps(body).encode()
        s.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        return s

    def signal(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)

    def wait(self):
        status = self.process.wait(DEADLINE_S)
        self.log.close()
        self.process.stdout.close()
        text = self.log_path.read_text()
        assert "Sanitizer" not in text and "runtime error" not in text, text
        # Sanitizers need calls that it refuses.
        assert SANITIZED or "seccomp_failed" not in text, text
        return status

    def stop(self):
        if self.process.poll() is None:
            self.signal()
        if not self.log.closed:
            assert self.wait() == 0


def read_response(stream):
    """One HTTP response from a socket's makefile("rb"): (status, headers, body)."""
    first = stream.readline().decode()
    assert first.startswith("HTTP/1."), repr(first)
    headers = {}
    while (line := stream.readline().decode().rstrip()):
        key, value = line.split(": ", 1)
        headers[key.lower()] = value
    return int(first.split()[1]), headers, stream.read(int(headers.get("content-length", 0)))


# So much work that it lasts until it is canceled.
ENDLESS = {"label": 3, "n": 64, "steps": 1000, "sampler": "ddpm", "guidance_scale": 1, "seed": 5}


@pytest.fixture(autouse=True)
def answers_are_documented(monkeypatch):
    """Whatever a test asks for with `requests`, the answer is held against openapi.yaml."""
    send = requests.Session.send

    def checked(session, request, **more):
        answer = send(session, request, **more)
        contract.check_answer(request.method, request.url, answer.status_code, answer.headers,
                              None if more.get("stream") else answer.content)
        return answer

    monkeypatch.setattr(requests.Session, "send", checked)


@pytest.fixture
def start_daemon(tmp_path_factory):
    """start_daemon("--workers", "1", ...) -> Daemon, stopped after the test."""
    daemons = []

    def start(*arguments, **more):
        daemon = Daemon(tmp_path_factory.mktemp("daemon"), *map(str, arguments), **more)
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        daemon.stop()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    """One daemon for the tests that leave it as they found it: the shipped model, and one of few steps."""
    folder = tmp_path_factory.mktemp("daemon")
    write_model(folder / "few.safetensors", FEW)
    daemon = Daemon(folder, "--admin-listen", "127.0.0.1:0", "--model", folder / "few.safetensors")
    yield daemon
    daemon.stop()
