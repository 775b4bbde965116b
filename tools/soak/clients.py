"""What the clients of the soak do, and what they demand of the answers."""

import http.client
import json
import random
import uuid

TIMEOUT_S = 60
REFUSED = 503


class Unexpected(Exception):
    """An answer that is not as it should be."""


class Client:
    """One client: its own connection, its own choice of what to do next, by a seed."""

    def __init__(self, port, seed, pixels):
        self.port, self.random = port, random.Random(seed)
        self.pixels = pixels  # {(model digest, label, seed): digest of the pixels}, everybody's
        self.connection = None

    def ask(self, method, path, body=None, expect=(200,), **headers):
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        data = json.dumps(body) if isinstance(body, dict) else body
        self.connection.request(method, path, data,
                                {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.getheader("Connection") == "close":
            self.close()
        if answer.status not in expect:
            raise Unexpected(f"{method} {path}: {answer.status} {text[:200]}")
        return answer, text

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def compare(self, model, label, seed, digest):
        """The same model, label and seed: the same pixels, whenever and beside whatever."""
        known = self.pixels.setdefault((model, label, seed), digest)
        if known != digest:
            raise Unexpected(f"other pixels of label {label}, seed {seed}")

    def body(self, **more):
        return {"label": self.random.randrange(10), "seed": self.random.randrange(20), **more}

    # ---- what they do -----------------------------------------------------------------------

    def images(self):
        body = self.body(n=self.random.choice((1, 1, 2, 4)))
        _, text = self.ask("POST", "/v1/samples", body)
        answer = json.loads(text)
        self.compare(answer["model"]["digest"], body["label"], body["seed"],
                     answer["images"][0]["digest"])

    def fast(self):
        """The model of few steps, at one: it ends before others have had theirs."""
        body = self.body(n=self.random.choice((1, 1, 4)), model="mnist-fast", steps=1)
        _, text = self.ask("POST", "/v1/samples", body)
        answer = json.loads(text)
        self.compare(answer["model"]["digest"], body["label"], body["seed"],
                     answer["images"][0]["digest"])
        answer, _ = self.ask("GET", f"/v1/samples/{body['label']}.png?seed={body['seed']}"
                                    "&model=mnist-fast&steps=1")
        self.compare(answer.getheader("X-Model-Digest"), body["label"], body["seed"],
                     answer.getheader("X-Sample-Digest"))

    def grid(self):
        _, text = self.ask("POST", "/v1/samples",
                           {"labels": [1, 2, 3], "n": 2, "layout": "grid", "scale": 4},
                           Accept="image/png")
        if not text.startswith(b"\x89PNG"):
            raise Unexpected("no PNG")

    def picture(self):
        body = self.body()
        path = f"/v1/samples/{body['label']}.png?seed={body['seed']}"
        answer, _ = self.ask("GET", path)
        self.compare(answer.getheader("X-Model-Digest"), body["label"], body["seed"],
                     answer.getheader("X-Sample-Digest"))
        self.ask("GET", path, expect=(200, 304), If_None_Match=answer.getheader("ETag"))

    def job(self):
        name = uuid.uuid4().hex
        self.ask("POST", "/v1/jobs", self.body(n=3, id=name), expect=(202,))
        if self.random.random() < 0.3:
            self.ask("POST", f"/v1/jobs/{name}/cancel", expect=(200, 409))
        else:
            _, text = self.ask("GET", f"/v1/jobs/{name}?wait=60")
            if json.loads(text)["status"] != "succeeded":
                raise Unexpected(text[:200])
            self.ask("GET", f"/v1/jobs/{name}/images/2.png")
        self.ask("DELETE", f"/v1/jobs/{name}", expect=(204,))

    def stream(self):
        _, text = self.ask("POST", "/v1/samples", self.body(n=2, preview_every=5),
                           Accept="text/event-stream")
        if b"event: completed" not in text:
            raise Unexpected(text[-200:])

    def openai(self):
        _, text = self.ask("POST", "/v1/images/generations", {"prompt": "four sevens"})
        if len(json.loads(text)["data"]) != 4:
            raise Unexpected(text[:200])

    def verify(self):
        body = self.body()
        _, png = self.ask("GET", f"/v1/samples/{body['label']}.png?seed={body['seed']}")
        # A reload between the two makes it another model's picture: 422.
        self.ask("POST", "/v1/verify", png, expect=(200, 404, 409, 422), Content_Type="image/png")

    def mistake(self):
        self.ask("POST", "/v1/samples", {"label": 10, "steps": 0, "what": 1}, expect=(400,))
        self.ask("GET", "/nowhere", expect=(404,))

    def leave(self):
        """Ask for much, and go."""
        self.close()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("POST", "/v1/samples",
                           json.dumps(self.body(n=16, steps=500, sampler="ddpm")))
        connection.close()

    def documents(self):
        for path in ("/metrics", "/v1/models", "/v1/capabilities", "/readyz", "/openapi.json"):
            self.ask("GET", path, Accept_Encoding="gzip")

    KINDS = (images, images, images, fast, fast, grid, picture, picture, job, stream, openai, verify, mistake,
             leave, documents)

    def step(self):
        """Do one of these. Returns its name."""
        kind = self.random.choice(self.KINDS)
        kind(self)
        return kind.__name__
