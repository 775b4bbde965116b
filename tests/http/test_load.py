"""The queue under load: its bound, fairness, clients that leave, and shutting down."""

import os
import select
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from .conftest import BINARY, DEADLINE_S, ENDLESS, MODEL, SANITIZED, read_response, wait_for
from .test_errors import check_problem


def wait_until_sampling(daemon, jobs=1):
    wait_for(lambda: (m := daemon.metrics())["denoised_queue_jobs"] == jobs
             and m["denoised_steps_total"] > 0, "sampling to begin")


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
def test_a_client_that_leaves_frees_its_rows(start_daemon, leave):
    daemon = start_daemon("--workers", 2)
    client = daemon.send_post(ENDLESS)
    wait_until_sampling(daemon)
    if leave == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if leave == "half-close":
        client.shutdown(socket.SHUT_WR)
    else:
        client.close()
    wait_for(lambda: (m := daemon.metrics())["denoised_queue_jobs"] == 0
             and m["denoised_workers_busy"] == 0, "the rows to leave")
    before = daemon.metrics()
    done = before["denoised_evaluations_total"]
    assert done < ENDLESS["n"] * ENDLESS["steps"] / 2
    assert before["denoised_queue_rows"] == before["denoised_queue_evaluations"] == 0
    assert before['denoised_jobs_total{outcome="canceled",reason="disconnect"}'] == 1
    assert before['denoised_wasted_evaluations_total{reason="disconnect"}'] == done
    assert before["denoised_cancel_latency_seconds_count"] == 1

    # What a worker does next counts from there: nothing of the old request goes on.
    assert daemon.post({"label": 1, "steps": 3, "guidance_scale": 1}).status_code == 200
    assert daemon.metric("evaluations_total") == done + 3
    client.close()
    wait_for(lambda: [e for e in daemon.events() if e.get("status") == 499], "the access line")


def test_one_image_does_not_wait_for_many(start_daemon):
    daemon = start_daemon("--workers", 1)
    crowd = [daemon.send_post({**ENDLESS, "n": 256}) for _ in range(4)]
    wait_until_sampling(daemon, jobs=4)
    answer = daemon.post({"label": 8, "steps": 3})
    assert answer.status_code == 200
    assert daemon.metric("queue_jobs") == 4, "the crowd was done first: nothing was shown"
    for client in crowd:
        client.close()


def test_a_full_queue_refuses_with_retry_after(start_daemon):
    daemon = start_daemon("--max-queue-rows", 4, "--max-rows-per-request", 4)
    first = daemon.send_post({**ENDLESS, "n": 4})
    wait_until_sampling(daemon)
    for send in (lambda: daemon.post({"label": 1}), lambda: daemon.get("/v1/samples/1.png?seed=1")):
        answer = send()
        check_problem(answer, 503, "queue-full")
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    answer = daemon.post({"label": 1, "n": 5})  # could never be admitted: not a matter of time
    check_problem(answer, 400, "invalid-request", "/n")
    assert daemon.get("/readyz").status_code == 200
    first.close()
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the queue to empty")
    assert daemon.post({"label": 1, "steps": 1}).status_code == 200
    assert daemon.metric('jobs_total{outcome="rejected",reason="queue_full"}') == 2


def test_retry_after_grows_with_the_queue(start_daemon):
    daemon = start_daemon("--max-queue-rows", 256, "--max-rows-per-request", 256)
    clients = []
    waits = []
    for n in (8, 248):
        clients.append(daemon.send_post({**ENDLESS, "n": n}))
        wait_until_sampling(daemon, jobs=len(clients))
        answer = daemon.post({"label": 1, "n": 249 if n == 8 else 1})
        check_problem(answer, 503, "queue-full")
        waits.append(int(answer.headers["Retry-After"]))
    assert waits[1] > waits[0]
    for client in clients:
        client.close()


def test_drain_answers_what_was_accepted(start_daemon):
    daemon = start_daemon("--drain-timeout-s", DEADLINE_S)
    body = {"label": 7, "n": 4, "steps": 40 if SANITIZED else 400, "guidance_scale": 1}
    with ThreadPoolExecutor(12) as pool:
        accepted = [pool.submit(daemon.post, {**body, "seed": i}) for i in range(12)]
        wait_for(lambda: daemon.metric("queue_jobs") == 12, "all to be accepted")
        daemon.signal()
        wait_for(lambda: any(e["event"] == "draining" for e in daemon.events()), "the drain")
        probe = daemon.get("/readyz")
        check_problem(probe, 503, "draining")
        assert probe.headers["Connection"] == "close"
        assert daemon.get("/livez").status_code == 200
        refused = daemon.post({"label": 1})
        check_problem(refused, 503, "draining")
        assert int(refused.headers["Retry-After"]) >= 1
        answers = [f.result() for f in accepted]
    assert [a.status_code for a in answers] == [200] * 12
    assert all(len(a.json()["images"]) == 4 for a in answers)
    assert daemon.wait() == 0
    with pytest.raises(requests.ConnectionError):
        daemon.get("/livez")


@pytest.mark.parametrize("how", ["second signal", "time is up"])
def test_drain_ends_early(start_daemon, how):
    daemon = start_daemon("--drain-timeout-s", 1 if how == "time is up" else 3600)
    client = daemon.send_post(ENDLESS)
    wait_until_sampling(daemon)
    daemon.signal(signal.SIGINT)
    if how == "second signal":
        wait_for(lambda: any(e["event"] == "draining" for e in daemon.events()), "the drain")
        daemon.signal(signal.SIGTERM)
    status, headers, body = read_response(client.makefile("rb"))
    assert status == 503 and b"draining" in body
    assert headers["content-type"] == "application/problem+json"
    assert daemon.wait() == 0
    client.close()


def test_an_idle_daemon_stops_at_once(start_daemon):
    daemon = start_daemon()
    idle = daemon.connect()  # a connection that never asks does not hold it up
    kept = requests.Session()
    kept.get(daemon.url + "/livez", timeout=DEADLINE_S)
    daemon.signal()
    assert daemon.wait() == 0
    idle.close()
    kept.close()


def test_signals_until_the_last_moment(start_daemon):
    for _ in range(5):
        daemon = start_daemon("--workers", 1)
        while daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_signal_from_before_the_start_is_obeyed():
    """The first process of a container has no default action to end it: what comes early must wait."""
    def signaled():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    env = {k: v for k, v in os.environ.items() if not k.startswith("DENOISED_")}
    done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--model", MODEL], env=env,
                          preexec_fn=signaled, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert "listening on" not in done.stdout and "draining" in done.stderr


def test_a_stop_amid_leaving_clients(start_daemon):
    """Clients come and go while the daemon stops: it must end clean."""
    daemon = start_daemon("--drain-timeout-s", 1)
    clients = [daemon.send_post({**ENDLESS, "n": 1 + i % 3}) for i in range(30)]
    wait_until_sampling(daemon, jobs=30)
    for client in clients[::2]:
        client.close()
    daemon.signal()
    for client in clients[1::2]:
        readable, _, _ = select.select([client], [], [], DEADLINE_S)
        assert readable
        client.close()
    assert daemon.wait() == 0


def test_many_clients_at_once(daemon):
    def ask(i):
        answer = daemon.get(f"/v1/samples/{i % 10}.png?seed={i % 7}&steps={1 + i % 3}")
        return answer.status_code, (i % 10, i % 7, i % 3), answer.headers.get("X-Sample-Digest")

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(300)))
    assert all(status == 200 for status, _, _ in answers)
    seen = {}
    for _, key, digest in answers:
        assert seen.setdefault(key, digest) == digest
