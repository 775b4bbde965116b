"""Stored jobs: their states, ids, results, ends, and many of them at once."""

import base64
import io
import json
import os
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image

from .conftest import DEADLINE_S, ENDLESS, Hold, preloaded, read_response, wait_for
from .test_errors import check_problem

SMALL = {"label": 7, "steps": 2, "guidance_scale": 1}


def create(daemon, body, **more):
    return requests.post(daemon.url + "/v1/jobs", json=body, timeout=DEADLINE_S, **more)


def act(daemon, method, path):
    return requests.request(method, daemon.url + path, timeout=DEADLINE_S)


def cancel(daemon, job_id):
    return act(daemon, "POST", f"/v1/jobs/{job_id}/cancel")


def finish(daemon, job_id):
    """The job once it has ended."""
    def ended():
        answer = daemon.get(f"/v1/jobs/{job_id}?wait=60")
        return answer.json()["status"] not in ("queued", "running") and answer.json()
    return wait_for(ended, "the job's end")


def wait_until(daemon, job_id, status):
    return wait_for(lambda: (j := daemon.get(f"/v1/jobs/{job_id}").json())["status"] == status and j,
                    status)


def test_a_job_draws_what_the_sync_route_draws(daemon):
    body = {"labels": [7, "two"], "n": 2, "seed": 42, "steps": 3}
    answer = create(daemon, body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == job["links"]["self"] == "/v1/jobs/" + job["id"]
    assert job["status"] in ("queued", "running") and job["params"]["seed"] == 42
    done = finish(daemon, job["id"])
    assert done["status"] == "succeeded"
    assert done["created"] <= done["started"] <= done["finished"] < done["expires"]
    assert done["progress"] == {"step": 3, "steps": 3, "images_done": 4, "images": 4, "eta_ms": 0}

    expected = daemon.post(body).json()
    result = daemon.get(done["links"]["result"])
    assert result.json()["images"] == expected["images"]
    assert result.headers["X-Seed"] == "42"
    for i, image in enumerate(expected["images"]):
        assert done["images"][i]["digest"] == image["digest"]
        one = daemon.get(done["images"][i]["url"])
        assert one.content == base64.b64decode(image["b64"])
        assert one.headers["X-Sample-Digest"] == image["digest"]
    grid = daemon.get(done["links"]["grid"])
    assert grid.content == daemon.post({**body, "layout": "grid"},
                                       headers={"Accept": "image/png"}).content
    check_problem(daemon.get(done["links"]["result"], headers={"Accept": "image/png"}), 406,
                  "not-acceptable")
    check_problem(daemon.get(f"/v1/jobs/{job['id']}/images/4.png"), 404, "not-found", "/i")
    check_problem(daemon.get(f"/v1/jobs/{job['id']}/images/x.png"), 404, "not-found", "/i")


def test_a_grid_job(daemon):
    body = {"labels": [1, 2, 3], "seed": 3, "steps": 2, "layout": "grid", "columns": 3, "scale": 2}
    job = finish(daemon, create(daemon, body).json()["id"])
    sheet = daemon.post(body, headers={"Accept": "image/png"})
    assert daemon.get(job["links"]["grid"]).content == sheet.content
    assert daemon.get(job["links"]["result"], headers={"Accept": "image/png"}).content == sheet.content
    one = daemon.get(job["images"][1]["url"])
    assert Image.open(io.BytesIO(one.content)).size == (56, 56)
    plain = {**body, "layout": "list"}
    del plain["columns"]
    assert one.content == base64.b64decode(daemon.post(plain).json()["images"][1]["b64"])


def test_an_id_of_the_clients_own(daemon):
    body = {**SMALL, "id": "twice", "seed": 1}
    first = create(daemon, body)
    assert first.status_code == 202 and first.json()["id"] == "twice"
    again = create(daemon, body)
    assert again.status_code == 200 and again.json()["created"] == first.json()["created"]
    assert again.headers["Location"] == first.headers["Location"]
    check_problem(create(daemon, {**body, "seed": 2}), 409, "job-exists", "/id")
    finish(daemon, "twice")
    assert create(daemon, body).json()["status"] == "succeeded"
    # Once it is deleted the id is free.
    assert act(daemon, "DELETE", "/v1/jobs/twice").status_code == 204
    check_problem(act(daemon, "DELETE", "/v1/jobs/twice"), 404, "job-not-found", "/id")
    assert create(daemon, {**body, "seed": 2}).status_code == 202
    act(daemon, "DELETE", "/v1/jobs/twice")


def test_the_seed_is_drawn_once(daemon):
    body = {**SMALL, "id": "seedless"}
    seeds = {create(daemon, body).json()["params"]["seed"] for _ in range(3)}
    assert len(seeds) == 1
    act(daemon, "DELETE", "/v1/jobs/seedless")


@pytest.mark.parametrize("body, pointer", [
    ({**SMALL, "id": ""}, "/id"), ({**SMALL, "id": "a/b"}, "/id"), ({**SMALL, "id": "x" * 65}, "/id"),
    ({**SMALL, "id": "\u00e9"}, "/id"), ({**SMALL, "id": 1}, "/id"), ({"id": "x"}, "/label"),
    ({**SMALL, "wait": 1}, "/wait")])
def test_bad_bodies(daemon, body, pointer):
    check_problem(create(daemon, body), 400, "invalid-request", pointer)


def test_the_sync_route_has_no_id(daemon):
    check_problem(daemon.post({**SMALL, "id": "x"}), 400, "invalid-request", "/id")


@pytest.mark.parametrize("query, pointer", [
    ("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=x", "/limit"), ("cursor=x", "/cursor"),
    ("cursor=-1", "/cursor"), ("status=done", "/status"), ("page=2", "/page")])
def test_bad_list_queries(daemon, query, pointer):
    check_problem(daemon.get("/v1/jobs?" + query), 400, "invalid-request", pointer)


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=1.5", "wait="])
def test_bad_waits(daemon, query):
    check_problem(daemon.get("/v1/jobs/x?" + query), 400, "invalid-request", "/wait")


def test_unknown_jobs(daemon):
    for path in ("", "/result", "/grid.png", "/images/0.png"):
        check_problem(daemon.get("/v1/jobs/nobody" + path), 404, "job-not-found", "/id")
    check_problem(cancel(daemon, "nobody"), 404, "job-not-found", "/id")
    check_problem(daemon.get("/v1/jobs/%00"), 404, "job-not-found", "/id")
    answer = act(daemon, "PUT", "/v1/jobs/nobody")
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, HEAD, DELETE, OPTIONS"


def test_states(start_daemon):
    daemon = start_daemon("--workers", 1, "--max-batch", 2)
    first = create(daemon, {**ENDLESS, "id": "first", "n": 1}).json()
    wait_until(daemon, "first", "running")
    # Larger than the first, so it waits behind it.
    second = create(daemon, {**ENDLESS, "id": "second", "n": 256}).json()
    assert second["status"] == "queued" and second["started"] is None
    assert second["progress"]["eta_ms"] > 0
    for path in ("result", "grid.png", "images/0.png"):
        check_problem(daemon.get("/v1/jobs/first/" + path), 409, "job-not-done")

    # Canceling the one that waits does not touch the other.
    answer = cancel(daemon, "second")
    assert answer.json()["status"] == "canceled"
    running = wait_for(lambda: (j := daemon.get("/v1/jobs/first").json())["progress"]["step"] > 0 and j,
                       "a step")
    assert running["progress"]["eta_ms"] > 0 and running["finished"] is None

    # One that is running ends within a step, and a second time is as good.
    steps = daemon.metric("steps_total")
    for _ in range(2):
        answer = cancel(daemon, "first")
        assert answer.status_code == 200 and answer.json()["status"] == "canceled"
    wait_for(lambda: daemon.metric("workers_busy") == 0, "the worker to rest")
    assert daemon.metric("steps_total") < first["progress"]["steps"] and steps > 0
    m = daemon.metrics()
    assert m['denoised_jobs_total{outcome="canceled",reason="cancel"}'] == 2
    assert m["denoised_queue_jobs"] == m["denoised_queue_rows"] == 0
    check_problem(daemon.get("/v1/jobs/first/result"), 409, "job-not-done")

    create(daemon, {**SMALL, "id": "third"})
    assert finish(daemon, "third")["status"] == "succeeded"
    assert cancel(daemon, "third").json()["status"] == "succeeded"
    for status, ids in (("canceled", ["second", "first"]), ("succeeded", ["third"]), ("queued", []),
                        ("expired", [])):
        listed = daemon.get("/v1/jobs?status=" + status)
        assert [j["id"] for j in listed.json()["data"]] == ids


def test_eta_of_jobs_that_wait(start_daemon):
    daemon = start_daemon("--workers", 1, "--max-batch", 2)
    create(daemon, {**ENDLESS, "id": "first", "n": 64})
    wait_until(daemon, "first", "running")
    for name in ("second", "third", "fourth"):  # of about the same size, so they wait behind it
        create(daemon, {**ENDLESS, "id": name, "n": 33})

    def waiting():
        jobs = daemon.get("/v1/jobs?status=queued").json()["data"]
        return {job["id"]: job["progress"]["eta_ms"] for job in jobs}

    told = waiting()
    assert 0 < told["second"] < told["third"] < told["fourth"]

    # As what is before them shrinks, the last has more and more of its time to wait for the others
    # that wait. Within one answer, or a change of pace would count as well.
    def last_to_third():
        now = waiting()
        return now["fourth"] / now["third"]

    told = last_to_third()
    wait_for(lambda: last_to_third() > told + 1e-6, "steps of the first to count no more")
    told = last_to_third()
    cancel(daemon, "second")
    assert last_to_third() > told + 0.01
    for name in ("first", "third", "fourth"):
        cancel(daemon, name)


def test_pages(start_daemon):
    daemon = start_daemon()
    ids = [create(daemon, SMALL).json()["id"] for _ in range(7)]
    seen, cursor, sizes = [], "", []
    while cursor is not None:
        page = daemon.get("/v1/jobs?limit=3" + (f"&cursor={cursor}" if cursor else "")).json()
        seen += [j["id"] for j in page["data"]]
        sizes.append(len(page["data"]))
        cursor = page["next_cursor"]
        if len(sizes) == 1:  # what comes and goes in between changes no later page
            create(daemon, SMALL)
            act(daemon, "DELETE", "/v1/jobs/" + seen[-1])
    assert seen == ids[::-1] and sizes == [3, 3, 1]


def test_long_poll_ends_with_the_job(start_daemon):
    daemon = start_daemon("--workers", 1)
    create(daemon, {**ENDLESS, "id": "long"})
    with ThreadPoolExecutor(4) as pool:
        polls = [pool.submit(daemon.get, "/v1/jobs/long?wait=60") for _ in range(3)]
        left = daemon.connect()
        left.sendall(b"GET /v1/jobs/long?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: daemon.metric("http_connections") >= 5, "the polls to begin")
        left.close()
        wait_for(lambda: [e for e in daemon.events() if e.get("status") == 499], "the one that left")
        assert not any(p.done() for p in polls)
        cancel(daemon, "long")
        assert {p.result().json()["status"] for p in polls} == {"canceled"}
        # Nothing to wait for any more.
        assert daemon.get("/v1/jobs/long?wait=60").json()["status"] == "canceled"


def test_long_poll_ends_with_its_time_and_with_deletion(start_daemon):
    daemon = start_daemon("--workers", 1)
    create(daemon, {**ENDLESS, "id": "long"})
    assert daemon.get("/v1/jobs/long?wait=1").json()["status"] == "running"
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(daemon.get, "/v1/jobs/long?wait=60")
        wait_for(lambda: daemon.metric("http_connections") >= 2, "the poll to begin")
        assert act(daemon, "DELETE", "/v1/jobs/long").status_code == 204
        assert poll.result().json()["status"] in ("canceled", "running") or \
            poll.result().status_code == 404
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to leave")
    check_problem(daemon.get("/v1/jobs/long"), 404, "job-not-found")


def test_expiry(start_daemon):
    daemon = start_daemon("--job-ttl-s", 1)
    body = {**SMALL, "id": "short"}
    create(daemon, body)
    paths = [f"/v1/jobs/short{p}" for p in ("", "/result", "/grid.png", "/images/0.png")]
    wait_for(lambda: daemon.get("/v1/jobs/short").status_code == 410, "expiry")
    # Then the id is forgotten as well; until then it says that it was there.
    statuses = {daemon.get(p).status_code for p in paths} | {create(daemon, body).status_code}
    assert statuses <= {410, 404, 202}
    wait_for(lambda: daemon.get("/v1/jobs/short").status_code != 410, "the id to be forgotten")


def test_the_oldest_finished_job_makes_room(start_daemon):
    daemon = start_daemon("--max-jobs", 2)
    for name in ("a", "b"):
        create(daemon, {**SMALL, "id": name})
        finish(daemon, name)
    assert create(daemon, {**ENDLESS, "id": "c"}).status_code == 202
    check_problem(daemon.get("/v1/jobs/a"), 410, "job-expired")
    check_problem(create(daemon, {**SMALL, "id": "a"}), 410, "job-expired")
    assert daemon.get("/v1/jobs/b").status_code == 200
    listed = daemon.get("/v1/jobs?status=expired").json()["data"]
    assert [j["id"] for j in listed] == ["a"] and listed[0]["status"] == "expired"
    assert create(daemon, {**ENDLESS, "id": "d"}).status_code == 202
    # Both are at work: there is no room, and it is said when there may be.
    answer = create(daemon, SMALL)
    check_problem(answer, 503, "jobs-full")
    assert int(answer.headers["Retry-After"]) >= 1
    assert daemon.post(SMALL).status_code == 200
    cancel(daemon, "c")
    wait_for(lambda: create(daemon, {**SMALL, "id": "e"}).status_code in (200, 202), "room")
    cancel(daemon, "d")


def test_a_refused_job_costs_nobody_a_result(start_daemon):
    daemon = start_daemon("--max-jobs", 2, "--max-queue-rows", 64, "--max-rows-per-request", 64)
    create(daemon, {**SMALL, "id": "done"})
    finish(daemon, "done")
    create(daemon, {**ENDLESS, "id": "long"})
    check_problem(create(daemon, SMALL), 503, "queue-full")
    assert daemon.get("/v1/jobs/done/result").status_code == 200
    cancel(daemon, "long")


def test_bytes_are_bounded(start_daemon):
    daemon = start_daemon("--max-jobs-bytes", 200000)
    for i in range(4):  # each about 64 * (784 + 88) bytes of pixels and records, and the PNGs
        create(daemon, {"id": f"j{i}", "label": i, "n": 64, "steps": 1, "guidance_scale": 1})
        finish(daemon, f"j{i}")
    statuses = [daemon.get(f"/v1/jobs/j{i}").status_code for i in range(4)]
    assert statuses[0] == 410 and statuses[3] == 200 and statuses == sorted(statuses)[::-1]
    check_problem(create(daemon, {"label": 1, "n": 256}), 503, "jobs-full")


@pytest.mark.parametrize("prefer", ["respond-async", "respond-async, wait=0", "x=\"a,b\", RESPOND-ASYNC",
                                    "wait=0"])
def test_respond_async(daemon, prefer):
    answer = daemon.post({**SMALL, "seed": 4}, headers={"Prefer": prefer, "Accept": "image/png"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    job = finish(daemon, answer.json()["id"])
    assert answer.headers["Location"] == job["links"]["self"]
    assert job["images"][0]["digest"] == daemon.post({**SMALL, "seed": 4}).json()["images"][0]["digest"]


@pytest.mark.parametrize("prefer", [None, "wait=60", "respond-async, wait=60", "handling=strict", "wait",
                                    "wait=x", "respond-async=1x"])
def test_a_wait_that_is_long_enough(daemon, prefer):
    before = len(daemon.get("/v1/jobs?limit=100").json()["data"])
    answer = daemon.post(SMALL, headers={"Prefer": prefer} if prefer else {})
    assert answer.status_code == 200 and "Preference-Applied" not in answer.headers
    assert len(daemon.get("/v1/jobs?limit=100").json()["data"]) == before


def test_a_wait_that_is_too_short(start_daemon):
    daemon = start_daemon("--workers", 2)
    answer = daemon.post(ENDLESS, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202 and answer.headers["Preference-Applied"] == "wait=1"
    job = answer.json()
    assert job["status"] == "running" and job["progress"]["images"] == ENDLESS["n"]
    assert daemon.metric("queue_jobs") == 1
    cancel(daemon, job["id"])
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the job to end")


def test_leaving_during_a_wait_cancels(start_daemon):
    daemon = start_daemon()
    s = daemon.connect()
    body = b'{"label":1,"n":64,"steps":1000,"sampler":"ddpm"}'
    s.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\nContent-Length: %d\r\n\r\n%s"
              % (len(body), body))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the job")
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the cancellation")
    assert daemon.get("/v1/jobs").json()["data"] == []


def test_jobs_are_finished_by_a_drain(start_daemon):
    daemon = start_daemon("--drain-timeout-s", DEADLINE_S)
    for i in range(5):
        create(daemon, {**SMALL, "n": 8, "id": str(i)})
    with ThreadPoolExecutor(1) as pool:
        create(daemon, {**ENDLESS, "n": 2, "steps": 200, "id": "last"})
        poll = pool.submit(daemon.get, "/v1/jobs/last?wait=60")
        wait_for(lambda: daemon.metric("http_connections") >= 2, "the poll to begin")
        daemon.signal()
        assert poll.result().json()["status"] == "succeeded"
    assert daemon.wait() == 0


def test_a_stop_with_jobs_of_every_kind(start_daemon):
    daemon = start_daemon("--drain-timeout-s", 0, "--workers", 1)
    create(daemon, {**SMALL, "id": "done"})
    finish(daemon, "done")
    for i in range(3):
        create(daemon, {**ENDLESS, "id": str(i)})
    cancel(daemon, "1")
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(daemon.get, "/v1/jobs/2?wait=60")
        wait_for(lambda: daemon.metric("http_connections") >= 2, "the poll to begin")
        daemon.signal()
        job = poll.result().json()
        assert job["status"] == "failed" and job["error"]["type"] == "urn:denoised:problem:draining"
    assert daemon.wait() == 0


def test_two_hundred_jobs_and_random_cancels(start_daemon):
    daemon = start_daemon("--workers", 2)
    rng = random.Random(11)
    lock = threading.Lock()
    bodies = {f"job-{i}": {"label": i % 10, "n": rng.randint(1, 3), "steps": rng.randint(1, 4),
                           "guidance_scale": rng.choice([1, 2]), "seed": i} for i in range(200)}
    canceled = set(rng.sample(sorted(bodies), 80))
    deleted = set(rng.sample(sorted(set(bodies) - canceled), 20))
    for name in sorted(canceled)[::4]:
        bodies[name]["steps"] = 500  # still running when its cancel comes

    def run(name):
        assert create(daemon, {**bodies[name], "id": name}).status_code == 202
        if name in canceled:
            with lock:
                other = rng.choice(sorted(canceled))
            for target in (name, other, name):
                assert cancel(daemon, target).status_code in (200, 404)
        if name in deleted:
            assert act(daemon, "DELETE", f"/v1/jobs/{name}").status_code == 204
            return name, None
        return name, finish(daemon, name)

    with ThreadPoolExecutor(16) as pool:
        jobs = dict(pool.map(run, bodies))
    for name, job in jobs.items():
        if name in deleted:
            assert daemon.get("/v1/jobs/" + name).status_code == 404
        elif name not in canceled:
            assert job["status"] == "succeeded", name
        else:
            assert job["status"] in ("canceled", "succeeded")
        if job and job["status"] == "succeeded":
            digests = [i["digest"] for i in job["images"]]
            expected = daemon.post(bodies[name]).json()["images"]
            assert digests == [i["digest"] for i in expected], name
    assert any(job and job["status"] == "canceled" for job in jobs.values())
    m = daemon.metrics()
    assert m["denoised_queue_jobs"] == m["denoised_queue_rows"] == m["denoised_queue_evaluations"] == 0


def test_with_keys_each_client_has_its_own_jobs(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    ada, bob = ({"X-API-Key": name * 6} for name in ("ada", "bob"))
    keys.write_text("ada adaadaadaadaadaada rows-in-flight=64\nbob bobbobbobbobbobbob\n")
    daemon = start_daemon("--api-keys-file", keys)
    check_problem(create(daemon, SMALL), 401, "unauthorized")
    assert create(daemon, {**ENDLESS, "id": "mine"}, headers=ada).status_code == 202
    # The images of a job count as in flight as long as it has not ended.
    check_problem(create(daemon, SMALL, headers=ada), 429, "quota-exceeded")
    for method, path in (("GET", ""), ("GET", "/result"), ("POST", "/cancel"), ("DELETE", "")):
        answer = requests.request(method, daemon.url + "/v1/jobs/mine" + path, headers=bob,
                                  timeout=DEADLINE_S)
        check_problem(answer, 404, "job-not-found")
    assert create(daemon, {**SMALL, "id": "mine"}, headers=bob).status_code == 202
    for headers, n in ((ada, ENDLESS["n"]), (bob, 1)):
        (job,) = daemon.get("/v1/jobs", headers=headers).json()["data"]
        assert job["params"]["n"] == n
    answer = requests.post(daemon.url + "/v1/jobs/mine/cancel", headers=ada, timeout=DEADLINE_S)
    assert answer.json()["status"] == "canceled"
    wait_for(lambda: create(daemon, SMALL, headers=ada).status_code == 202, "the quota")


def test_a_job_that_is_late_fails(start_daemon):
    daemon = start_daemon("--workers", 1)
    # Before its first step the server knows no cost, and so cannot refuse it at once.
    answer = create(daemon, {**ENDLESS, "id": "late", "timeout_ms": 300})
    assert answer.status_code == 202
    job = finish(daemon, "late")
    assert job["status"] == "failed"
    assert job["error"]["type"] == "urn:denoised:problem:deadline-exceeded"
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the rows to leave")


# ---- what others share ----------------------------------------------------------------------------

def test_an_image_can_be_had_while_others_are_drawn(start_daemon):
    daemon = start_daemon("--workers", 1, "--max-batch", 2)
    body = {"label": 4, "n": 64, "steps": 100, "seed": 11, "guidance_scale": 1}
    expected = daemon.post({**body, "n": 1}).json()["images"][0]
    for job_id, more in (("list", {}), ("grid", {"layout": "grid"})):
        path = f"/v1/jobs/{job_id}/images/"
        create(daemon, {**body, **more, "id": job_id})
        check_problem(daemon.get(path + "63.png"), 409, "job-not-done")
        check_problem(daemon.get(path + "64.png"), 404, "not-found", "/i")
        wait_for(lambda: daemon.get(f"/v1/jobs/{job_id}").json()["progress"]["images_done"] > 2, "an image")
        one = daemon.get(path + "0.png")
        assert daemon.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
        assert one.headers["X-Sample-Digest"] == expected["digest"]
        assert one.content == base64.b64decode(expected["b64"])
        assert "Server-Timing" not in one.headers
        assert requests.head(daemon.url + path + "0.png", timeout=DEADLINE_S).status_code == 200
        check_problem(daemon.get(path + "63.png"), 409, "job-not-done")
        cancel(daemon, job_id)
        check_problem(daemon.get(path + "0.png"), 409, "job-not-done")


def test_cancelling_one_leaves_its_equals_alone(start_daemon):
    """Jobs, requests and pictures of the same parameters and seed: each has what it asked for."""
    daemon = start_daemon("--workers", 1, "--max-batch", 2)
    body = {"label": 4, "n": 1, "steps": 400, "seed": 12, "guidance_scale": 1}
    for name in ("one", "other"):
        create(daemon, {**body, "id": name})
    request = daemon.send_post(body)
    gets = [daemon.connect() for _ in range(3)]
    for i, client in enumerate(gets):
        client.sendall(b"GET /v1/samples/4.png?steps=400&seed=12&guidance_scale=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        # The first has it drawn, the others join it.
        wait_for(lambda: daemon.metric("queue_jobs") == 4 and daemon.metric("http_connections") >= 3 + i,
                 "it to be let in")
    watched = requests.get(daemon.url + "/v1/jobs/one/events", stream=True, timeout=DEADLINE_S)
    assert cancel(daemon, "one").json()["status"] == "canceled"
    assert b"event: error" in watched.raw.read()
    gets[0].close()  # the one that the others had joined
    answers = [read_response(client.makefile("rb")) for client in [request, *gets[1:]]]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert answers[1][2] == answers[2][2] == base64.b64decode(json.loads(answers[0][2])["images"][0]["b64"])
    other = wait_until(daemon, "other", "succeeded")
    assert other["images"][0]["digest"] == json.loads(answers[0][2])["images"][0]["digest"]
    for client in (request, *gets[1:]):
        client.close()


def test_one_request_ends_anothers_wait(start_daemon):
    """Without a third that would wake the daemon, and before any connection's time is up."""
    daemon = start_daemon("--workers", 1, "--keepalive-timeout-s", 3600)
    create(daemon, {**ENDLESS, "id": "runs"})
    create(daemon, {**ENDLESS, "n": 256, "id": "waits"})
    wait_for(lambda: daemon.get("/v1/jobs/runs").json()["status"] == "running", "it to run")
    poll, other = daemon.connect(), daemon.connect()
    poll.sendall(b"GET /v1/jobs/waits?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n")
    other.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_response(other.makefile("rb"))[0] == 200
    other.sendall(b"POST /v1/jobs/waits/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    status, _, body = read_response(poll.makefile("rb"))
    assert status == 200 and json.loads(body)["status"] == "canceled"
    poll.close()
    other.close()
    cancel(daemon, "runs")


def crowd(daemon, pipe):
    """A result whose encoding is held at the pipe, the hold, and more who want others than may wait for it."""
    finish(daemon, create(daemon, {**SMALL, "id": "slow"}).json()["id"])
    sheet = {"label": 7, "n": 80, "steps": 1, "guidance_scale": 1, "layout": "grid"}
    job = finish(daemon, create(daemon, sheet).json()["id"])

    def ask(path):
        client = daemon.connect()
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return client

    hold = Hold(pipe)  # from here on
    slow = ask("/v1/jobs/slow/grid.png")
    hold.await_daemon()
    os.unlink(pipe)  # nothing else waits for it
    return slow, hold, [ask(f"/v1/jobs/{job['id']}/images/{i}.png") for i in range(80)]


def has_refused(daemon):
    return any(e["event"] == "request" and e["status"] == 503 for e in daemon.events())


def test_renderings_are_bounded(start_daemon, tmp_path):
    """One is made at a time, some wait; more are refused, until those that wait leave."""
    pipe = tmp_path / "hold"
    daemon = start_daemon("--workers", "1", variables=preloaded(HOLD_DIGIT=str(pipe)))
    slow, hold, clients = crowd(daemon, pipe)
    wait_for(lambda: has_refused(daemon), "a refusal")
    status, headers, body = read_response(clients[-1].makefile("rb"))
    assert status == 503 and json.loads(body)["type"] == "urn:denoised:problem:queue-full"
    assert headers["retry-after"] == "1"
    assert not any(value for name, value in daemon.metrics().items()
                   if name.startswith('denoised_jobs_total{outcome="rejected"'))
    assert daemon.post(SMALL).status_code == 200  # steps have a thread of their own
    hold.release()
    assert read_response(slow.makefile("rb"))[0] == 200
    for client in [slow, *clients]:
        client.close()
    wait_for(lambda: daemon.get("/v1/jobs/slow/grid.png").status_code == 200, "room for a rendering")


def test_clients_take_turns_at_renderings(start_daemon, tmp_path):
    """One client's may fill all there is, and another's still goes first."""
    keys, pipe = tmp_path / "keys", tmp_path / "hold"
    keys.write_text("ada adaadaadaadaadaada\nbob bobbobbobbobbobbob\n")
    daemon = start_daemon("--api-keys-file", keys, variables=preloaded(HOLD_DIGIT=str(pipe)))
    names = {"ada": {"X-API-Key": "adaadaadaadaadaada"}, "bob": {"X-API-Key": "bobbobbobbobbobbob"}}
    for name, key in names.items():
        assert create(daemon, {**SMALL, "id": name}, headers=key).status_code == 202
        assert daemon.get(f"/v1/jobs/{name}?wait=60", headers=key).json()["status"] == "succeeded"
    others = [create(daemon, SMALL, headers=names["ada"]).json()["id"] for _ in range(65)]
    for job in others:
        assert daemon.get(f"/v1/jobs/{job}?wait=60", headers=names["ada"]).json()["status"] == "succeeded"

    def ask(name, what, request_id, job=None):
        key = f"X-API-Key: {names[name]['X-API-Key']}\r\nX-Request-Id: {request_id}\r\n"
        client = daemon.connect()
        client.sendall(f"GET /v1/jobs/{job or name}/{what} HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        return client

    def refused():
        return [e for e in daemon.events() if e["event"] == "request" and e["status"] == 503]

    hold = Hold(pipe)  # from here on
    clients = [ask("ada", "grid.png", "first")]
    hold.await_daemon()  # it is being made, and no other before it
    clients += [ask("ada", "result", f"ada-{i}", job) for i, job in enumerate(others)]
    wait_for(refused, "one more than may wait")
    clients.append(ask("bob", "result", "bob"))
    wait_for(lambda: len(refused()) == 2, "another of ada's to make room")
    assert all(e["client"] == "ada" for e in refused())
    hold.release()
    answers = [read_response(client.makefile("rb")) for client in clients]
    assert sorted(status for status, _, _ in answers) == [200] * 65 + [503] * 2
    assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
    made = [e["request_id"] for e in daemon.events() if e["event"] == "request" and e["status"] == 200]
    made = made[made.index("first"):]
    assert "bob" in made[:5], made[:10]
    for client in clients:
        client.close()


def test_who_waits_for_a_rendering_is_told_of_the_end(start_daemon, tmp_path):
    pipe = tmp_path / "hold"
    daemon = start_daemon("--workers", "1", variables=preloaded(HOLD_DIGIT=str(pipe)))
    _, hold, clients = crowd(daemon, pipe)
    wait_for(lambda: has_refused(daemon), "a refusal")
    daemon.signal()
    wait_for(lambda: any(e["event"] == "draining" for e in daemon.events()), "the drain")
    daemon.signal()
    bodies = [read_response(client.makefile("rb"))[2] for client in clients]
    assert any(b"problem:draining" in body for body in bodies)
    hold.release()
    assert daemon.wait() == 0
