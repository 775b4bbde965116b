"""POST /v1/verify: pictures that tell the truth, that lie, and that are no pictures."""

import base64
import io
import json
import struct
import zlib

from PIL import Image, PngImagePlugin
import pytest
import requests

from tests.fuzz.make_corpus import png_files

from .conftest import DEADLINE_S, wait_for

FAST = {"seed": 42, "steps": 2, "sampler": "ddim"}


def verify(daemon, png, **headers):
    return requests.post(daemon.url + "/v1/verify", data=png, timeout=DEADLINE_S,
                         headers={"Content-Type": "image/png", **headers})


def draw(daemon, **params):
    answer = daemon.post({**FAST, **params}, headers={"Accept": "image/png"})
    assert answer.status_code == 200
    return answer


def change(png, paint=None, **text):
    """The picture with other pixels or with other members of its text."""
    image = Image.open(io.BytesIO(png))
    about = {**json.loads(image.text["denoised"]), **text}
    if paint:
        paint(image)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("denoised", json.dumps(about))
    out = io.BytesIO()
    image.save(out, "png", pnginfo=info)
    return out.getvalue()


def recode(png, convert, alpha=None):
    """The picture stored in another way, and with one of its pixels so opaque."""
    image = Image.open(io.BytesIO(png))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("denoised", image.text["denoised"])
    image, out = convert(image), io.BytesIO()
    if alpha is not None:
        image.putpixel((3, 3), (*image.getpixel((3, 3))[:-1], alpha))
    image.save(out, "png", pnginfo=info)
    return out.getvalue()


@pytest.mark.parametrize("convert", [
    lambda i: i.convert("RGB"), lambda i: i.convert("P"), lambda i: i.convert("LA"),
    lambda i: i.convert("RGBA"), lambda i: i.convert("RGB").quantize(256)],
    ids=["rgb", "palette", "grey-alpha", "rgba", "quantized"])
def test_equal_pixels_are_equal_however_they_are_stored(daemon, convert):
    png = draw(daemon, label=7, scale=2).content
    again = recode(png, convert)
    assert again != png
    found = verify(daemon, again).json()
    assert found["match"] and found["difference"] is None
    assert found["picture_digest"] == found["claimed"]["digest"]


def test_a_colour_in_a_grey_picture_is_found(daemon):
    def paint(image):
        image = image.convert("RGB")
        image.putpixel((1, 0), (9, 8, 7))
        return image

    found = verify(daemon, recode(draw(daemon, label=7).content, paint)).json()
    assert not found["match"] and found["picture_digest"] is None
    assert found["difference"]["pixels"] == 1 and found["difference"]["found"] == [9, 8, 7]


def test_large_pictures_of_our_own_are_taken(daemon):
    grid = draw(daemon, labels=list(range(10)), n=24, layout="grid").content
    film = requests.post(daemon.url + "/v1/samples", headers={"Accept": "image/apng"}, timeout=DEADLINE_S, json={
        "label": 7, "seed": 1, "steps": 63, "sampler": "ddim", "frames": 64, "scale": 8}).content
    for picture in (grid, film):
        assert len(picture) > 65536
        assert verify(daemon, picture).json()["match"]


def test_no_pixel_is_decoded_for_a_wrong_size(daemon):
    """The header is held against the text: the pixels, which are damaged, are not reached."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    text = Image.open(io.BytesIO(draw(daemon, label=7).content)).text["denoised"].encode()
    height = 1 << 22
    png = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 0, 0, 0, 0))
           + chunk(b"iTXt", b"denoised\0\0\0\0\0" + text) + chunk(b"IDAT", b"junk") + chunk(b"IEND", b""))
    answer = verify(daemon, png)
    assert answer.status_code == 400
    assert "but it has 1x4194304" in answer.json()["errors"][0]["detail"]


def test_the_quota_comes_before_the_pixels(start_daemon, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("eve eve-0123456789abcdef rows-per-minute=1\n")
    daemon = start_daemon("--api-keys-file", keys)
    key = {"Authorization": "Bearer eve-0123456789abcdef"}
    good = daemon.post({**FAST, "label": 7}, headers={**key, "Accept": "image/png"}).content
    damaged = good[:-20] + b"????" + good[-16:]
    assert verify(daemon, damaged, **key).status_code == 429


@pytest.mark.parametrize("params", [
    {"label": 7}, {"label": "seven", "scale": 8}, {"label": 1, "index": 5, "eta": 0.25},
    {"labels": [1, 2, 3], "n": 2, "layout": "grid", "columns": 4, "scale": 2, "index": 3},
    {"label": 3, "seed": 2**53 - 1, "guidance_scale": 2.5}])
def test_what_was_drawn_here_matches(daemon, params):
    drawn = draw(daemon, **params)
    found = verify(daemon, drawn.content).json()
    assert found["match"] and found["same_domain"] and found["difference"] is None
    assert found["drawn"]["digest"] == found["picture_digest"] == found["claimed"]["digest"] \
        == drawn.headers["X-Sample-Digest"]
    assert found["drawn"] == json.loads(Image.open(io.BytesIO(drawn.content)).text["denoised"])


def test_each_image_of_a_list_matches(daemon):
    for image in daemon.post({**FAST, "labels": [4, 9], "n": 2}).json()["images"]:
        found = verify(daemon, base64.b64decode(image["b64"])).json()
        assert found["match"] and found["drawn"]["digest"] == image["digest"]


def test_a_picture_saved_again_matches(daemon):
    assert verify(daemon, change(draw(daemon, label=7).content)).json()["match"]


def test_a_changed_pixel_is_found(daemon):
    png = draw(daemon, label=7, scale=2).content

    def paint(image):
        before.append(image.getpixel((11, 6)))
        image.putpixel((11, 6), before[0] ^ 128)

    before = []
    found = verify(daemon, change(png, paint)).json()
    assert not found["match"] and found["same_domain"] and found["picture_digest"] is None
    assert found["difference"] == {"pixels": 1, "x": 11, "y": 6, "found": [before[0] ^ 128],
                                   "expected": before}


def test_a_wrong_seed_is_found(daemon):
    png = draw(daemon, label=7).content
    params = json.loads(Image.open(io.BytesIO(png)).text["denoised"])["params"]
    found = verify(daemon, change(png, params={**params, "seed": 43})).json()
    assert not found["match"] and found["difference"]["pixels"] > 100
    assert found["picture_digest"] == found["claimed"]["digest"] != found["drawn"]["digest"]


def test_another_domain_is_said(daemon):
    png = draw(daemon, label=7).content
    other = {"model_digest": "x", "precision": "fp32", "kernels": "abacus-1"}
    found = verify(daemon, change(png, determinism=other)).json()
    assert found["match"] and not found["same_domain"]
    assert found["claimed"]["kernels"] == "abacus-1"


def test_another_model_is_said(daemon):
    digest = "sha256:" + "0" * 64
    answer = verify(daemon, change(draw(daemon, label=7).content,
                                   model={"id": "mnist", "digest": digest}))
    assert answer.status_code == 404 and digest in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/model/digest"


def test_wrong_texts_name_their_fields(daemon):
    png = draw(daemon, label=7).content
    params = json.loads(Image.open(io.BytesIO(png)).text["denoised"])["params"]
    for text, pointer in [
            ({"version": 2}, "/version"), ({"junk": 1}, "/junk"), ({"model": 1}, "/model/digest"),
            ({"digest": 1}, "/digest"), ({"digest": "x" * 80}, "/digest"),
            ({"determinism": {"precision": "fp32"}}, "/determinism/kernels"),
            ({"params": []}, "/params"), ({"params": {**params, "steps": 0}}, "/params/steps"),
            ({"params": {**params, "n": 2}}, "/params/layout"),
            ({"params": {**params, "model": "mnist"}}, "/params/model"),
            ({"params": {**params, "timeout_ms": 5}}, "/params/timeout_ms"),
            ({"params": {k: v for k, v in params.items() if k != "seed"}}, "/params/seed"),
            ({"params": {**params, "scale": 2}}, "/params"),
            ({"params": {**params, "junk": 2}}, "/params/junk")]:
        answer = verify(daemon, change(png, **text))
        assert answer.status_code == 400, text
        assert pointer in [e["pointer"] for e in answer.json()["errors"]], (text, answer.text)


def test_no_pictures_are_refused(daemon):
    files = png_files()
    files["large"] = b"\0" * (8 * 2**20 + 1)
    good = draw(daemon, label=7).content
    files["wrong-crc"] = good.replace(b"IDAT", b"IDAU")
    files["damaged"] = good[:-20] + b"????" + good[-16:]
    files["see-through"] = recode(good, lambda i: i.convert("LA"), alpha=7)
    details = {name: verify(daemon, data).json()["detail"] for name, data in files.items() if data}
    assert verify(daemon, b"").status_code == 400
    for name, part in [("wrong-crc", "CRC"), ("wrong-text-crc", "CRC"),
                       ("text-bomb", "iTXt"), ("pixel-bomb", "too many pixels"),
                       ("interlace", "interlace"), ("deep", "8 bits"), ("damaged", "IDAT"),
                       ("see-through", "transparency"),
                       ("truncated", "too soon"), ("after-the-end", "after the end"),
                       ("no-text", "no text"), ("two-texts", "twice"), ("old-text", "iTXt"),
                       ("large", "more than")]:
        assert part in details[name], (name, details[name])


def test_only_png_bodies(daemon):
    assert verify(daemon, b"{}", **{"Content-Type": "application/json"}).status_code == 415
    assert verify(daemon, b"x", Accept="image/png").status_code == 406


def test_its_rows_wait_in_the_one_queue(start_daemon):
    daemon = start_daemon("--max-queue-rows", 1, "--max-rows-per-request", 1, "--workers", 1)
    png = draw(daemon, label=7).content
    client = daemon.send_post({"label": 1, "steps": 1000, "sampler": "ddpm", "guidance_scale": 1})
    wait_for(lambda: daemon.metric("queue_rows") == 1, "the queue to fill")
    answer = verify(daemon, png)
    assert answer.status_code == 503 and "Retry-After" in answer.headers
    client.close()
