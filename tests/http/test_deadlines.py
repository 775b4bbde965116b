"""timeout_ms: refused at once, met, or missed."""

import pytest

from .conftest import ENDLESS, read_response, wait_for
from .test_errors import check_problem

LONG = {"label": 3, "n": 64, "steps": 1000, "sampler": "ddpm", "guidance_scale": 1}


def warm(daemon):
    """What an evaluation takes is known from the first steps on."""
    assert daemon.post({"label": 1, "n": 8, "steps": 8}).status_code == 200


def test_time_enough(daemon):
    answer = daemon.post({"label": 1, "steps": 2, "timeout_ms": 3600000})
    assert answer.status_code == 200 and "timeout_ms" not in answer.json()["params"]


@pytest.mark.parametrize("value", [0, -1, 3600001, 1.5, "5", None])
def test_no_time_at_all(daemon, value):
    check_problem(daemon.post({"label": 1, "timeout_ms": value}), 400, "invalid-request",
                  "/timeout_ms")
    check_problem(daemon.get("/v1/samples/1.png?timeout_ms=5"), 400, "invalid-request",
                  "/timeout_ms")


def test_what_can_never_be_met_is_refused_at_once(start_daemon):
    daemon = start_daemon()
    warm(daemon)
    steps = daemon.metric("steps_total")
    answer = daemon.post({**LONG, "timeout_ms": 1})
    check_problem(answer, 504, "deadline-exceeded", "/timeout_ms")
    assert "Retry-After" not in answer.headers
    metrics = daemon.metrics()
    assert metrics["denoised_steps_total"] == steps and metrics["denoised_queue_jobs"] == 0
    assert metrics['denoised_jobs_total{outcome="rejected",reason="deadline"}'] == 1


def test_what_cannot_be_met_now_is_refused_at_once(start_daemon):
    daemon = start_daemon("--workers", 1)
    warm(daemon)
    metrics = daemon.metrics()
    each_ms = (1e3 * metrics["denoised_step_duration_seconds_sum"]
               / metrics["denoised_batch_evaluations_sum"])
    clients = [daemon.send_post(ENDLESS) for _ in range(3)]
    wait_for(lambda: daemon.metric("queue_jobs") == 3, "the work to be let in")
    # As much as one of them: three times its own time is too short behind three. Half as much for
    # the work already begun; the exact speed of the moment does not matter.
    timeout_ms = int(2 * 64000 * each_ms)
    answer = daemon.post({**LONG, "timeout_ms": timeout_ms})
    check_problem(answer, 503, "deadline-busy", "/timeout_ms")
    assert int(answer.headers["Retry-After"]) >= 1
    # One image is before all of them in the queue.
    one = daemon.post({"label": 1, "steps": 1, "timeout_ms": timeout_ms})
    assert one.status_code == 200
    for client in clients:
        client.close()


def test_what_is_late_is_given_up(start_daemon):
    """Nobody knows the cost before the first step, so the first request is let in."""
    daemon = start_daemon("--workers", 1)
    client = daemon.send_post({**LONG, "timeout_ms": 300})
    status, headers, body = read_response(client.makefile("rb"))
    assert status == 504 and b":deadline-exceeded" in body
    client.close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "its rows to leave")
    metrics = daemon.metrics()
    assert metrics['denoised_jobs_total{outcome="canceled",reason="deadline"}'] == 1
    assert 0 < metrics['denoised_wasted_steps_total{reason="deadline"}'] < 64000
    assert daemon.post({"label": 1, "steps": 1}).status_code == 200


def test_deadlines_come_in_any_order(start_daemon):
    daemon = start_daemon("--workers", 1)
    order = (900, 300, 600, 100, 2000, 450)
    clients = {ms: daemon.send_post({**LONG, "timeout_ms": ms}) for ms in order}
    gone = clients.pop(600)
    gone.close()
    for ms in sorted(clients):
        status, _, body = read_response(clients[ms].makefile("rb"))
        assert status in (503, 504) and b"deadline-" in body
        clients[ms].close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "all to leave")
