"""Pictures of GETs: equal ones are drawn once, those drawn are kept, within their bytes."""

import threading

import pytest

from .conftest import wait_for

QUERY = "sampler=ddim&steps=2&guidance_scale=1"
SLOW = "sampler=ddpm&steps=1000&guidance_scale=1"


def picture(daemon, seed, query=QUERY, label=7):
    answer = daemon.get(f"/v1/samples/{label}.png?seed={seed}&{query}")
    assert answer.status_code == 200
    return answer


def status(answer):
    return answer.headers["Cache-Status"]


def counts(daemon):
    m = daemon.metrics()
    return {r: m[f'denoised_cache_requests_total{{result="{r}"}}']
            for r in ("hit", "collapsed", "miss", "bypass")}


def test_what_was_drawn_is_kept(start_daemon):
    daemon = start_daemon()
    first, again = picture(daemon, 1), picture(daemon, 1)
    assert status(first) == "denoised; fwd=miss; stored" and status(again) == "denoised; hit"
    assert again.content == first.content
    for name in ("ETag", "Cache-Control", "X-Seed", "X-Sample-Digest", "X-Model-Digest",
                 "X-Determinism", "Content-Type"):
        assert again.headers[name] == first.headers[name], name
    assert daemon.metric("steps_total") == 2  # one image of two steps
    # Named otherwise it is the same picture; with other parameters another one.
    assert status(picture(daemon, 1, label="seven")) == "denoised; hit"
    assert status(picture(daemon, 1, QUERY + "&scale=2")) == "denoised; fwd=miss; stored"
    assert status(picture(daemon, 1, QUERY + "&index=1")) == "denoised; fwd=miss; stored"
    assert counts(daemon) == {"hit": 2, "collapsed": 0, "miss": 3, "bypass": 0}
    assert daemon.metric("cache_entries") == 3


def test_without_a_seed_nothing_is_kept(start_daemon):
    daemon = start_daemon()
    answer = daemon.get("/v1/samples/7.png?" + QUERY)
    assert status(answer) == "denoised; fwd=bypass"
    assert answer.headers["Cache-Control"] == "no-store"
    assert daemon.metric("cache_entries") == 0


def test_zero_bytes_are_no_cache(start_daemon):
    daemon = start_daemon("--cache-bytes", 0)
    first, again = picture(daemon, 1), picture(daemon, 1)
    assert status(first) == status(again) == "denoised; fwd=miss"
    assert again.content == first.content
    assert daemon.metric("steps_total") == 4


def test_the_one_asked_for_least_lately_makes_room(start_daemon):
    daemon = start_daemon("--cache-bytes", 4800)  # two pictures of two kilobytes each
    picture(daemon, 1)
    picture(daemon, 2)
    assert daemon.metric("cache_entries") == 2
    assert status(picture(daemon, 1)) == "denoised; hit"
    assert status(picture(daemon, 3)) == "denoised; fwd=miss; stored"
    assert daemon.metric("cache_evictions_total") == 1
    assert status(picture(daemon, 1)) == "denoised; hit"
    assert status(picture(daemon, 2)) == "denoised; fwd=miss; stored"
    assert daemon.metric("cache_bytes") <= 4800
    # Larger than all of it: sent, not kept, and nothing makes room for it.
    evictions = daemon.metric("cache_evictions_total")
    assert status(picture(daemon, 4, QUERY + "&scale=32")) == "denoised; fwd=miss"
    assert daemon.metric("cache_evictions_total") == evictions


def in_flight(daemon, n):
    return wait_for(lambda: daemon.metric("http_connections") >= n + 1, f"{n} requests")


def ask(daemon, seed, query):
    """A GET on a socket of its own, whose answer nobody has read yet."""
    s = daemon.connect()
    s.sendall(b"GET /v1/samples/7.png?seed=%d&%s HTTP/1.1\r\nHost: x\r\n\r\n"
              % (seed, query.encode()))
    return s


def test_equal_requests_are_drawn_once(start_daemon):
    daemon = start_daemon("--workers", 1)
    leader = threading.Thread(target=lambda: answers.append(picture(daemon, 5, SLOW)))
    answers = []
    leader.start()
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the first")
    others = [threading.Thread(target=lambda: answers.append(picture(daemon, 5, SLOW)))
              for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in [leader, *others]:
        thread.join()
    assert daemon.metric("steps_total") == 1000
    assert len({a.content for a in answers}) == 1
    found = sorted(status(a) for a in answers)
    assert found.count("denoised; fwd=miss; stored") == 1
    assert set(found) <= {"denoised; fwd=miss; stored", "denoised; fwd=miss; collapsed",
                          "denoised; hit"}
    assert "denoised; fwd=miss; collapsed" in found


@pytest.mark.parametrize("leaver", [0, 1])
def test_who_leaves_takes_nothing_from_the_others(start_daemon, leaver):
    daemon = start_daemon("--workers", 1)
    # Something in front of it, so that it is not drawn before all is said.
    blocker = daemon.send_post({"label": 1, "n": 64, "steps": 1000, "sampler": "ddpm", "seed": 1,
                                "guidance_scale": 1})
    clients = [ask(daemon, 6, SLOW)]
    wait_for(lambda: daemon.metric("queue_jobs") == 2, "the first")
    clients.append(ask(daemon, 6, SLOW))
    in_flight(daemon, 3)
    clients[leaver].close()
    wait_for(lambda: daemon.metric("http_connections") <= 3, "one to leave")
    wait_for(lambda: daemon.metric("queue_jobs") == 2, "the other one")
    blocker.close()
    # A third one finds it still, or what became of it.
    assert status(picture(daemon, 6, SLOW)) in ("denoised; fwd=miss; collapsed", "denoised; hit")
    with clients[1 - leaver].makefile("rb") as stream:
        assert b"200" in stream.readline()
    assert daemon.metric('images_total{sampler="ddpm"}') == 1
    assert daemon.metric("cache_entries") == 1
    clients[1 - leaver].close()


def test_when_all_leave_it_is_given_up(start_daemon):
    daemon = start_daemon("--workers", 1)
    clients = [ask(daemon, 7, SLOW)]
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the first")
    clients.append(ask(daemon, 7, SLOW))
    in_flight(daemon, 2)
    for client in clients:
        client.close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the queue to be empty")
    assert daemon.metric("cache_entries") in (0, 1)  # 1 if it was done before
    assert status(picture(daemon, 7)).startswith("denoised; fwd=miss")
