"""Server-Sent Events: their order, their pictures, resuming, and clients that are slow or gone."""

import base64
import io
import json
import socket
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from PIL import Image

from .conftest import DEADLINE_S, ENDLESS, SANITIZED, read_response, wait_for
from .test_errors import check_problem
from .test_jobs import act, cancel, create, finish
from .contract import EVENTS, check_events, parse_events

STREAM = {"Accept": "text/event-stream"}


def stream(daemon, body):
    answer = requests.post(daemon.url + "/v1/samples", json=body, headers=STREAM, stream=True,
                           timeout=DEADLINE_S)
    check_head(answer)
    return check_events(answer.iter_lines(), EVENTS["createSamples"])


def follow(daemon, job_id, last=None):
    answer = daemon.get(f"/v1/jobs/{job_id}/events", stream=True,
                        headers={"Last-Event-ID": last} if last is not None else {})
    check_head(answer)
    return check_events(answer.iter_lines(), EVENTS["followJob"])


def check_head(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in answer.headers


def check_order(events):
    """started, then the rest, then one end; each step and each image once."""
    names = [e["event"] for e in events]
    assert names[0] == "started" and names.count("started") == 1
    assert names[-1] in ("completed", "error")
    assert not {"completed", "error"} & set(names[:-1])
    steps = [e["data"]["step"] for e in events if e["event"] == "progress"]
    assert steps == sorted(set(steps))
    return names


def test_a_stream_and_the_document_agree(daemon):
    body = {"labels": [4, 9], "n": 2, "seed": 12, "steps": 5}
    events = list(stream(daemon, body))
    names = check_order(events)
    assert names.count("image") == 4 and names[-1] == "completed" and "preview" not in names
    document = daemon.post(body).json()
    started, completed = events[0]["data"], events[-1]["data"]
    assert started["params"] == document["params"] and started["model"] == document["model"]
    assert started["determinism"] == document["determinism"]
    assert completed["id"] == started["id"] and completed["images"] == 4
    assert set(completed["timings"]) == set(document["timings"])
    images = sorted((e["data"] for e in events if e["event"] == "image"), key=lambda i: i["index"])
    assert images == document["images"]
    progress = [e["data"] for e in events if e["event"] == "progress"]
    assert progress[-1]["step"] == progress[-1]["steps"] == 5 and progress[-1]["images"] == 4
    assert all("id" not in e for e in events)


def test_previews_come_nearer(daemon):
    body = {"label": 3, "seed": 5, "steps": 20, "guidance_scale": 1, "scale": 2}
    events = list(stream(daemon, {**body, "preview_every": 4}))
    check_order(events)
    previews = [e["data"] for e in events if e["event"] == "preview"]
    # The last step makes the image itself; a slow reader may have missed some.
    steps = [p["step"] for p in previews]
    assert steps == sorted(set(steps)) and set(steps) <= {4, 8, 12, 16} and steps
    assert all(p["steps"] == 20 and p["index"] == 0 and p["label"] == 3 for p in previews)
    pictures = []
    for preview in previews:
        picture = Image.open(io.BytesIO(base64.b64decode(preview["b64"], validate=True)))
        assert picture.size == (28, 28)
        # Marked as generated, and nothing else: its parameters are those of an image not yet made.
        assert set(picture.info) <= {"XML:com.adobe.xmp", "xmp"}
        assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
        pictures.append(np.asarray(picture, dtype=float))
    image = next(e["data"] for e in events if e["event"] == "image")
    last = Image.open(io.BytesIO(base64.b64decode(image["b64"])))
    assert last.size == (56, 56)
    if len(pictures) > 1:
        last = np.asarray(last.resize((28, 28), Image.NEAREST), dtype=float)
        distances = [np.abs(p - last).mean() for p in pictures]
        assert distances[-1] < distances[0]


def test_a_grid_comes_with_the_end(daemon):
    body = {"labels": [1, 2], "seed": 5, "steps": 2, "layout": "grid"}
    events = list(stream(daemon, body))
    document = daemon.post(body).json()
    assert events[-1]["data"]["sheet"] == document["sheet"]
    digests = {e["data"]["digest"] for e in events if e["event"] == "image"}
    assert digests == {i["digest"] for i in document["images"]}


@pytest.mark.parametrize("value", [0, 21, 1.5, "1", None])
def test_bad_preview_every(daemon, value):
    body = {"label": 1, "steps": 20, "preview_every": value}
    check_problem(daemon.post(body, headers=STREAM), 400, "invalid-request", "/preview_every")
    check_problem(create(daemon, body), 400, "invalid-request", "/preview_every")


def test_previews_are_for_those_who_see_them(daemon):
    body = {"label": 1, "steps": 2, "preview_every": 1}
    for headers in ({}, {"Accept": "image/png"}, {"Prefer": "wait=60"}):
        check_problem(daemon.post(body, headers=headers), 400, "invalid-request", "/preview_every")
    assert daemon.post(body, headers={"Prefer": "respond-async"}).status_code == 202


def test_what_is_refused_is_no_stream(daemon):
    check_problem(daemon.post({"label": 99}, headers=STREAM), 400, "invalid-request", "/label")
    # What cannot be sent again is not drawn twice either.
    check_problem(daemon.post({"label": 1}, headers={**STREAM, "Idempotency-Key": '"k"'}), 400,
                  "invalid-request", "/Idempotency-Key")
    check_problem(daemon.get("/v1/jobs/nobody/events"), 404, "job-not-found")
    check_problem(daemon.get("/v1/jobs/nobody/events", headers={"Accept": "application/json"}), 406,
                  "not-acceptable")


def test_a_job_is_told_and_resumed(daemon):
    body = {"id": "told", "labels": [1, 2, 3], "n": 2, "steps": 4, "seed": 9, "preview_every": 2}
    create(daemon, body)
    events = list(follow(daemon, "told"))
    names = check_order(events)
    ids = [int(e["id"]) for e in events]
    assert ids == sorted(set(ids)) and names.count("image") == 6
    assert events[0]["data"]["id"] == events[-1]["data"]["id"] == "told"
    # Whoever comes later is told the same; only progress and previews are the newest alone.
    lasting = [e for e in events if e["event"] in ("started", "image", "completed")]
    later = list(follow(daemon, "told"))
    assert [e for e in later if e["event"] in ("started", "image", "completed")] == lasting
    assert [e["event"] for e in later].count("progress") <= 1
    # From each event on: what comes after it, and nothing twice.
    for event in events[:-1]:
        rest = list(follow(daemon, "told", event["id"]))
        assert [e for e in rest if e["event"] in ("started", "image", "completed")] == \
            [e for e in lasting if int(e["id"]) > int(event["id"])]
    answer = daemon.get("/v1/jobs/told/events", headers={"Last-Event-ID": events[-1]["id"]})
    assert answer.status_code == 204 and not answer.content
    for bad in ("x", "-1", "", "1.5", str(ids[-1] + 1), "9" * 30):
        again = list(follow(daemon, "told", bad))  # it says nothing: from the beginning
        assert [e for e in again if e["event"] in ("started", "image", "completed")] == lasting
        url = "/v1/jobs/told/events?" + urllib.parse.urlencode({"lastEventId": bad})
        assert daemon.get(url).content.count(b"\nevent: image") + \
            daemon.get(url).text.startswith("event: image") == 6
    by_query = daemon.get(f"/v1/jobs/told/events?lastEventId={events[-1]['id']}")
    assert by_query.status_code == 204  # as event-source-polyfill asks
    both = daemon.get(f"/v1/jobs/told/events?lastEventId={events[-1]['id']}",
                      headers={"Last-Event-ID": events[-2]["id"]})
    assert both.status_code == 200  # the header is the newer one: the URL is that of the beginning
    check_problem(daemon.get("/v1/jobs/told/events?last=1"), 400, "invalid-request", "/last")
    assert requests.head(daemon.url + "/v1/jobs/told/events", timeout=DEADLINE_S).status_code == 200
    act(daemon, "DELETE", "/v1/jobs/told")


def test_a_broken_stream_is_resumed_while_the_job_runs(start_daemon):
    daemon = start_daemon("--workers", 1)
    body = {"id": "long", "label": 5, "n": 12, "steps": 60, "guidance_scale": 1, "seed": 2}
    create(daemon, body)
    seen, last, streams = [], None, 0
    while not seen or seen[-1]["event"] != "completed":
        for event in follow(daemon, "long", last):
            seen.append(event)
            last = event["id"]
            if event["event"] == "image":
                break  # the connection is dropped in the middle of the stream
        streams += 1
    check_order(seen)
    assert streams > 2
    images = {e["data"]["index"]: e["data"]["digest"] for e in seen if e["event"] == "image"}
    assert len([e for e in seen if e["event"] == "image"]) == len(images) == 12
    expected = daemon.get("/v1/jobs/long/result").json()["images"]
    assert images == {i["index"]: i["digest"] for i in expected}


def test_one_who_comes_late_is_told_every_image(start_daemon):
    daemon = start_daemon("--workers", 1, "--max-batch", 2)
    create(daemon, {"id": "late", "label": 5, "n": 40, "steps": 20, "guidance_scale": 1})
    wait_for(lambda: daemon.get("/v1/jobs/late").json()["progress"]["images_done"] > 0, "images")
    events = list(follow(daemon, "late"))
    check_order(events)
    assert sorted(e["data"]["index"] for e in events if e["event"] == "image") == list(range(40))


def test_a_canceled_job_ends_its_streams(start_daemon):
    daemon = start_daemon("--workers", 1)
    create(daemon, {**ENDLESS, "id": "run"})
    create(daemon, {**ENDLESS, "n": 256, "id": "queued"})
    with ThreadPoolExecutor(3) as pool:
        streams = {name: pool.submit(lambda n: list(follow(daemon, n)), name)
                   for name in ("run", "queued")}
        wait_for(lambda: daemon.metric("http_connections") >= 3, "the streams to begin")
        cancel(daemon, "queued")
        assert [e["event"] for e in streams["queued"].result()] in (["error"], ["started", "error"])
        assert not streams["run"].done()
        assert act(daemon, "DELETE", "/v1/jobs/run").status_code == 204
        events = streams["run"].result()
    assert check_order(events)[-1] == "error"
    assert events[-1]["data"]["type"] == "urn:denoised:problem:job-canceled"
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to leave")


def test_a_deadline_ends_a_stream(start_daemon):
    daemon = start_daemon("--workers", 1)
    events = list(stream(daemon, {**ENDLESS, "timeout_ms": 300}))
    assert events[-1]["event"] == "error"
    assert events[-1]["data"]["type"] == "urn:denoised:problem:deadline-exceeded"


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
def test_a_reader_that_leaves_cancels(start_daemon, leave):
    daemon = start_daemon("--workers", 1)
    s = daemon.connect()
    data = json.dumps(ENDLESS).encode()
    s.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    s.recv(100)
    wait_for(lambda: daemon.metric("steps_total") > 0, "sampling")
    if leave == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if leave == "half-close":
        s.shutdown(socket.SHUT_WR)
    else:
        s.close()
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to leave")
    assert daemon.metric('jobs_total{outcome="canceled",reason="disconnect"}') == 1
    wait_for(lambda: [e for e in daemon.events() if e.get("aborted") == "yes"], "the access line")
    s.close()


def test_a_reader_that_leaves_does_not_hurt_the_job(start_daemon):
    daemon = start_daemon("--workers", 1)
    create(daemon, {**ENDLESS, "id": "job"})
    s = daemon.connect()
    s.sendall(b"GET /v1/jobs/job/events HTTP/1.1\r\nHost: x\r\n\r\n")
    s.recv(100)
    s.close()
    wait_for(lambda: daemon.metric("http_connections") == 1, "the reader to be gone")
    assert daemon.get("/v1/jobs/job").json()["status"] == "running"
    cancel(daemon, "job")


def test_a_slow_reader_misses_steps_but_no_image(start_daemon):
    daemon = start_daemon("--workers", 1)
    n = 8 if SANITIZED else 64  # slow, but more than the sockets hold where memory is looked at
    body = {"label": 5, "n": n, "steps": 100, "guidance_scale": 1, "preview_every": 1,
            "sampler": "ddim"}
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(DEADLINE_S)
    s.connect((daemon.host, daemon.port))
    data = json.dumps(body).encode()
    s.sendall(b"POST /v1/samples HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    wait_for(lambda: daemon.metric("queue_jobs") == 1, "the job")
    memory = daemon.metrics()["process_resident_memory_bytes"]
    # Nothing is read until all is drawn: the daemon cannot wait, and does not keep a preview a step.
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the job's end")
    grown = daemon.metrics()["process_resident_memory_bytes"] - memory
    assert SANITIZED or grown < 4 << 20, grown  # a sanitizer keeps freed memory
    f = s.makefile("rb")
    status, headers, _ = read_response(f)
    assert status == 200 and headers["transfer-encoding"] == "chunked"
    text = b""
    while (size := int(f.readline(), 16)):
        text += f.read(size)
        assert f.readline() == b"\r\n"
    events = list(check_events(text.decode().split("\n"), EVENTS["createSamples"]))
    names = check_order(events)
    assert names.count("image") == n and names[-1] == "completed"
    assert SANITIZED or names.count("preview") < 6000
    s.close()


def test_a_connection_serves_on_after_a_stream(daemon):
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(daemon.url + "/v1/samples", json={"label": 1, "steps": 2},
                                  headers=STREAM, timeout=DEADLINE_S)
            assert list(parse_events(answer.iter_lines()))[-1]["event"] == "completed"
            assert session.get(daemon.url + "/livez", timeout=DEADLINE_S).status_code == 200


def test_streams_end_well_in_a_drain_and_in_a_stop(start_daemon):
    for flags, end in ((("--drain-timeout-s", DEADLINE_S), "completed"),
                       (("--drain-timeout-s", 0), "error")):
        daemon = start_daemon("--workers", 1, *flags)
        body = {"label": 1, "n": 4, "steps": 40, "guidance_scale": 1} if end == "completed" else ENDLESS
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(lambda: list(stream(daemon, body)))
            wait_for(lambda: daemon.metric("steps_total") > 0, "sampling")
            create(daemon, {**body, "id": "job"})
            two = pool.submit(lambda: list(follow(daemon, "job")))
            wait_for(lambda: daemon.metric("http_connections") >= 3
                     or one.done(), "the second stream")
            daemon.signal()
            assert one.result()[-1]["event"] == end
            assert two.result()[-1]["event"] == end
        assert daemon.wait() == 0


def test_many_streams_of_one_job(start_daemon):
    daemon = start_daemon("--workers", 2)
    create(daemon, {"id": "many", "label": 2, "n": 8, "steps": 30, "preview_every": 3})
    with ThreadPoolExecutor(12) as pool:
        all_events = list(pool.map(lambda _: list(follow(daemon, "many")), range(12)))
    finish(daemon, "many")
    lasting = [[e for e in events if e["event"] in ("started", "image", "completed")]
               for events in all_events]
    assert all(one == lasting[0] for one in lasting)
    for events in all_events:
        check_order(events)


def test_a_quiet_stream_is_pinged(start_daemon):
    """A job that waits behind a smaller one has no news for a while."""
    daemon = start_daemon("--workers", 1, "--max-batch", 2, "--sse-ping-s", 1)
    create(daemon, {**ENDLESS, "id": "before"})
    wait_for(lambda: daemon.get("/v1/jobs/before").json()["status"] == "running", "it to run")
    create(daemon, {**ENDLESS, "id": "quiet", "n": 256})
    answer = requests.get(daemon.url + "/v1/jobs/quiet/events", stream=True, timeout=DEADLINE_S)
    lines = answer.iter_lines()
    assert [next(lines) for _ in range(4)] == [b": still here", b"", b": still here", b""]
    answer.close()
    for job in ("quiet", "before"):
        requests.delete(f"{daemon.url}/v1/jobs/{job}", timeout=DEADLINE_S)
