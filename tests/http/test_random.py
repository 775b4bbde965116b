"""A thousand requests drawn at random, right and wrong: none may hurt the daemon."""

import json
import random

import requests

from .conftest import DEADLINE_S

FIELDS = {
    "label": [0, 7, 9, "seven", 10, -1, "x", None, 3.5, [1], True],
    "labels": [[1], [1, 2, "nine"], [], [99], "x", [[]], [None, 1]],
    "n": [1, 2, 3, 0, 257, "1", 1e9, -0.0],
    "seed": [0, 1, 2**53 - 1, 2**53, -1, 0.1, "1", None],
    "index": [0, 5, 2**32 - 1, 2**32, -1],
    "steps": [1, 2, 3, 0, 1001, "1"],
    "sampler": ["ddpm", "ddim", "dpmpp_2m", "euler", 1],
    "guidance_scale": [0, 1, 1.5, 20, 20.1, -1, "1"],
    "eta": [0, 0.5, 1, 1.1, None],
    "model": ["mnist", "x", 1],
    "format": ["png", "gif"],
    "layout": ["list", "grid", "x"],
    "scale": [1, 2, 32, 33],
    "columns": [1, 2, 99],
    "junk": [1, {"a": {"b": []}}],
}
HEADERS = [{}, {"Accept": "image/png"}, {"Accept": "text/html"}, {"Content-Type": "text/plain"},
           {"X-Request-Id": "r"}, {"X-Request-Id": "!"}, {"Accept": ",,;q=,"},
           {"If-None-Match": '"'}, {"Accept": "*/*;q=0.0001"}, {"Content-Type": ";"}]


def random_body(rng):
    good = rng.random() < 0.5
    body = {"label": rng.randrange(10), "steps": rng.randint(1, 3)}
    for name in rng.sample(sorted(FIELDS), rng.randint(0, 4)):
        body[name] = FIELDS[name][0] if good else rng.choice(FIELDS[name])
    if good and "labels" in body:
        del body["label"]
    if good:
        for name in ("junk", "columns", "eta"):
            body.pop(name, None)
    data = json.dumps(body).encode()
    if rng.random() < 0.15:
        data = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            where = rng.randrange(len(data))
            what = rng.randrange(3)
            if what == 0:
                data[where] = rng.randrange(256)
            elif what == 1:
                data[where:where] = rng.choice([b'"', b"{", b"\\u", b"\xff", b"9" * 30, b"\0"])
            else:
                del data[where:where + rng.randint(1, 5)]
                data = data or bytearray(b" ")
        data = bytes(data)
    return data


def test_a_thousand_random_requests(daemon):
    rng = random.Random(20240607)
    counts = {}
    with requests.Session() as session:
        for _ in range(1000):
            headers = rng.choice(HEADERS) if rng.random() < 0.3 else {}
            if rng.random() < 0.8:
                answer = session.post(daemon.url + "/v1/samples", data=random_body(rng),
                                      headers=headers, timeout=DEADLINE_S)
            else:
                query = {name: str(rng.choice(FIELDS[name]))
                         for name in rng.sample(sorted(FIELDS), rng.randint(0, 3))}
                query.setdefault("steps", "2")
                label = rng.choice(["0", "7", "seven", "x", "%", "07", "%ff", "..", "7%2e"])
                answer = session.request(rng.choice(["GET", "GET", "HEAD", "PUT"]),
                                         f"{daemon.url}/v1/samples/{label}.png", params=query,
                                         headers=headers, timeout=DEADLINE_S)
            counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
            assert answer.status_code in (200, 304, 400, 404, 405, 406, 415), answer.text
            if answer.status_code >= 400 and answer.content:
                assert answer.json()["status"] == answer.status_code
    assert counts[200] > 200 and counts[400] > 200, counts
    assert daemon.get("/readyz").status_code == 200
    assert daemon.process.poll() is None
