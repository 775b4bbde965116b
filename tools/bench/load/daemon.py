"""A daemon of our own on a free port, and the programs that ask it."""

import json
import math
import pathlib
import re
import subprocess
import urllib.request

from tools.bench.engines import ROOT, program

BINARY = ROOT / "build" / "denoised"
LOAD = ROOT / "build" / "load"
SCRIPTS = pathlib.Path(__file__).resolve().parent
STARTING_S = 60


def wrk_result(text):
    """What one.lua said at the end, behind wrk's own lines. Raises if a request had no good answer."""
    told = json.loads(text.splitlines()[-1])
    if told["errors"] or not told["requests"]:
        raise RuntimeError(f"wrk: {told['errors']} errors in {told['requests']} requests:\n{text}")
    return {"per_s": told["requests"] * 1e6 / told["duration_us"], "requests": told["requests"],
            **{f"{name}_ms": us / 1e3 for name, us in told["latency_us"].items()}}


class Daemon:
    """`denoised serve` from `with` to its end. Metrics are a dict, labels and all."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--listen", "127.0.0.1:0", "--log-access", "off", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)$", line.strip())
        if not found:
            self.process.kill()
            raise RuntimeError(f"the daemon does not start: {self.process.stderr.read()}")
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()

    def get(self, path):
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=STARTING_S) as answer:
            return answer.read().decode()

    def capabilities(self):
        return json.loads(self.get("/v1/capabilities"))

    def metrics(self):
        lines = (line for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        return {key.removeprefix("denoised_"): float(value)
                for key, value in (line.rsplit(" ", 1) for line in lines)}

    def load(self, requests, rate, seconds, **options):
        """Run build/load; its result. requests: {name: (weight, body)}."""
        arguments = [LOAD, "--port", self.port, "--rate", rate, "--seconds", seconds]
        for name, (weight, body) in requests.items():
            arguments += ["--request", f"{name}:{weight}:{json.dumps(body)}"]
        for key, value in options.items():
            arguments += [f"--{key}", value]
        result = program(*arguments)
        result["classes"] = {c["name"]: c for c in result["classes"]}
        return result

    def wrk(self, body, seconds, connections=64, accept="application/json", under=()):
        """Run wrk, closed loop, on one thread, by `under` where that is a command: requests a
        second and latencies. Raises if any was not a 200."""
        argv = [*under, "wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout",
                "60s", "-s", str(SCRIPTS / "one.lua"),
                f"http://127.0.0.1:{self.port}", "--", json.dumps(body), accept]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
        return wrk_result(done.stdout)
