"""Every picture says in the IPTC's terms that a model drew it, and exiftool understands it."""

import base64
import io
import json
import subprocess
import zipfile

import pytest
import requests

from .conftest import BINARY, DEADLINE_S, MODEL
from .contract import parse_events

SMALL = {"label": 7, "seed": 1, "steps": 4, "sampler": "ddim"}
URL = "/v1/samples/7.png?seed=1&steps=4&sampler=ddim"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def chunks(png):
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at:at + 4], "big")
        yield png[at + 4:at + 8], png[at + 8:at + 8 + size]
        at += 12 + size


def packets(png):
    """The XMP packets of a picture, each of which stands before its pixels."""
    found, has_pixels = [], False
    for kind, data in chunks(png):
        has_pixels |= kind == b"IDAT"
        if kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0"):
            assert not has_pixels
            assert data[17:22] == b"\0\0\0\0\0"  # not compressed, of no language
            found.append(data[22:])
    return found


def post(daemon, path, body, accept="application/json"):
    answer = requests.post(daemon.url + path, json=body, headers={"Accept": accept}, timeout=DEADLINE_S)
    assert answer.status_code in (200, 202), answer.text
    return answer


def events(daemon, path, body):
    answer = post(daemon, path, body, "text/event-stream")
    return [e["data"] for e in parse_events(answer.content.splitlines())]


def of_parts(answer):
    mark = answer.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            for part in answer.content.split(b"--" + mark) if b"Content-Type: image/" in part]


def pictures(daemon):
    """{where: pictures} of everything that draws one."""
    grid = {"labels": [1, 2], "layout": "grid", "seed": 1, "steps": 1}
    generation = {"prompt": "1 2", "seed": 1, "num_inference_steps": 4}
    archive = zipfile.ZipFile(io.BytesIO(post(daemon, "/v1/samples", {**SMALL, "n": 2}, "application/zip").content))
    sheet = post(daemon, "/v1/samples", grid).json()
    job = post(daemon, "/v1/jobs", {**grid, "id": "marked"}).json()["id"]
    assert daemon.get(f"/v1/jobs/{job}?wait=60").json()["status"] == "succeeded"
    b64 = base64.b64decode
    return {
        "png": [post(daemon, "/v1/samples", {**SMALL, "scale": 3}, "image/png").content],
        "json": [b64(i["b64"]) for i in post(daemon, "/v1/samples", {**SMALL, "n": 2}).json()["images"]],
        "grid": [post(daemon, "/v1/samples", grid, "image/png").content],
        "sheet": [b64(sheet["sheet"]["b64"])],
        "film": [post(daemon, "/v1/samples", SMALL, "image/apng").content],
        "zip": [archive.read(name) for name in archive.namelist() if name.endswith("png")],
        "parts": of_parts(post(daemon, "/v1/samples", {**SMALL, "n": 2}, "multipart/mixed")),
        "url": [daemon.get(URL).content],
        "film's url": [daemon.get(URL.replace(".png", ".apng")).content],
        "events": [b64(e["b64"]) for e in events(daemon, "/v1/samples", {**SMALL, "preview_every": 1}) if "b64" in e],
        "openai": [b64(i["b64_json"]) for i in
                   post(daemon, "/v1/images/generations", generation).json()["data"]],
        "openai's events": [b64(e["b64_json"]) for e in
                            events(daemon, "/v1/images/generations",
                                   {**generation, "stream": True, "partial_images": 2}) if "b64_json" in e],
        "job's grid": [daemon.get(f"/v1/jobs/{job}/grid.png").content],
        "job's image": [daemon.get(f"/v1/jobs/{job}/images/0.png").content],
    }


def read_by_exiftool(folder, png):
    path = folder / "picture.png"
    path.write_bytes(png)
    run = subprocess.run(["exiftool", "-json", "-G1", "-validate", "-warning", "-error", "-XMP:all", path],
                         capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    (found,) = json.loads(run.stdout)
    return {k: v for k, v in found.items() if k != "SourceFile"}


def test_every_picture_says_that_a_model_drew_it(daemon, tmp_path):
    digest = daemon.get("/v1/models/mnist").json()["digest"]
    version = daemon.get("/version").json()["version"]
    seen = set()
    for where, found in pictures(daemon).items():
        assert found, where
        for png in found:
            (packet,) = packets(png)
            seen.add(packet)
    (packet,) = seen  # the same of every picture of a model
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf"') and packet.endswith(b"<?xpacket end=\"r\"?>")
    for where in (URL, URL.replace(".png", ".apng")):
        assert read_by_exiftool(tmp_path, daemon.get(where).content) == {
            "ExifTool:Validate": "OK",
            "XMP-iptcExt:DigitalSourceType": SOURCE,
            "XMP-iptcExt:AISystemUsed": "denoised, model mnist",
            "XMP-iptcExt:AISystemVersionUsed": f"denoised {version}, model {digest}"}


def test_it_can_be_left_out(daemon, start_daemon):
    bare = start_daemon("--provenance-xmp", "off")
    for where, found in pictures(bare).items():
        assert found and not any(packets(png) for png in found), where
    plain, marked = bare.get(URL), daemon.get(URL)
    assert [c for c in chunks(marked.content) if not c[1].startswith(b"XML:")] == list(chunks(plain.content))
    # Other bytes are another strong ETag; equal ones are equal.
    assert plain.headers["ETag"] != marked.headers["ETag"]
    assert daemon.get(URL).headers["ETag"] == marked.headers["ETag"] and daemon.get(URL).content == marked.content
    assert plain.headers["X-Sample-Digest"] == marked.headers["X-Sample-Digest"]


def test_another_model_is_told(daemon, start_daemon, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(open(MODEL, "rb").read())
    renamed = start_daemon(model=str(other)).get(URL)
    assert b"model other<" in packets(renamed.content)[0]
    assert renamed.headers["ETag"] != daemon.get(URL).headers["ETag"]


@pytest.mark.parametrize("flags,variables,n", [
    ((), {}, 1), (("--provenance-xmp", "off"), {}, 0), ((), {"DENOISED_PROVENANCE_XMP": "off"}, 0)])
def test_the_command_line_does_the_same(daemon, tmp_path, flags, variables, n):
    out = tmp_path / "seven.png"
    subprocess.run([BINARY, "sample", "--model", MODEL, "--label", "7", "--seed", "1", "--steps", "4", "--sampler",
                    "ddim", "-o", out, *flags], check=True, capture_output=True, timeout=DEADLINE_S,
                   env={"PATH": "/usr/bin:/bin", **variables})
    png = out.read_bytes()
    assert len(packets(png)) == n
    assert (png == daemon.get(URL).content) == (n == 1)
