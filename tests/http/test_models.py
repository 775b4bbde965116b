"""Models that change while the daemon serves: SIGHUP reads their files again, and no request is lost."""

import hashlib
import os
import pathlib
import shutil
import signal
import struct
import threading

import pytest
import requests

from .conftest import DEADLINE_S, ENDLESS, MODEL, SANITIZED, wait_for

ONE = {"label": 3, "steps": 2, "seed": 4, "guidance_scale": 1}


def digest_of(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def change(path, bias):
    """Let the network's last bias, which is the file's last number, be another. Returns the digest."""
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", bias))
    os.replace(new, path)
    return digest_of(path)


def reload(daemon):
    """SIGHUP, and what came of it: {"replaced": n, "unchanged": n, "refused": n}."""
    def ends():
        return [e for e in daemon.events() if e["event"] == "models_reloaded"]
    before = len(ends())
    daemon.signal(signal.SIGHUP)
    event = wait_for(lambda: ends()[before:], "the reload")[0]
    return {k: event[k] for k in ("replaced", "unchanged", "refused") if event[k]}


def events(daemon, name):
    return [e for e in daemon.events() if e["event"] == name]


def drawn(answer):
    """The model's digest and those of the images."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["determinism"]["model_digest"] == body["model"]["digest"]
    return body["model"]["digest"], tuple(i["digest"] for i in body["images"])


@pytest.fixture
def digits(tmp_path):
    """A model file of the test's own."""
    path = tmp_path / "digits.safetensors"
    shutil.copy(MODEL, path)
    return path


class Askers:
    """Clients that ask again and again until they are told to stop."""

    def __init__(self, ask, n=4):
        self.answers = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(ask,)) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def run(self, ask):
        with requests.Session() as session:
            while not self.over.is_set():
                self.answers.append(ask(session))

    def await_more(self, n):
        count = len(self.answers) + n
        wait_for(lambda: len(self.answers) >= count or not any(t.is_alive() for t in self.threads),
                 "answers")

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        return self.answers


def test_a_changed_file_is_swapped_in_without_losing_a_request(start_daemon, digits):
    daemon = start_daemon("--workers", 2, model=str(digits))
    url = daemon.url + "/v1/samples"
    digests = [digest_of(digits)]
    askers = Askers(lambda session: drawn(session.post(url, json=ONE, timeout=DEADLINE_S)))
    for bias in (0.25, 0.5, -0.25):
        askers.await_more(8)
        digests.append(change(digits, bias))
        assert reload(daemon) == {"replaced": 1}
        assert drawn(daemon.post(ONE))[0] == digests[-1]
    askers.await_more(8)
    answers = askers.stop()
    images = dict(answers)
    assert set(answers) == set(images.items()), "the same model drew other images"
    assert set(images) == set(digests) and len(set(images.values())) == len(digests)
    assert daemon.get("/v1/models").json()["data"][0]["digest"] == digests[-1]
    assert daemon.get("/v1/capabilities").json()["model"]["digest"] == digests[-1]
    metrics = daemon.metrics()
    assert metrics['denoised_model_loads_total{result="replaced"}'] == 3
    assert metrics['denoised_model_images_total{model="digits"}'] == len(answers) + 3
    wait_for(lambda: daemon.metric("models_retiring") == 0, "the old models to leave")
    assert [e["digest"] for e in events(daemon, "model_gone")] == digests[:-1]


def test_what_is_at_work_ends_with_the_model_it_began_with(start_daemon, digits):
    daemon = start_daemon("--workers", 1, model=str(digits))
    old = digest_of(digits)
    endless = daemon.send_post(ENDLESS)
    work = {**ENDLESS, "id": "work", "n": 3, "steps": 200}
    assert requests.post(daemon.url + "/v1/jobs", json=work, timeout=DEADLINE_S).status_code == 202
    new = change(digits, 0.25)
    assert reload(daemon) == {"replaced": 1}
    assert daemon.metric("models_retiring") == 1 and not events(daemon, "model_gone")
    assert drawn(daemon.post(ONE))[0] == new
    job = wait_for(lambda: daemon.get("/v1/jobs/work?wait=10").json(), "the job")
    wait_for(lambda: daemon.get("/v1/jobs/work?wait=10").json()["status"] == "succeeded", "the job")
    assert job["model"]["digest"] == old
    kept = daemon.get("/v1/jobs/work/result").json()
    assert kept["model"]["digest"] == old
    endless.close()
    (gone,) = wait_for(lambda: events(daemon, "model_gone"), "the old model to leave")
    assert gone["digest"] == old
    # Its weights are gone, what was drawn with them is not.
    assert daemon.get("/v1/jobs/work/result").json()["images"] == kept["images"]
    assert daemon.get("/v1/jobs/work/grid.png").status_code == 200
    repeated = drawn(daemon.post({k: v for k, v in work.items() if k != "id"}))
    assert repeated[0] == new and repeated[1] != tuple(i["digest"] for i in kept["images"])


def break_by_removing(path):
    path.unlink()


def break_by_cutting(path):
    path.write_bytes(path.read_bytes()[:100_000])


def break_by_nonsense(path):
    path.write_bytes(b"nonsense" * 1000)


def break_by_no_number(path):
    change(path, float("nan"))


def break_by_a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [break_by_removing, break_by_cutting, break_by_nonsense,
                                   break_by_no_number, break_by_a_folder])
def test_a_file_that_is_not_fit_leaves_the_old_model(start_daemon, digits, spoil):
    daemon = start_daemon("--workers", 1, model=str(digits))
    good = digits.read_bytes()
    before = drawn(daemon.post(ONE))
    assert daemon.metric('model_reload_failed{model="digits"}') == 0
    spoil(digits)
    assert reload(daemon) == {"refused": 1}
    (refused,) = events(daemon, "model_refused")
    assert refused["level"] == "error" and refused["file"] == str(digits) and refused["reason"]
    assert drawn(daemon.post(ONE)) == before
    assert daemon.get("/readyz").status_code == 200
    assert daemon.metric('model_reload_failed{model="digits"}') == 1
    assert daemon.metric('model_loads_total{result="refused"}') == 1
    if digits.is_dir():
        digits.rmdir()
    digits.write_bytes(good)
    assert reload(daemon) == {"unchanged": 1}
    assert daemon.metric('model_reload_failed{model="digits"}') == 0
    assert drawn(daemon.post(ONE)) == before


def test_nothing_of_a_model_that_left_is_served(start_daemon, digits):
    daemon = start_daemon("--workers", 1, model=str(digits))
    old = digest_of(digits)
    by_digest = f"/v1/samples/7.png?seed=1&steps=2&model={old}"
    pictures = [daemon.get(by_digest) for _ in range(2)]
    assert "hit" in pictures[1].headers["Cache-Status"]
    by_name = daemon.get("/v1/samples/7.png?seed=1&steps=2")
    key = {"Idempotency-Key": "k"}
    first = daemon.post(ONE, headers=key)
    new = change(digits, 0.25)
    assert reload(daemon) == {"replaced": 1}

    for answer in (daemon.get(by_digest), daemon.post({**ONE, "model": old}),
                   daemon.get(f"/v1/models/{old}"),
                   requests.post(daemon.url + "/v1/verify", data=by_name.content,
                                 headers={"Content-Type": "image/png"}, timeout=DEADLINE_S)):
        assert answer.status_code == 404
        problem = answer.json()
        assert problem["type"] == "urn:denoised:problem:model-not-found"
        assert old in problem["detail"] and new in problem["detail"]
    again = daemon.get("/v1/samples/7.png?seed=1&steps=2",
                       headers={"If-None-Match": by_name.headers["ETag"]})
    assert again.status_code == 200 and again.headers["X-Model-Digest"] == new
    assert again.headers["Cache-Status"].startswith("denoised; fwd=miss")
    assert again.headers["X-Sample-Digest"] != by_name.headers["X-Sample-Digest"]
    # A request that is sent again gets the answer it had, which names the model that drew it.
    replayed = daemon.post(ONE, headers=key)
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert drawn(replayed) == drawn(first) and drawn(first)[0] == old

    # And back: the same file is the same model, and pictures of it may be kept for ever.
    shutil.copy(MODEL, digits)
    assert reload(daemon) == {"replaced": 1}
    back = daemon.get(by_digest)
    assert back.content == pictures[0].content


def test_several_models_are_read_again_each_for_itself(start_daemon, digits, tmp_path):
    other = tmp_path / "other.safetensors"
    shutil.copy(digits, other)
    daemon = start_daemon("--workers", 2, "--model", other, model=str(digits))
    new = change(other, 0.25)
    digits.write_bytes(b"")
    assert reload(daemon) == {"replaced": 1, "refused": 1}
    models = {m["id"]: m["digest"] for m in daemon.get("/v1/models").json()["data"]}
    assert models == {"digits": digest_of(pathlib.Path(MODEL)), "other": new}
    assert daemon.metric('model_reload_failed{model="digits"}') == 1
    assert daemon.metric('model_reload_failed{model="other"}') == 0


def test_signals_that_meet_are_one_reload_more(start_daemon, digits):
    daemon = start_daemon("--workers", 1, model=str(digits))
    for bias in (1.0, 2.0, 3.0):
        last = change(digits, bias)
        daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.get("/v1/models").json()["data"][0]["digest"] == last, "the last file")
    assert drawn(daemon.post(ONE))[0] == last


def test_a_daemon_that_is_told_to_end_while_it_reads_a_model_ends(start_daemon, digits):
    daemon = start_daemon("--workers", 1, model=str(digits))
    change(digits, 0.25)
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory")
def test_memory_comes_back(start_daemon, digits):
    daemon = start_daemon("--workers", 2, "--cache-bytes", 0, model=str(digits))

    def resident(n):
        for i in range(n):
            change(digits, i % 5 / 10 + 0.1)
            assert reload(daemon) == {"replaced": 1}
            drawn(daemon.post({**ONE, "n": 4}))
        return daemon.metrics()["process_resident_memory_bytes"]

    first = resident(5)
    last = resident(15)
    # Each model is several MB; all that were kept would be more than 60.
    assert last < first + 15e6, (first, last)
