"""POST /v1/images/generations: what it shares with the other routes, in OpenAI's shape. What OpenAI's
own client makes of it is in tests/openai."""

import uuid

import pytest
import requests

from .conftest import DEADLINE_S, ENDLESS, wait_for

ONE = {"prompt": "7", "num_inference_steps": 1}
LONG = {"prompt": "7", "n": 64, "num_inference_steps": 1000, "sampler": "ddpm", "guidance_scale": 1}
ADA, EVE = "ada-0123456789abcdef", "eve-0123456789abcdef"


def generate(daemon, body, **headers):
    return requests.post(daemon.url + "/v1/images/generations", json=body, headers=headers,
                         timeout=DEADLINE_S)


def check_error(answer, status, code, param):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)


# ---- Idempotency-Key --------------------------------------------------------------------------------

def test_a_request_that_is_sent_again(daemon):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, again = (generate(daemon, ONE, **key) for _ in range(2))  # the seed is the server's
    assert first.status_code == again.status_code == 200
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true" and again.content == first.content
    assert again.headers["X-Seed"] == first.headers["X-Seed"]
    check_error(generate(daemon, {**ONE, "seed": 1}, **key), 422, "idempotency_mismatch", None)
    check_error(generate(daemon, ONE, **{"Idempotency-Key": "a b"}), 400, "invalid_request", None)


def test_a_stream_cannot_be_sent_again(daemon):
    answer = generate(daemon, {**ONE, "stream": True}, **{"Idempotency-Key": str(uuid.uuid4())})
    check_error(answer, 400, "invalid_request", "Idempotency-Key")


def test_a_request_that_is_at_work(start_daemon):
    daemon = start_daemon("--workers", 1)
    client = daemon.connect()
    body = requests.Request("POST", daemon.url, json=LONG).prepare().body
    client.sendall(b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n"
                   b"Accept: */*\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "it to be let in")
    check_error(generate(daemon, LONG, **{"Idempotency-Key": "k"}), 409, "idempotency_in_progress", None)
    client.close()


# ---- timeout_ms, priority, Prefer -------------------------------------------------------------------

def test_deadlines(start_daemon):
    daemon = start_daemon("--workers", 1)
    check_error(generate(daemon, {**LONG, "timeout_ms": 200}), 504, "deadline_exceeded", None)
    # Now the cost is known.
    check_error(generate(daemon, {**LONG, "timeout_ms": 1}), 504, "deadline_exceeded", "timeout_ms")
    assert generate(daemon, {**ONE, "timeout_ms": 3600000}).status_code == 200
    for timeout_ms in (0, 1.5, "5", 3600001):
        check_error(generate(daemon, {**ONE, "timeout_ms": timeout_ms}), 400, "invalid_request",
                    "timeout_ms")
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the rows to leave")
    busy = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "work")
    metrics = daemon.metrics()
    each_ms = (1000 * metrics["denoised_step_duration_seconds_sum"]
               / metrics["denoised_batch_evaluations_sum"])
    # Too short alone, then long enough alone but not beside the other: about twice as long. The pace is the machine's.
    for part in (0.5 * 1.2**i for i in range(12)):
        answer = generate(daemon, {**LONG, "timeout_ms": int(part * 64000 * each_ms)})
        if answer.status_code != 504:
            break
    check_error(answer, 503, "deadline_busy", "timeout_ms")
    assert int(answer.headers["Retry-After"]) >= 1
    busy.close()


def test_priorities_and_quotas(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"ada {ADA} priority=high\neve {EVE} rows-per-minute=1\n")
    daemon = start_daemon("--api-keys-file", keys)
    for priority in ("high", "normal", "low", None):
        assert generate(daemon, {**ONE, "priority": priority}, Authorization=f"Bearer {ADA}").ok
    eve = {"Authorization": f"Bearer {EVE}"}
    check_error(generate(daemon, {**ONE, "priority": "high"}, **eve), 403, "priority_not_allowed", "priority")
    assert generate(daemon, {**ONE, "priority": "low"}, **eve).status_code == 200
    over = generate(daemon, ONE, **eve)
    check_error(over, 429, "rate_limit_exceeded", None)
    assert int(over.headers["Retry-After"]) >= 1 and "RateLimit" in over.headers
    check_error(generate(daemon, ONE), 401, "invalid_api_key", None)


@pytest.mark.parametrize("priority", ["urgent", 1, "", ["low"]])
def test_what_is_no_priority(daemon, priority):
    check_error(generate(daemon, {**ONE, "priority": priority}), 400, "invalid_request", "priority")


@pytest.mark.parametrize("prefer", ["respond-async", "wait=1"])
def test_prefer_is_not_applied(daemon, prefer):
    """RFC 7240: a preference that is not understood is no error, and nothing says that it applied."""
    answer = generate(daemon, ONE, Prefer=prefer)
    assert answer.status_code == 200 and "Preference-Applied" not in answer.headers
