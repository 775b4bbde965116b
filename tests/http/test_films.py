"""Films: animated PNGs of images on their way out of the noise."""

import base64
import io
import json
import struct
import zlib

import pytest
import requests
from PIL import Image

from .conftest import DEADLINE_S, ENDLESS, wait_for
from .contract import EVENTS, check_events, parse_events
from .test_bundles import files_of_zip, run_job
from .test_errors import check_problem

STILL = {"label": 7, "seed": 42, "steps": 10}
FILM = {**STILL, "format": "apng", "frames": 5}


def post(daemon, body, accept):
    answer = daemon.post(body, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == accept
    return answer


def chunks(data):
    """[(kind, data)] of a PNG, whose checksums hold."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = [], 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body)
        found.append((kind.decode(), body))
        at += 12 + size
    return found


def frames_of(data):
    """The frames' pixels and delays, by Pillow and by the letter."""
    parts = chunks(data)
    kinds = [kind for kind, _ in parts]
    assert kinds[0] == "IHDR" and kinds[-1] == "IEND" and kinds.index("acTL") < kinds.index("IDAT")
    controls = [body for kind, body in parts if kind == "fcTL"]
    assert struct.unpack(">II", dict(parts)["acTL"]) == (len(controls), 0)
    assert kinds.index("IDAT") < kinds.index("fcTL")  # the file's own picture is no frame
    sequence = [struct.unpack(">I", body[:4])[0] for kind, body in parts if kind in ("fcTL", "fdAT")]
    assert sequence == list(range(len(sequence)))
    delays = []
    for body in controls:
        _, width, height, x, y, number, by, disposal, blend = struct.unpack(">IIIIIHHBB", body)
        assert (width, height) == struct.unpack(">II", dict(parts)["IHDR"][:8])
        assert (x, y, disposal, blend) == (0, 0, 0, 0)
        delays.append(1000 * number // by)
    with Image.open(io.BytesIO(data)) as image:
        # Pillow counts the file's own picture too, and shows it first.
        assert image.is_animated and image.n_frames == len(controls) + 1
        own = image.convert("L").tobytes()
        frames = []
        for i in range(1, image.n_frames):
            image.seek(i)
            frames.append(image.convert("L").tobytes())
    assert frames[-1] == own
    return frames, delays


def pixels(data):
    return Image.open(io.BytesIO(data)).convert("L").tobytes()


def test_the_last_frame_is_the_image(daemon):
    answer = post(daemon, FILM, "image/apng")
    still = post(daemon, STILL, "image/png")
    frames, delays = frames_of(answer.content)
    assert len(frames) == 5 and len(set(frames)) == 5
    assert frames[-1] == pixels(still.content)
    assert delays == [80] * 4 + [2000]
    assert answer.headers["X-Sample-Digest"] == still.headers["X-Sample-Digest"]
    assert post(daemon, FILM, "image/apng").content == answer.content
    # A PNG it is as well.
    assert post(daemon, FILM, "image/png").content == answer.content


def test_its_frames_are_the_estimates_after_their_steps(daemon):
    """5 frames of 10 steps: the noise, then after 2, 5, 7 and 10. Previews are made on another way."""
    with requests.post(daemon.url + "/v1/samples", json={**STILL, "preview_every": 1}, stream=True,
                       headers={"Accept": "text/event-stream"}, timeout=DEADLINE_S) as answer:
        events = [e["data"] for e in check_events(answer.iter_lines(), EVENTS["createSamples"])
                  if e["event"] == "preview"]
    previews = {e["step"]: pixels(base64.b64decode(e["b64"])) for e in events}
    frames, _ = frames_of(post(daemon, FILM, "image/apng").content)
    seen = {step: frames[i] for i, step in [(1, 2), (2, 5), (3, 7)] if step in previews}
    assert seen and all(previews[step] == frame for step, frame in seen.items())
    every = {**FILM, "frames": 11}
    frames, _ = frames_of(post(daemon, every, "image/apng").content)
    assert all(frames[step] == preview for step, preview in previews.items() if step < 10)
    # The noise does not depend on the label.
    assert frames[0] == frames_of(post(daemon, {**every, "label": 3}, "image/apng").content)[0][0]


def test_amid_others_it_is_the_same(daemon):
    alone = post(daemon, {**FILM, "index": 2}, "image/apng").content
    body = {**FILM, "labels": [1, 7], "n": 8, "index": 0}
    del body["label"]
    document = post(daemon, body, "application/json").json()
    assert {image["mime"] for image in document["images"]} == {"image/apng"}
    assert document["params"]["frames"] == 5 and document["params"]["frame_ms"] == 80
    first, _ = frames_of(base64.b64decode(
        next(i for i in document["images"] if i["index"] == 9)["b64"]))
    again, _ = frames_of(post(daemon, {**FILM, "index": 9}, "image/apng").content)
    assert first == again
    assert frames_of(alone)[0][-1] == pixels(post(daemon, {**STILL, "index": 2}, "image/png").content)


def test_of_a_grid(daemon):
    body = {"labels": [1, 2, 3], "seed": 5, "steps": 4, "layout": "grid", "columns": 2, "scale": 3}
    still = post(daemon, body, "image/png").content
    frames, delays = frames_of(post(daemon, {**body, "format": "apng", "frame_ms": 3000},
                                    "image/apng").content)
    assert len(frames) == 5 and delays == [3000] * 5
    assert frames[-1] == pixels(still)
    # Each cell of each frame is the film of its image.
    for i, label in enumerate(body["labels"]):
        one = {"label": label, "index": i, "seed": 5, "steps": 4, "format": "apng", "scale": 3}
        for sheet, frame in zip(frames, frames_of(post(daemon, one, "image/apng").content)[0]):
            left, top = i % 2 * 84, i // 2 * 84
            cell = Image.frombytes("L", (168, 168), sheet).crop((left, top, left + 84, top + 84))
            assert cell.tobytes() == frame


def test_accept_makes_a_film(daemon):
    answer = post(daemon, STILL, "image/apng")
    frames, _ = frames_of(answer.content)
    assert len(frames) == 11
    text = next(body for kind, body in chunks(answer.content) if kind == "iTXt" and body.startswith(b"denoised\0"))
    params = json.loads(text.split(b"\0\0\0\0\0", 1)[1])["params"]
    assert (params["format"], params["frames"], params["frame_ms"]) == ("apng", 11, 80)
    assert post(daemon, {**params, "model": "mnist"}, "image/apng").content == answer.content


@pytest.mark.parametrize("body, accept, pointer", [
    ({**STILL, "format": "png"}, "image/apng", "/format"),
    ({**STILL, "format": "gif"}, "image/apng", "/format"),
    ({**STILL, "frames": 4}, "image/png", "/frames"),
    ({**STILL, "frame_ms": 40}, "application/json", "/frame_ms"),
    ({**FILM, "frames": 1}, "image/apng", "/frames"),
    ({**FILM, "frames": 12}, "image/apng", "/frames"),  # of 10 steps there are 11
    ({**FILM, "steps": 900, "frames": 65}, "image/apng", "/frames"),
    ({**FILM, "frames": 2.5}, "image/apng", "/frames"),
    ({**FILM, "frame_ms": 9}, "image/apng", "/frame_ms"),
    ({**FILM, "frame_ms": 10001}, "image/apng", "/frame_ms"),
    ({**FILM, "n": 2}, "image/apng", "/layout"),
    ({**FILM, "n": 100, "scale": 16}, "application/json", "/frames")])  # still pictures would do
def test_what_is_wrong_is_named(daemon, body, accept, pointer):
    answer = daemon.post(body, headers={"Accept": accept})
    check_problem(answer, 400, "invalid-request")
    assert pointer in [e["pointer"] for e in answer.json()["errors"]], answer.text


def test_as_a_function_of_its_url(daemon):
    path = "/v1/samples/7.apng?seed=42&steps=10&frames=5"
    answer = daemon.get(path)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/apng"
    assert answer.content == post(daemon, FILM, "image/apng").content
    again = daemon.get(path)
    assert again.content == answer.content and "hit" in again.headers["Cache-Status"]
    assert again.headers["Content-Type"] == "image/apng"
    still = daemon.get("/v1/samples/7.png?seed=42&steps=10")
    tags = {answer.headers["ETag"], still.headers["ETag"],
            daemon.get(path + "&frame_ms=90").headers["ETag"]}
    assert len(tags) == 3
    assert daemon.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    head = requests.head(daemon.url + path, timeout=DEADLINE_S)
    assert head.headers["Content-Type"] == "image/apng" and head.headers["ETag"] in tags
    check_problem(daemon.get("/v1/samples/7.png?frames=5"), 400, "invalid-request")
    check_problem(daemon.get("/v1/samples/7.apng?format=apng"), 400, "invalid-request")


def test_in_an_archive_and_of_jobs(daemon):
    body = {**FILM, "n": 2}
    job = run_job(daemon, body)
    result = f"/v1/jobs/{job}/result"
    archive = daemon.get(result, headers={"Accept": "application/zip"})
    assert archive.content == post(daemon, body, "application/zip").content
    films = {name: data for name, (data, _) in files_of_zip(archive).items() if "seed" in name}
    assert list(films) == ["0000-7-seed42.apng", "0001-7-seed42.apng"]
    for i, data in enumerate(films.values()):
        assert len(frames_of(data)[0]) == 5
        assert daemon.get(f"/v1/jobs/{job}/images/{i}.png").content == data
    grid = daemon.get(f"/v1/jobs/{job}/grid.png").content
    assert not getattr(Image.open(io.BytesIO(grid)), "is_animated", False)
    check_problem(daemon.get(result, headers={"Accept": "image/apng"}), 406, "not-acceptable")

    sheet = run_job(daemon, {**body, "layout": "grid"})
    film = daemon.get(f"/v1/jobs/{sheet}/result", headers={"Accept": "image/apng"})
    assert film.headers["Content-Type"] == "image/apng" and len(frames_of(film.content)[0]) == 5
    assert daemon.get(f"/v1/jobs/{sheet}/grid.png").content == film.content
    one = daemon.get(f"/v1/jobs/{sheet}/images/1.png").content
    assert pixels(one) == pixels(films["0001-7-seed42.apng"])
    # What a browser says when it opens a link: of still images a document, not 406.
    still = run_job(daemon, STILL)
    browser = "text/html,application/xhtml+xml,image/avif,image/webp,image/apng,*/*;q=0.8"
    answer = daemon.get(f"/v1/jobs/{still}/result", headers={"Accept": browser})
    assert answer.headers["Content-Type"] == "application/json"


def test_events_have_films(daemon):
    answer = daemon.post(FILM, headers={"Accept": "text/event-stream"})
    image = next(e["data"] for e in parse_events(answer.text.split("\n")) if e["event"] == "image")
    assert image["mime"] == "image/apng"
    assert base64.b64decode(image["b64"]) == post(daemon, FILM, "image/apng").content


def test_a_film_can_be_verified(daemon):
    film = post(daemon, FILM, "image/apng").content
    answer = requests.post(daemon.url + "/v1/verify", data=film, headers={"Content-Type": "image/png"},
                           timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["match"] is True
    assert answer.json()["drawn"]["params"]["frames"] == 5


def test_room_for_frames_is_bounded(start_daemon):
    """64 MiB of room, of which a large film takes more than half."""
    daemon = start_daemon("--workers", 1, "--max-frames-bytes", 64 << 20)
    large = {**ENDLESS, "format": "apng", "frames": 64, "n": 256, "scale": 4}
    check_problem(daemon.post(large), 400, "invalid-request")
    large = {**large, "scale": 1, "n": 250}  # 12 MB
    clients = []
    for held in range(5):
        clients.append(daemon.send_post(large))
        wait_for(lambda: daemon.metric("queue_jobs") == held + 1, "one more")
    answer = daemon.post(large)
    check_problem(answer, 503, "queue-full")
    assert int(answer.headers["Retry-After"]) >= 1 and "films" in answer.json()["detail"]
    # A still picture and a small film have room; and what is given up makes some.
    assert daemon.post({"label": 1, "steps": 1}).status_code == 200
    assert daemon.post({"label": 1, "steps": 1, "format": "apng"}).status_code == 200
    clients.pop().close()
    wait_for(lambda: daemon.metric("queue_jobs") == 4, "one less")
    clients.append(daemon.send_post(large))
    wait_for(lambda: daemon.metric("queue_jobs") == 5, "one more")
    for client in clients:
        client.close()
    wait_for(lambda: daemon.metric("queue_jobs") == 0, "the end")
    assert daemon.post({**large, "n": 1, "steps": 70}).status_code == 200
