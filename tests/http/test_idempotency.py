"""Idempotency-Key: once done, a request is not done again."""

import gzip
import uuid

import pytest
import requests

from .conftest import DEADLINE_S, wait_for
from .test_errors import check_problem

BODY = {"label": 7, "n": 2, "steps": 3}  # no seed: only a stored answer can be the same


def with_key(key, **more):
    return {"headers": {"Idempotency-Key": key, **more}}


def fresh():
    return f'"{uuid.uuid4()}"'


def test_the_stored_answer_comes_again(daemon):
    key = fresh()
    first = daemon.post(BODY, **with_key(key))
    steps = daemon.metric("steps_total")
    assert first.status_code == 200 and "Idempotency-Replayed" not in first.headers
    for spelling in (key, key.strip('"'), key + " "):
        again = daemon.post(BODY, **with_key(spelling, **{"User-Agent": "another"}))
        assert again.status_code == 200 and again.content == first.content
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
        own = ("X-Request-Id", "Date", "Idempotency-Replayed")
        assert ({k: v for k, v in again.headers.items() if k not in own}
                == {k: v for k, v in first.headers.items() if k not in own})
    assert daemon.metric("steps_total") == steps
    other = daemon.post(BODY, **with_key(fresh()))
    assert other.json()["params"]["seed"] != first.json()["params"]["seed"]


def test_a_picture_comes_again(daemon):
    key, body = fresh(), {"label": 7, "steps": 1, "scale": 4}
    answers = [daemon.post(body, **with_key(key, Accept="image/png")) for _ in range(2)]
    assert answers[0].content == answers[1].content and answers[0].content.startswith(b"\x89PNG")
    assert answers[1].headers["Content-Type"] == "image/png"
    for name in ("X-Seed", "X-Sample-Digest", "X-Model-Digest"):
        assert answers[0].headers[name] == answers[1].headers[name]


def test_it_comes_in_the_coding_of_each_request(daemon):
    key, body = fresh(), {"label": 7, "n": 16, "steps": 1}
    plain = daemon.post(body, **with_key(key, **{"Accept-Encoding": "identity"}))
    with daemon.post(body, stream=True, **with_key(key, **{"Accept-Encoding": "gzip"})) as coded:
        assert coded.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(coded.raw.read(decode_content=False)) == plain.content


def test_a_job_comes_again(daemon):
    key, url = fresh(), daemon.url + "/v1/jobs"
    answers = [requests.post(url, json=BODY, timeout=DEADLINE_S, **with_key(key)) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    other = requests.post(daemon.url + "/v1/samples", json=BODY, timeout=DEADLINE_S, **with_key(key))
    assert other.status_code == 200 and "images" in other.json()  # a key is of one route


def test_another_request_with_the_key_is_refused(daemon):
    key = fresh()
    assert daemon.post(BODY, **with_key(key)).status_code == 200
    check_problem(daemon.post({**BODY, "n": 3}, **with_key(key)), 422, "idempotency-mismatch")
    answer = daemon.post({**BODY, "n": 1}, **with_key(key, Accept="image/png"))
    check_problem(answer, 422, "idempotency-mismatch")
    assert daemon.post(BODY, **with_key(key)).headers["Idempotency-Replayed"] == "true"


def test_what_was_refused_may_be_tried_again(daemon):
    key = fresh()
    check_problem(daemon.post({"label": 99}, **with_key(key)), 400, "invalid-request")
    assert daemon.post(BODY, **with_key(key)).status_code == 200


def test_while_the_first_is_at_work_and_after_its_client_went_away(start_daemon):
    daemon = start_daemon("--workers", 1)
    client = daemon.connect()
    slow = b'{"label":3,"n":64,"steps":1000,"sampler":"ddpm"}'
    client.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
                   b"Accept: */*\r\nContent-Length: %d\r\n\r\n%s" % (len(slow), slow))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "it to be let in")
    check_problem(daemon.post(slow, **with_key("k")), 409, "idempotency-in-progress")
    check_problem(daemon.post(BODY, **with_key("k")), 422, "idempotency-mismatch")
    assert daemon.metric("queue_jobs") == 1
    client.close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "it to be given up")
    answer = wait_for(lambda: (a := daemon.post(BODY, **with_key("k"))).status_code == 200 and a,
                      "the key to be free")
    assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", '""', "a b", 'a"b', '"a', "x" * 256, "a,b", "a\\b", "é"])
def test_keys_that_are_none(daemon, key):
    check_problem(daemon.post(BODY, headers={"Idempotency-Key": key.encode()}), 400,
                  "invalid-request")


def test_it_is_for_posts(daemon):
    for _ in range(2):
        answer = daemon.get("/v1/samples/7.png?steps=1", **with_key("a key, for nothing"))
        assert answer.status_code == 200 and "Idempotency-Replayed" not in answer.headers


def test_a_key_belongs_to_its_client(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("ada ada-0123456789abcdef\nbob bob-0123456789abcdef\n")
    daemon = start_daemon("--api-keys-file", keys)
    ada, bob = ({"X-API-Key": f"{name}-0123456789abcdef"} for name in ("ada", "bob"))
    first = daemon.post(BODY, **with_key("k", **ada))
    other = daemon.post({**BODY, "n": 1}, **with_key("k", **bob))
    assert first.status_code == other.status_code == 200
    assert "Idempotency-Replayed" not in other.headers
    assert daemon.post(BODY, **with_key("k", **ada)).content == first.content


def test_answers_expire(start_daemon):
    daemon = start_daemon("--idempotency-ttl-s", 1, "--log-access", "off")
    body = {"label": 1, "steps": 1}
    first = daemon.post(body, **with_key("k")).json()["id"]
    wait_for(lambda: daemon.post(body, **with_key("k")).json()["id"] != first, "it to expire")


def test_memory_is_bounded(start_daemon):
    most = 1 << 18
    daemon = start_daemon("--idempotency-max-bytes", most, "--log-access", "off")
    body = {"label": 1, "n": 16, "steps": 1, "guidance_scale": 1}

    def post(key, body=body):
        return daemon.post(body, **with_key(key))

    first = post("first")
    assert post("first").content == first.content
    n = most // len(first.content) + 1
    for i in range(n):
        assert post(f"k{i}").status_code == 200
    assert post(f"k{n - 1}").headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in post("first").headers
    # What would push out too many others is not kept.
    large = {**body, "n": 64}
    assert len(post("large", large).content) > most // 4
    assert "Idempotency-Replayed" not in post("large", large).headers
