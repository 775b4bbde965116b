"""Everything at once: requests, jobs, streams, cancels, hang-ups, cache hits, verifications, reloads.

    make test-race SECONDS=60 [SAN=thread]

With the thread sanitizer it looks for races; without, for answers that should not be.
"""

import os
import random
import signal
import threading
import time

import requests

from .conftest import DEADLINE_S, ENDLESS, SANITIZED, wait_for

SECONDS = float(os.environ.get("MIX_SECONDS", "2"))
KEY = {"X-API-Key": "ada-0123456789abcdef"}


class Mix:
    """What the threads do, each in a loop; a method a kind of client."""

    def __init__(self, daemon):
        self.daemon, self.local, self.counts, self.faults = daemon, threading.local(), {}, []
        self.picture = self.ask("GET", "/v1/samples/7.png?seed=1&steps=1").content

    def ask(self, method, path, allowed=(200,), **more):
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
        answer = self.local.session.request(method, self.daemon.url + path, headers={**KEY, **more.pop("headers", {})},
                                            timeout=DEADLINE_S, **more)
        assert answer.status_code in allowed, answer.text
        return answer

    def samples(self, rng):
        self.ask("POST", "/v1/samples", json={"label": rng.randrange(10), "n": rng.randint(1, 4),
                                              "steps": rng.randint(1, 6)})

    def cached(self, rng):
        self.ask("GET", f"/v1/samples/{rng.randrange(3)}.png?seed=1&steps=3")

    def jobs(self, rng):
        job = self.ask("POST", "/v1/jobs", (202,), json={"label": 1, "n": 2, "steps": 4}).json()["id"]
        self.ask("GET", f"/v1/jobs/{job}?wait=60")
        self.ask("GET", f"/v1/jobs/{job}/result", (200, 410))
        self.ask("GET", f"/v1/jobs/{job}/events", (200, 410))

    def cancels(self, rng):
        job = self.ask("POST", "/v1/jobs", (202,), json=ENDLESS).json()["id"]
        if rng.random() < 0.5:
            self.ask("GET", f"/v1/jobs/{job}/events", stream=True).close()
        if rng.random() < 0.5:
            assert self.ask("POST", f"/v1/jobs/{job}/cancel").json()["status"] == "canceled"
        else:
            self.ask("DELETE", f"/v1/jobs/{job}", (204,))

    def streams(self, rng):
        stream = self.ask("POST", "/v1/samples", json={"label": 2, "n": 2, "steps": 5, "preview_every": 1},
                          headers={"Accept": "text/event-stream"}).text
        assert stream.count("event: image") == 2 and "event: completed" in stream

    def hangups(self, rng):
        body = b'{"label":3,"n":16,"steps":500,"sampler":"ddpm"}'
        with self.daemon.connect() as client:
            client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nAccept: %s\r\n"
                           b"Content-Length: %d\r\n\r\n%s" % (
                               KEY["X-API-Key"].encode(),
                               rng.choice([b"application/json", b"text/event-stream"]), len(body), body))
            if rng.random() < 0.5:
                self.ask("GET", "/livez")

    def verifications(self, rng):
        assert self.ask("POST", "/v1/verify", data=self.picture,
                        headers={"Content-Type": "image/png"}).json()["match"]

    def operators(self, rng):
        self.daemon.signal(signal.SIGHUP)
        for path in ("/metrics", "/v1/jobs?limit=5", "/v1/models", "/readyz", "/"):
            self.ask("GET", path)

    def run(self, kind, seed, end):
        rng = random.Random(seed)
        while time.monotonic() < end and not self.faults:
            try:
                getattr(self, kind)(rng)
            except Exception as fault:  # told by the main thread
                self.faults.append(fault)
            self.counts[kind, seed] = self.counts.get((kind, seed), 0) + 1


KINDS = ["samples", "samples", "cached", "cached", "jobs", "cancels", "streams", "hangups", "verifications",
         "operators"]


def test_everything_at_once(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"ada {KEY['X-API-Key']}\n")
    daemon = start_daemon("--workers", 2, "--api-keys-file", keys, "--max-jobs", 50)
    mix = Mix(daemon)
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=mix.run, args=(kind, i, end)) for i, kind in enumerate(KINDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if mix.faults:
        raise mix.faults[0]
    done = {kind: sum(n for (k, _), n in mix.counts.items() if k == kind) for kind in KINDS}
    print(f"sanitized: {SANITIZED};", done)
    assert all(done.values()), done
    for name in ("queue_rows", "queue_jobs", "workers_busy"):
        wait_for(lambda name=name: daemon.metric(name) == 0, name)
