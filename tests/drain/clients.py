"""Clients that keep a daemon busy in every way until it is gone, and remember what came of each request."""

import http.client
import itertools
import json
import random
import threading

from tests.http.conftest import DEADLINE_S, SANITIZED

# Of each image, at most. A sanitizer's build is that much slower.
MAX_STEPS = 4 if SANITIZED else 30

# What a client may see of a request that the daemon has not taken.
NOT_TAKEN = (ConnectionError, http.client.RemoteDisconnected, BrokenPipeError)


class Outcome:
    """One request: its answer, whole; or why there is none."""

    def __init__(self, request_id, path):
        self.request_id, self.path = request_id, path
        self.status, self.body, self.failure = None, b"", None
        self.has_begun = False  # a part of the answer has come

    def __repr__(self):
        return f"{self.request_id} {self.path}: {self.status} {self.failure!r} {self.body[-200:]!r}"


class Client(threading.Thread):
    """Asks for one thing after the other, as `seed` has it, until the daemon takes nothing more."""

    ids = itertools.count()

    def __init__(self, address, seed):
        super().__init__(daemon=True)
        self.address, self.random = address, random.Random(seed)
        self.name = f"{next(Client.ids)}"
        self.outcomes = []
        self.connection = None

    def run(self):
        kept = self.random.random() < 0.5
        while self.act() and not self.outcomes[-1].failure:
            if not kept:
                self.leave()
        self.leave()

    def leave(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def ask(self, method, path, body=None, **headers):
        """The outcome of one request, which is also kept."""
        outcome = Outcome(f"{self.name}-{len(self.outcomes)}", path)
        self.outcomes.append(outcome)
        headers["X-Request-Id"] = outcome.request_id
        try:
            if not self.connection or not self.connection.sock:
                self.connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)
            self.connection.request(method, path, body and json.dumps(body), headers)
            answer = self.connection.getresponse()
            outcome.has_begun = True
            outcome.body = answer.read()
            outcome.status = answer.status
        except (OSError, http.client.HTTPException) as e:
            outcome.failure = e
        return outcome

    def work(self):
        r = self.random
        return {"label": r.randrange(10), "n": r.randrange(1, 7), "steps": r.randrange(1, MAX_STEPS),
                "seed": r.randrange(1 << 50), "guidance_scale": r.choice([1, 2])}

    def act(self):
        """One thing to do; False at the end."""
        kind = self.random.choices(["picture", "samples", "stream", "job", "openai"], [4, 4, 3, 3, 1])[0]
        getattr(self, kind)()
        return True

    def picture(self):
        r = self.random
        self.ask("GET", f"/v1/samples/{r.randrange(10)}.png?seed={r.randrange(1 << 50)}&steps={r.randrange(1, MAX_STEPS)}")

    def samples(self):
        self.ask("POST", "/v1/samples", self.work())

    def openai(self):
        self.ask("POST", "/v1/images/generations", {"prompt": str(self.random.randrange(10))})

    def stream(self):
        self.ask("POST", "/v1/samples", self.work(), Accept="text/event-stream")

    def job(self):
        made = self.ask("POST", "/v1/jobs", self.work())
        if made.status and made.status < 300:
            path = "/v1/jobs/" + json.loads(made.body)["id"]
            self.ask("GET", path + self.random.choice(["?wait=60", "/events"]))


class Prober(Client):
    """Looks at /readyz all the time, as a load balancer does."""

    def act(self):
        self.ask("GET", "/readyz")
        return True


class Idler(Client):
    """Asks once, and keeps the connection without a word until the daemon closes it."""

    def act(self):
        self.ask("GET", "/livez")
        if self.outcomes[-1].status:
            try:
                self.rest = self.connection.sock.recv(1) if self.connection.sock else b""
            except ConnectionError as e:
                self.rest = e
        return False
