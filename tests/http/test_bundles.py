"""Every picture in one answer: as a ZIP archive and as the parts of a multipart/mixed."""

import email.parser
import email.policy
import hashlib
import io
import json
import socket
import zipfile

import pytest
import requests
from PIL import Image

from .conftest import DEADLINE_S, ENDLESS, wait_for
from .contract import DOCUMENT, validate
from .test_errors import check_problem

BODY = {"labels": [7, "two"], "n": 2, "seed": 42, "index": 3, "steps": 3}
NAMES = ["0003-7-seed42.png", "0004-7-seed42.png", "0005-2-seed42.png", "0006-2-seed42.png"]


def files_of_zip(answer):
    """{name: (bytes, digest)} of an archive, all of whose checks hold."""
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
        return {e.filename: (archive.read(e), e.comment.decode()) for e in archive.infolist()}


def files_of_parts(answer):
    """The same of a multipart/mixed, read as a mail is."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    assert message.get_content_type() == "multipart/mixed" and not message.defects
    files = {}
    for part in message.iter_parts():
        assert not part.defects
        data = part.get_payload(decode=True)
        assert int(part["Content-Length"]) == len(data)
        if part.get_content_type() == "image/png":
            assert part["X-Seed"] == "42"
        else:
            assert part.get_content_type() == "application/json"
        files[part.get_filename()] = (data, part.get("X-Sample-Digest", ""))
    return files


READERS = {"application/zip": files_of_zip, "multipart/mixed": files_of_parts}


def post(daemon, body, accept):
    answer = daemon.post(body, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("accept", READERS)
def test_every_image_is_in_it(daemon, accept):
    answer = post(daemon, BODY, accept)
    assert answer.headers["X-Seed"] == "42" and "X-Sample-Digest" not in answer.headers
    files = READERS[accept](answer)
    assert list(files) == ["manifest.json", *NAMES]
    manifest = json.loads(files["manifest.json"][0])
    validate(manifest, DOCUMENT["components"]["schemas"]["Manifest"])
    document = daemon.post(BODY).json()
    for key in ("model", "params", "determinism"):
        assert manifest[key] == document[key]
    assert [image["file"] for image in manifest["images"]] == NAMES
    for entry, image in zip(manifest["images"], document["images"]):
        data, digest = files[entry["file"]]
        assert digest == entry["digest"] == image["digest"]
        pixels = Image.open(io.BytesIO(data)).tobytes()
        assert digest == "sha256:" + hashlib.sha256(pixels).hexdigest()
    # What it says draws it again, to the byte.
    assert post(daemon, {**manifest["params"], "model": "mnist"}, accept).content == answer.content


@pytest.mark.parametrize("accept", READERS)
def test_a_grid_is_one_file(daemon, accept):
    body = {**BODY, "layout": "grid", "scale": 2}
    files = READERS[accept](post(daemon, body, accept))
    assert list(files) == ["manifest.json", "grid-seed42.png"]
    manifest = json.loads(files["manifest.json"][0])
    validate(manifest, DOCUMENT["components"]["schemas"]["Manifest"])
    assert manifest["sheet"]["file"] == "grid-seed42.png"
    assert not any("file" in image for image in manifest["images"])
    data, digest = files["grid-seed42.png"]
    assert data == daemon.post(body, headers={"Accept": "image/png"}).content
    assert manifest["sheet"]["digest"] == digest


def run_job(daemon, body):
    answer = requests.post(daemon.url + "/v1/jobs", json=body, timeout=DEADLINE_S)
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    wait_for(lambda: daemon.get(f"/v1/jobs/{job}?wait=60").json()["status"] == "succeeded", "the job")
    return job


@pytest.mark.parametrize("accept", READERS)
def test_of_a_job(daemon, accept):
    job = run_job(daemon, BODY)
    answer = daemon.get(f"/v1/jobs/{job}/result", headers={"Accept": accept})
    assert answer.content == post(daemon, BODY, accept).content
    assert answer.headers["Vary"] == "Accept" and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept, media_type", [
    ("image/png, application/json;q=0.5", "application/json"),  # several images are no picture
    ("image/*, application/zip;q=0.1", "application/zip"), ("*/*", "application/json")])
def test_a_job_is_had_in_the_best_form_that_it_has(daemon, accept, media_type):
    job = run_job(daemon, {"label": 1, "n": 2, "steps": 1})
    answer = daemon.get(f"/v1/jobs/{job}/result", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == media_type
    refused = daemon.get(f"/v1/jobs/{job}/result", headers={"Accept": "image/png"})
    check_problem(refused, 406, "not-acceptable")
    assert "zip" in refused.json()["detail"]


def test_large_and_at_once(daemon):
    job = run_job(daemon, {"label": 8, "n": 200, "steps": 1, "scale": 4, "seed": 1})
    path = f"/v1/jobs/{job}/result"
    plain = [daemon.get(path, headers={"Accept": accept}).content for accept in READERS]
    assert all(len(body) > 200 * 1000 for body in plain)
    with requests.Session() as session:  # one connection, each answer whole
        for _ in range(3):
            for accept, expected in zip(READERS, plain):
                answer = session.get(daemon.url + path, headers={"Accept": accept}, timeout=DEADLINE_S)
                assert answer.content == expected


def test_those_who_leave_while_it_is_made(start_daemon):
    """One worker that is at work all the time; the answers are made in between or not at all."""
    daemon = start_daemon("--workers", 1)
    job = run_job(daemon, {"label": 8, "n": 100, "steps": 1, "scale": 4, "seed": 1})
    busy = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("workers_busy") == 1, "the worker")
    request = f"GET /v1/jobs/{job}/grid.png HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for _ in range(20):
        with daemon.connect() as s:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
    requests.delete(daemon.url + f"/v1/jobs/{job}", timeout=DEADLINE_S)
    assert daemon.get(f"/v1/jobs/{job}/grid.png").status_code == 404
    busy.close()
    wait_for(lambda: daemon.metric("workers_busy") == 0, "the end")


def test_a_drain_sends_them(start_daemon):
    daemon = start_daemon("--workers", 1)
    job = run_job(daemon, {"label": 8, "n": 100, "steps": 1, "scale": 4, "seed": 1})
    expected = daemon.get(f"/v1/jobs/{job}/grid.png").content
    busy = daemon.send_post({**ENDLESS, "n": 1, "steps": 300})
    wait_for(lambda: daemon.metric("workers_busy") == 1, "the worker")
    with daemon.connect() as s:
        s.sendall(f"GET /v1/jobs/{job}/grid.png HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        daemon.get("/livez")  # it was read: requests are in order of their connections' data
        daemon.signal()
        answer = s.makefile("rb").read()
    if answer:  # else the signal was before it
        assert answer.endswith(expected)
    busy.close()
    assert daemon.wait() == 0
