"""Answers that clients do not read: their memory is bounded, in all and by client."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import requests

from .conftest import DEADLINE_S, read_response, wait_for
from .test_errors import check_problem
from .test_fairness import ADA, EVE, job, start_with_keys, wait_for_job  # noqa: F401

MIB = 1 << 20
# 64 films of 64 frames: some five megabytes as JSON.
FILM = {"label": 7, "n": 64, "steps": 63, "guidance_scale": 1, "sampler": "ddim", "format": "apng",
        "frames": 64, "id": "big"}


def resident_bytes(daemon):
    return daemon.metrics()["process_resident_memory_bytes"]


def open_unread(daemon, path, key, headers=""):
    """A connection that asks and reads nothing, with as little room as there can be."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(DEADLINE_S)
    client.connect(("127.0.0.1", int(daemon.url.rpartition(":")[2])))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{headers}\r\n".encode())
    return client


def begin(client):
    """Wait for the head of the answer, so that it is in memory. Returns the status."""
    return int(client.recv(32)[9:12])


def test_one_result_is_in_memory_once(start_with_keys):
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n")
    job(daemon, EVE, FILM)
    wait_for_job(daemon, EVE, "big")
    headers = {"X-API-Key": EVE}
    size = len(daemon.get("/v1/jobs/big/result", headers=headers).content)
    assert size > 4 * MIB
    before = resident_bytes(daemon)
    clients = [open_unread(daemon, "/v1/jobs/big/result", EVE) for _ in range(50)]
    assert {begin(c) for c in clients} == {200}
    assert resident_bytes(daemon) - before < 2 * size + 16 * MIB
    # One that reads gets all of it, and the bytes outlive those who leave.
    reader = open_unread(daemon, "/v1/jobs/big/result", EVE)
    for client in clients:
        client.close()
    status, _, body = read_response(reader.makefile("rb"))
    assert status == 200 and len(body) == size and len(json.loads(body)["images"]) == 64
    reader.close()


def test_unread_answers_are_refused_beyond_a_part(start_with_keys):
    """Each form is bytes of its own: the client's part is full, another's is not."""
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n", "--max-answers-bytes", 20 * MIB)
    for key in (ADA, EVE):
        job(daemon, key, FILM)
        wait_for_job(daemon, key, "big")
    unread = open_unread(daemon, "/v1/jobs/big/result", EVE)
    assert begin(unread) == 200
    for accept in ("application/zip", "multipart/mixed"):
        refused = daemon.get("/v1/jobs/big/result", headers={"X-API-Key": EVE, "Accept": accept})
        check_problem(refused, 503, "queue-full")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Cache-Control"] == "no-store" and "X-Seed" not in refused.headers
    answer = daemon.get("/v1/jobs/big/result", headers={"X-API-Key": ADA})
    assert answer.status_code == 200 and len(answer.json()["images"]) == 64
    unread.close()
    wait_for(lambda: daemon.get("/v1/jobs/big/result", headers={
        "X-API-Key": EVE, "Accept": "application/zip"}).status_code == 200, "room")


def test_a_large_sheet_is_a_link_in_events(start_daemon):
    daemon = start_daemon()
    for n, name in ((64, "large"), (1, "small")):
        body = {**FILM, "n": n, "frames": 64 if n > 1 else 2, "id": name, "layout": "grid"}
        assert requests.post(daemon.url + "/v1/jobs", json=body, timeout=DEADLINE_S).status_code == 202
        text = daemon.get(f"/v1/jobs/{name}/events").text
        sheet = json.loads(text.rpartition("data: ")[2])["sheet"]
        if n == 1:
            assert "b64" in sheet and "url" not in sheet
            continue
        assert "b64" not in sheet and len(text) < 300 * 1024
        picture = daemon.get(sheet["url"])
        assert picture.headers["X-Sample-Digest"] == sheet["digest"]
        assert len(picture.content) > 65536


def test_streams_wait_for_room_and_lose_nothing(start_daemon):
    """A stream of no job's has its sheet within; the next goes on when that one is read."""
    daemon = start_daemon("--max-answers-bytes", MIB)
    body = {**FILM, "layout": "grid"}
    body.pop("id")

    def read(_):
        answer = requests.post(daemon.url + "/v1/samples", json=body, timeout=DEADLINE_S,
                               headers={"Accept": "text/event-stream"})
        return answer.status_code, answer.text
    with ThreadPoolExecutor(3) as pool:
        for status, text in pool.map(read, range(3)):
            assert status == 200
            assert text.count("event: completed") == 1 and text.count("event: image") == 64


def test_answers_with_a_key_are_not_evicted_by_another(start_with_keys):
    """Idempotency-Key: what one client has done is not done again because of another."""
    daemon = start_with_keys(f"ada {ADA}\neve {EVE}\n", "--idempotency-max-bytes", 65536)

    def draw(key, name, n):
        return requests.post(daemon.url + "/v1/samples", json={"label": 1, "n": n, "steps": 1},
                             headers={"X-API-Key": key, "Idempotency-Key": name},
                             timeout=DEADLINE_S)
    first = draw(ADA, "mine", 1)
    for i in range(40):
        assert draw(EVE, f"theirs-{i}", 4).status_code == 200
    again = draw(ADA, "mine", 1)
    assert again.headers.get("Idempotency-Replayed") == "true" and again.content == first.content
    assert draw(EVE, "theirs-39", 4).headers.get("Idempotency-Replayed") == "true"
    assert "Idempotency-Replayed" not in draw(EVE, "theirs-0", 4).headers
