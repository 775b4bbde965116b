"""Drawing: what comes back, in both forms, and what it says of itself."""

import base64
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image


def png_of(image):
    return Image.open(io.BytesIO(base64.b64decode(image["b64"], validate=True)))


def pixels_of(image):
    return np.asarray(png_of(image))


def digest_of(pixels):
    return "sha256:" + hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def test_four_sevens(daemon):
    answer = daemon.post({"label": 7, "n": 4, "seed": 42})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document["object"] == "sample_list"
    assert document["params"]["seed"] == 42
    assert [i["index"] for i in document["images"]] == [0, 1, 2, 3]
    images = [pixels_of(i) for i in document["images"]]
    for image, entry in zip(images, document["images"]):
        assert image.shape == (28, 28) and image.dtype == np.uint8
        assert entry["label"] == 7 and entry["seed"] == 42 and entry["mime"] == "image/png"
        assert entry["digest"] == digest_of(image)
        assert image.max() > 200 and image.mean() < 100  # ink on a dark ground
    assert len({i.tobytes() for i in images}) == 4


def test_the_body_that_curl_sends(daemon):
    """curl -d calls any body application/x-www-form-urlencoded."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert daemon.post('{"label":7,"steps":1}', headers=headers).status_code == 200


def test_the_server_draws_and_returns_a_seed(daemon):
    documents = [daemon.post({"label": 1, "steps": 1}).json() for _ in range(2)]
    seeds = [d["params"]["seed"] for d in documents]
    assert all(0 <= s < 2**53 for s in seeds) and seeds[0] != seeds[1]
    again = daemon.post({"label": 1, "steps": 1, "seed": seeds[0]}).json()
    assert again["images"][0]["digest"] == documents[0]["images"][0]["digest"]


def test_labels_in_order(daemon):
    document = daemon.post({"labels": [3, 1, 3], "n": 2, "seed": 8, "steps": 2}).json()
    assert [i["label"] for i in document["images"]] == [3, 3, 1, 1, 3, 3]
    assert [i["index"] for i in document["images"]] == list(range(6))
    assert document["params"]["labels"] == [3, 1, 3]


def test_a_class_name_is_its_label(daemon):
    names = daemon.get("/v1/models").json()["data"][0]["classes"]
    by_name = daemon.post({"label": names[7], "seed": 1, "steps": 2}).json()
    by_number = daemon.post({"label": 7, "seed": 1, "steps": 2}).json()
    assert by_name["params"]["label"] == 7
    assert by_name["images"] == by_number["images"]


def test_scale_repeats_pixels(daemon):
    body = {"label": 4, "seed": 2, "steps": 3}
    small = daemon.post(body).json()["images"][0]
    large = daemon.post({**body, "scale": 5}).json()["images"][0]
    assert np.array_equal(pixels_of(large), np.kron(pixels_of(small), np.ones((5, 5), np.uint8)))
    assert large["digest"] == small["digest"]


def test_png_by_accept(daemon):
    body = {"label": 4, "seed": 2, "steps": 3}
    listed = daemon.post(body).json()["images"][0]
    answer = daemon.post(body, headers={"Accept": "image/png"})
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == base64.b64decode(listed["b64"])
    assert answer.headers["X-Seed"] == "2"
    assert answer.headers["X-Sample-Digest"] == listed["digest"]
    assert answer.headers["X-Model-Digest"].startswith("sha256:")
    assert answer.headers["X-Determinism"]
    assert answer.headers["Vary"] == "Accept"
    timing = answer.headers["Server-Timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == ["queue", "sample", "encode"]


@pytest.mark.parametrize("accept,expected", [
    ("*/*", "application/json"), ("application/*", "application/json"),
    ("image/*", "image/png"), ("image/png;q=0.9, application/json;q=0.5", "image/png"),
    ("image/png;q=0.5, */*;q=0.6", "application/json"), ("text/html, image/PNG", "image/png"),
    ("application/json;q=0, */*", "image/png")])
def test_accept_is_weighed(daemon, accept, expected):
    answer = daemon.post({"label": 4, "steps": 1}, headers={"Accept": accept})
    assert answer.headers["Content-Type"] == expected


def test_a_grid_holds_all_images(daemon):
    body = {"labels": [0, 1, 2, 3, 4], "n": 1, "seed": 6, "steps": 3}
    images = [pixels_of(i) for i in daemon.post(body).json()["images"]]
    document = daemon.post({**body, "layout": "grid", "columns": 3, "scale": 2}).json()
    sheet = document["sheet"]
    assert (sheet["rows"], sheet["columns"]) == (2, 3)
    assert (sheet["height"], sheet["width"]) == (112, 168)
    assert all("b64" not in i for i in document["images"])
    expected = np.vstack([np.hstack(images[:3]),
                          np.hstack(images[3:] + [np.zeros((28, 28), np.uint8)])])
    assert np.array_equal(pixels_of(sheet), np.kron(expected, np.ones((2, 2), np.uint8)))
    assert sheet["digest"] == digest_of(expected)
    assert [i["digest"] for i in document["images"]] == [digest_of(i) for i in images]

    answer = daemon.post({**body, "layout": "grid", "columns": 3, "scale": 2},
                         headers={"Accept": "image/png"})
    assert answer.content == base64.b64decode(sheet["b64"])
    assert answer.headers["X-Sample-Digest"] == sheet["digest"]


def test_a_grid_is_near_a_square(daemon):
    answer = daemon.post({"label": 1, "n": 10, "steps": 1, "layout": "grid"}).json()
    assert (answer["params"]["columns"], answer["sheet"]["rows"]) == (4, 3)


def test_resolved_parameters_are_a_request(daemon):
    for body in ({"label": 2}, {"labels": [1, 2], "sampler": "ddim", "steps": 3, "eta": 0.25},
                 {"label": 0, "n": 3, "layout": "grid", "steps": 2, "index": 7}):
        first = daemon.post(body).json()
        again = daemon.post({**first["params"], "model": first["model"]["digest"]}).json()
        for key in ("params", "model", "images", "determinism"):
            assert again[key] == first[key]


def test_the_png_says_how_to_draw_it_again(daemon):
    document = daemon.post({"label": 5, "n": 2, "seed": 77, "steps": 2, "sampler": "ddim"}).json()
    about = json.loads(png_of(document["images"][1]).text["denoised"])
    assert about["determinism"] == document["determinism"]
    assert about["model"] == document["model"]
    params = about["params"]
    assert (params["label"], params["seed"], params["index"]) == (5, 77, 1)
    again = daemon.post(params).json()
    assert again["params"] == params
    assert again["images"][0]["digest"] == document["images"][1]["digest"] == about["digest"]


def test_every_sampler_and_guidance(daemon):
    digests = set()
    names = daemon.get("/v1/models").json()["data"][0]["samplers"]
    known = [s["name"] for s in daemon.get("/v1/capabilities").json()["samplers"]]
    assert set(names) <= set(known)
    assert {"ddpm", "ddim", "dpmpp_2m"} <= set(names)
    for sampler in names:
        for guidance_scale in (0, 1, 3.5):
            body = {"label": 9, "seed": 3, "steps": 4, "sampler": sampler,
                    "guidance_scale": guidance_scale}
            answer = daemon.post(body)
            assert answer.status_code == 200, answer.text
            assert answer.json()["params"]["guidance_scale"] == guidance_scale
            digests.add(answer.json()["images"][0]["digest"])
    assert len(digests) == 3 * len(names)


def test_get_png(daemon):
    listed = daemon.post({"label": 7, "n": 2, "seed": 42, "steps": 3}).json()["images"]
    answer = daemon.get("/v1/samples/7.png?seed=42&steps=3&index=1")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == base64.b64decode(listed[1]["b64"])
    assert answer.headers["X-Sample-Digest"] == listed[1]["digest"]
    assert daemon.get("/v1/samples/seven.png?seed=42&steps=3&index=1").content == answer.content
    assert daemon.get("/v1/samples/se%76en.png?se%65d=42&steps=3&index=1").content == answer.content


def test_etag_and_304(daemon):
    url = "/v1/samples/7.png?seed=42&steps=3"
    first = daemon.get(url)
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
    drawn = daemon.metric("steps_total")
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = daemon.get(url, headers={"If-None-Match": known})
        assert answer.status_code == 304 and answer.content == b""
        assert answer.headers["ETag"] == etag
    # The defaults spelt out are the same picture.
    default = daemon.get("/v1/models").json()["data"][0]["defaults"]
    same = daemon.get(f"{url}&sampler={default['sampler']}&scale=1&index=0"
                      f"&guidance_scale={default['guidance_scale']}", headers={"If-None-Match": etag})
    assert same.status_code == 304
    assert daemon.metric("steps_total") == drawn
    for other in ("&index=1", "&scale=2", "&guidance_scale=4", "&sampler=ddpm"):
        answer = daemon.get(url + other, headers={"If-None-Match": etag})
        assert answer.status_code == 200 and answer.headers["ETag"] != etag


def test_caching_follows_what_fixes_the_picture(daemon):
    digest = daemon.get("/v1/models").json()["data"][0]["digest"]
    fixed = daemon.get(f"/v1/samples/7.png?seed=42&steps=1&model={digest}")
    assert fixed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    drawn = daemon.get("/v1/samples/7.png?steps=1")
    assert drawn.headers["Cache-Control"] == "no-store" and "ETag" not in drawn.headers
    assert 0 <= int(drawn.headers["X-Seed"]) < 2**53
    again = daemon.get(f"/v1/samples/7.png?steps=1&seed={drawn.headers['X-Seed']}")
    assert again.content == drawn.content


def test_models(daemon):
    models = daemon.get("/v1/models").json()
    model = models["data"][0]
    assert model["id"] == "mnist" and model["default"] is True
    assert (model["image"], model["timesteps"]) == ({"height": 28, "width": 28, "channels": 1}, 1000)
    assert len(model["classes"]) == 10
    assert daemon.get("/v1/models/mnist").json() == model
    assert daemon.get("/v1/models/" + model["digest"]).json() == model
    with open("models/mnist.safetensors", "rb") as f:
        assert model["digest"] == "sha256:" + hashlib.sha256(f.read()).hexdigest()


def test_two_models_in_one_daemon(start_daemon, tmp_path, daemon):
    other = tmp_path / "other.safetensors"
    other.write_bytes(open("models/mnist.safetensors", "rb").read())
    both = start_daemon("--model", other)
    assert [m["id"] for m in both.get("/v1/models").json()["data"]] == ["mnist", "other"]
    body = {"label": 3, "seed": 9, "steps": 2}
    expected = daemon.post(body).json()["images"]
    for model in ("mnist", "other"):
        document = both.post({**body, "model": model}).json()
        assert document["model"]["id"] == model and document["images"] != []
        assert document["images"][0]["digest"] == expected[0]["digest"]
