"""Priorities, and clients that share the engine: who goes first, counted in evaluations."""

import pytest
import requests

from .conftest import DEADLINE_S, ENDLESS, Daemon, wait_for
from .test_errors import check_problem

ADA, BOB, EVE = "ada-0123456789abcdef", "bob-0123456789abcdef", "eve-0123456789abcdef"
ONE = {"label": 1, "steps": 1}
CREDIT = 512  # evaluations that a client may catch up on: FAIR_CREDIT
HOLD = 2 * 64  # and those of batches that are held meanwhile: 64 steps of 2 evaluations


@pytest.fixture
def start_with_keys(start_daemon, tmp_path):
    def start(lines, *arguments):
        path = tmp_path / "keys"
        path.write_text(lines)
        return start_daemon("--api-keys-file", path, *arguments)
    return start


def ask(daemon, key, body, path="/v1/jobs"):
    return requests.post(daemon.url + path, json=body, headers={"X-API-Key": key},
                         timeout=DEADLINE_S)


def job(daemon, key, body):
    answer = ask(daemon, key, body)
    assert answer.status_code == 202, answer.text
    return answer.json()


def wait_for_job(daemon, key, id):
    headers = {"X-API-Key": key}
    return wait_for(lambda: (j := daemon.get(f"/v1/jobs/{id}?wait=60", headers=headers).json())
                    and j["status"] == "succeeded" and j, "the job")


def cancel_all(daemon, key):
    headers = {"X-API-Key": key}
    while jobs := daemon.get("/v1/jobs?limit=100", headers=headers).json()["data"]:
        for j in jobs:
            requests.delete(daemon.url + f"/v1/jobs/{j['id']}", headers=headers, timeout=DEADLINE_S)


# ---- sharing ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("n_requests", [20, 300])
def test_a_light_client_does_not_feel_how_many_requests_another_has(start_with_keys, n_requests):
    """The heavy one's requests are smaller, and came first: by size alone they would all go before.
    Behind a large one they wait, so that all of them are there when the light one comes."""
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB}\neve {EVE} priority=high\n", "--workers", 1,
                             "--max-batch", 2)
    job(daemon, EVE, {**ENDLESS, "priority": "high"})
    small = {"label": 1, "steps": 20, "guidance_scale": 1}
    for _ in range(n_requests):
        job(daemon, ADA, small)
    light = job(daemon, BOB, {"label": 2, "n": 2, "steps": 40, "guidance_scale": 1})["id"]
    queued = daemon.metrics()
    assert queued['denoised_queue_priority_rows{priority="normal"}'] > n_requests / 2
    cancel_all(daemon, EVE)
    answer = wait_for_job(daemon, BOB, light)
    done = [j for j in daemon.get("/v1/jobs?limit=100", headers={"X-API-Key": ADA}).json()["data"]
            if j["finished"] and j["finished"] < answer["finished"]]
    # As many evaluations as the light one's 80, its credit, and what is held: of 20 each.
    assert len(done) <= (80 + CREDIT + HOLD) / 20
    cancel_all(daemon, ADA)


def test_two_busy_clients_share_alike(start_with_keys):
    """One has many small requests, one a large one: when it is done, the other had as much."""
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB}\neve {EVE} priority=high\n", "--workers", 1,
                             "--max-batch", 2)
    job(daemon, EVE, {**ENDLESS, "priority": "high"})  # until all are there
    for _ in range(100):
        job(daemon, ADA, {"label": 1, "steps": 40, "guidance_scale": 1})
    large = job(daemon, BOB, {"label": 2, "n": 10, "steps": 100, "guidance_scale": 1})["id"]
    before = daemon.metrics()
    cancel_all(daemon, EVE)
    wait_for_job(daemon, BOB, large)
    after = daemon.metrics()
    eighths = before["denoised_evaluations_total"] / 8  # what they were owed behind the high one
    small = after['denoised_jobs_total{outcome="succeeded",reason="none"}'] - 1
    assert abs(small * 40 - 1000) <= CREDIT + HOLD + eighths
    cancel_all(daemon, ADA)


def test_the_order_does_not_change_the_pictures(start_with_keys, daemon):
    busy = start_with_keys(f"ada {ADA} priority=high\nbob {BOB}\n", "--workers", 1)
    bodies = [(ADA if i % 2 else BOB,
               {"label": i % 10, "seed": i, "n": 1 + i % 3, "steps": 5 + 3 * (i % 4),
                **({"priority": ["low", "normal", "high" if i % 2 else "low"][i % 3]} if i % 5 else {})})
              for i in range(24)]
    ids = [(key, job(busy, key, body)["id"]) for key, body in bodies]
    for (key, id), (_, body) in zip(ids, bodies):
        images = wait_for_job(busy, key, id)["images"]
        body.pop("priority", None)
        alone = daemon.post(body).json()["images"]
        assert [i["digest"] for i in images] == [i["digest"] for i in alone]


# ---- priorities -------------------------------------------------------------------------------------

def test_the_high_goes_first_and_the_low_gets_on(start_daemon):
    daemon = start_daemon("--workers", 1, "--max-batch", 2)

    def create(body):
        return requests.post(daemon.url + "/v1/jobs", json=body, timeout=DEADLINE_S).json()["id"]

    def state(id):
        return daemon.get(f"/v1/jobs/{id}").json()

    low = create({"label": 1, "steps": 30, "guidance_scale": 1, "priority": "low"})
    busy = create({**ENDLESS, "priority": "normal"})
    high = create({"label": 2, "n": 4, "steps": 100, "guidance_scale": 1, "priority": "high"})
    rows = daemon.metrics()
    assert sum(rows[f'denoised_queue_priority_rows{{priority="{p}"}}']
               for p in ("high", "normal", "low")) == rows["denoised_queue_rows"]
    wait_for(lambda: state(high)["status"] == "succeeded", "the high one")
    assert state(busy)["status"] in ("queued", "running")
    # Less left to do than anything, but low; not starved by the endless one of normal priority.
    wait_for(lambda: state(low)["status"] == "succeeded", "the low one")
    assert state(busy)["status"] == "running"
    requests.post(daemon.url + f"/v1/jobs/{busy}/cancel", timeout=DEADLINE_S)
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to leave")
    assert daemon.metrics()['denoised_queue_priority_rows{priority="normal"}'] == 0


def test_what_a_key_may_ask_for(start_with_keys):
    daemon = start_with_keys(f"ada {ADA} priority=high\nbob {BOB}\neve {EVE} priority=low\n")
    allowed = {ADA: {"high", "normal", "low"}, BOB: {"normal", "low"}, EVE: {"low"}}
    for key, priorities in allowed.items():
        for priority in ("high", "normal", "low"):
            for path in ("/v1/jobs", "/v1/samples"):
                answer = ask(daemon, key, {**ONE, "priority": priority}, path)
                if priority in priorities:
                    assert answer.status_code in (200, 202)
                else:
                    check_problem(answer, 403, "priority-not-allowed", "/priority")
    default = [job(daemon, key, ONE)["priority"] for key in (ADA, BOB, EVE)]
    assert default == ["normal", "normal", "low"]
    # What names no priority is never refused for it.
    for path in ("/v1/samples/1.png?steps=1", "/v1/samples/1.png?steps=1&seed=1"):
        assert daemon.get(path, headers={"X-API-Key": EVE}).status_code == 200
    metrics = daemon.metrics()
    assert metrics['denoised_jobs_total{outcome="rejected",reason="priority"}'] == 6


def test_without_keys_everybody_may_ask_for_all(daemon):
    for priority in ("high", "normal", "low"):
        answer = daemon.post({**ONE, "priority": priority})
        assert answer.status_code == 200 and "priority" not in answer.json()["params"]


@pytest.mark.parametrize("value", ["High", "", "urgent", 1, None, ["low"]])
def test_what_is_no_priority(daemon, value):
    check_problem(daemon.post({**ONE, "priority": value}), 400, "invalid-request", "/priority")
    check_problem(daemon.get("/v1/samples/1.png?priority=low"), 400, "invalid-request", "/priority")


@pytest.mark.parametrize("priority", ["", "urgent", "High", "lowest"])
def test_broken_priorities_of_keys(tmp_path, priority):
    path = tmp_path / "keys"
    path.write_text(f"ada {ADA} priority={priority}\n")
    daemon = Daemon(tmp_path, "--api-keys-file", str(path), wait=False)
    assert daemon.wait() == 1
    assert "line 1" in daemon.events()[-1]["reason"]


# ---- deadlines --------------------------------------------------------------------------------------

def test_what_goes_before_counts_for_a_deadline(start_with_keys):
    """Behind another client's endless work there is time for as much as that client gets meanwhile;
    of lower priority there is not; and of high there is all of it."""
    daemon = start_with_keys(f"ada {ADA}\nbob {BOB} priority=high\n", "--workers", 1)
    assert ask(daemon, ADA, {"label": 1, "n": 8, "steps": 8}, "/v1/samples").status_code == 200
    for _ in range(2):
        job(daemon, ADA, ENDLESS)
    metrics = daemon.metrics()
    each_ms = (1000 * metrics["denoised_step_duration_seconds_sum"]
               / metrics["denoised_batch_evaluations_sum"])
    # 128000 are ahead. 2000 of one's own take twice as long beside another client; 100 times more
    # than that is far from it, and still far less than all that is ahead.
    body = {"label": 2, "n": 2, "steps": 1000, "guidance_scale": 1,
            "timeout_ms": int(32000 * each_ms)}
    for priority in ("normal", "high"):
        answer = ask(daemon, BOB, {**body, "priority": priority})
        assert answer.status_code == 202, answer.text
        requests.delete(daemon.url + answer.headers["Location"], headers={"X-API-Key": BOB},
                        timeout=DEADLINE_S)
    check_problem(ask(daemon, BOB, {**body, "priority": "low"}), 503, "deadline-busy", "/timeout_ms")
    cancel_all(daemon, ADA)


# ---- room ---------------------------------------------------------------------------------------

def fill(daemon, key, body, sizes):
    """Post jobs of these sizes, each until it is refused. Returns the last refusal."""
    for n in sizes:
        while (answer := ask(daemon, key, {**body, "n": n})).status_code == 202:
            pass
    return answer


def test_a_full_queue_leaves_room_for_others(start_with_keys):
    """One that asks for all it can get has the queue up to the part that is kept for others; what
    it was promised is drawn, and who comes later is not refused."""
    daemon = start_with_keys(f"ada {ADA}\neve {EVE} priority=low\nbob {BOB}\n", "--workers", 1,
                             "--max-queue-rows", 64, "--max-rows-per-request", 64)
    lasting = {"label": 1, "steps": 1000, "sampler": "ddpm", "guidance_scale": 1}
    refused = fill(daemon, EVE, lasting, [16, 4, 1])
    check_problem(refused, 503, "queue-full")
    assert "kept for others" in refused.json()["detail"] and int(refused.headers["Retry-After"]) > 0
    held = daemon.metric("queue_rows")
    assert 30 <= held <= 32
    for _ in range(20):
        check_problem(ask(daemon, EVE, {**lasting, "n": 4}), 503, "queue-full")
        assert ask(daemon, ADA, ONE, "/v1/samples").status_code == 200
    assert ask(daemon, ADA, {**lasting, "n": 16}).status_code == 202
    check_problem(ask(daemon, ADA, {**lasting, "n": 1}), 503, "queue-full")  # half of the rest
    assert ask(daemon, BOB, ONE, "/v1/samples").status_code == 200
    cancel_all(daemon, ADA)
    cancel_all(daemon, EVE)
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the queue to be empty")
    big = {**lasting, "n": 64}  # who holds nothing may have all of it
    assert ask(daemon, EVE, big).status_code == 202
    cancel_all(daemon, EVE)


def test_unfinished_jobs_of_one_leave_room_for_others(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\neve {EVE} priority=low\n", "--workers", 1,
                             "--max-jobs", 20)
    refused = fill(daemon, EVE, {**ENDLESS, "n": 1}, [1])
    check_problem(refused, 503, "jobs-full")
    assert "kept for others" in refused.json()["detail"]
    eves = daemon.get("/v1/jobs?limit=100", headers={"X-API-Key": EVE}).json()["data"]
    assert len(eves) == 10
    for _ in range(20):  # with room made by its own finished ones
        wait_for_job(daemon, ADA, job(daemon, ADA, ONE)["id"])
    asynchronous = requests.post(daemon.url + "/v1/samples", json=ONE, timeout=DEADLINE_S,
                                 headers={"X-API-Key": ADA, "Prefer": "respond-async"})
    assert asynchronous.status_code == 202
    after = daemon.get("/v1/jobs?limit=100", headers={"X-API-Key": EVE}).json()["data"]
    assert [j["id"] for j in after] == [j["id"] for j in eves]  # what was promised stays
    cancel_all(daemon, EVE)


def test_films_being_drawn_leave_room_for_others(start_with_keys):
    """64 films of 64 frames are 3.2 MB while they are drawn."""
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n", "--workers", 1, "--max-frames-bytes",
                             64 << 20)
    film = {**ENDLESS, "format": "apng", "frames": 64}
    check_problem(fill(daemon, EVE, film, [64]), 503, "queue-full")
    assert daemon.metric("queue_rows") == 10 * 64  # half of the room, not of the queue
    assert ask(daemon, ADA, film).status_code == 202
    cancel_all(daemon, EVE)
    cancel_all(daemon, ADA)


@pytest.mark.parametrize("limit", [["--max-jobs", 20], ["--max-jobs-bytes", 65536]])
def test_results_of_one_are_not_evicted_by_another(start_with_keys, limit):
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n", *limit)
    mine = [wait_for_job(daemon, ADA, job(daemon, ADA, ONE)["id"])["id"] for _ in range(5)]
    theirs = [wait_for_job(daemon, EVE, job(daemon, EVE, {**ONE, "n": 8})["id"])["id"]
              for _ in range(40)]
    status = [daemon.get(f"/v1/jobs/{id}", headers={"X-API-Key": EVE}).status_code for id in theirs]
    assert status[-1] == 200 and set(status) & {410, 404}  # the oldest of its own have made room
    for id in mine:
        answer = daemon.get(f"/v1/jobs/{id}/result", headers={"X-API-Key": ADA})
        assert answer.status_code == 200, answer.text


def test_a_cursor_does_not_count_the_jobs_of_others(start_with_keys):
    def second_page():
        page = daemon.get("/v1/jobs?limit=1", headers={"X-API-Key": ADA}).json()
        return page["next_cursor"]
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n")
    job(daemon, ADA, ONE)
    job(daemon, EVE, ONE)
    assert second_page() is None  # whatever others have before it
    job(daemon, ADA, ONE)
    before = second_page()
    for _ in range(7):
        job(daemon, EVE, ONE)
    assert second_page() == before
    job(daemon, ADA, ONE)
    assert int(second_page()) == int(before) + 1


# ---- pictures that several wait for -------------------------------------------------------------

PICTURE = "/v1/samples/7.png?seed=3&steps=200&sampler=ddpm&guidance_scale=1"
NORMAL, LOW = (f'denoised_queue_priority_rows{{priority="{p}"}}' for p in ("normal", "low"))


def get_picture(daemon, key):
    return daemon.get(PICTURE, headers={"X-API-Key": key})


def open_picture(daemon, key):
    """A GET on a socket of its own, whose answer nobody has read yet."""
    s = daemon.connect()
    s.sendall(f"GET {PICTURE} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode())
    return s


def status_line(s):
    with s.makefile("rb") as stream:
        return stream.readline()


@pytest.fixture
def last_of_many(start_with_keys):
    """Eve has work without end, Ada in low priority a lot of it, and a picture that comes last.
    Returns the daemon and the socket that waits for the picture."""
    opened = []

    def start(*arguments, body={"label": 1, "steps": 200, "sampler": "ddpm", "guidance_scale": 1},
              bob=""):
        daemon = start_with_keys(f"ada {ADA} priority=low\nbob {BOB} {bob}\neve {EVE}\n",
                                 "--workers", 1, "--max-batch", 2, *arguments)
        job(daemon, EVE, ENDLESS)
        for _ in range(20):
            job(daemon, ADA, body)
        before = daemon.metrics()
        opened.append(open_picture(daemon, ADA))
        wait_for(lambda: daemon.metric("queue_jobs") == before["denoised_queue_jobs"] + 1,
                 "the picture's drawing")
        return daemon, opened[0]
    yield start
    for s in opened:
        s.close()


def test_a_picture_that_several_wait_for_has_the_best_place(last_of_many):
    daemon, first = last_of_many()
    answer = get_picture(daemon, BOB)
    assert answer.status_code == 200
    assert answer.headers["Cache-Status"] == "denoised; fwd=miss; collapsed"
    assert b" 200 " in status_line(first)
    done = [j for j in daemon.get("/v1/jobs?limit=100", headers={"X-API-Key": ADA}).json()["data"]
            if j["finished"]]
    assert len(done) <= 2  # of 20 that were before it
    assert daemon.metric('images_total{sampler="ddpm"}') <= 3
    cancel_all(daemon, ADA)
    cancel_all(daemon, EVE)


@pytest.mark.parametrize("leaver", ["the first", "the best"])
def test_who_leaves_takes_its_place_along(last_of_many, leaver):
    daemon, first = last_of_many(body={**ENDLESS, "n": 1})
    normal, low = (daemon.metrics()[name] for name in (NORMAL, LOW))
    best = open_picture(daemon, BOB)
    wait_for(lambda: daemon.metrics()[NORMAL] == normal + 1, "the better place")
    if leaver == "the best":
        best.close()
        wait_for(lambda: daemon.metrics()[NORMAL] == normal, "the place to be taken along")
        assert daemon.metrics()[LOW] == low
        best = open_picture(daemon, BOB)  # and back again, for the one that finds it in flight
        wait_for(lambda: daemon.metrics()[NORMAL] == normal + 1, "the better place")
        cancel_all(daemon, EVE)
        assert b" 200 " in status_line(first)
    else:
        first.close()
        wait_for(lambda: daemon.metric("http_connections") <= 2, "the first to leave")
    assert b" 200 " in status_line(best)
    best.close()
    cancel_all(daemon, ADA)
    cancel_all(daemon, EVE)


def test_what_is_drawn_for_another_does_not_count(last_of_many):
    daemon, _ = last_of_many(bob="rows-per-minute=1 burst-rows=1")
    assert get_picture(daemon, BOB).status_code == 200  # drawn for Ada: it counts for her
    assert ask(daemon, BOB, ONE, "/v1/samples").status_code == 200
    check_problem(ask(daemon, BOB, ONE, "/v1/samples"), 429, "quota-exceeded")
    cancel_all(daemon, ADA)
    cancel_all(daemon, EVE)


def test_who_joins_over_its_quota_is_refused(last_of_many):
    daemon, _ = last_of_many(body={**ENDLESS, "n": 1}, bob="rows-per-minute=1 burst-rows=1")
    assert ask(daemon, BOB, ONE, "/v1/samples").status_code == 200
    check_problem(get_picture(daemon, BOB), 429, "quota-exceeded")
    cancel_all(daemon, ADA)
    cancel_all(daemon, EVE)
