"""Classes that are named by numerals in another order: a numeral in a text is a name everywhere."""
import subprocess

import pytest
import requests

from .conftest import BINARY, DEADLINE_S, FEW, Daemon, write_model

CLASSES = ["1", "0", "10", "2", "3", "4", "5", "6", "7", "x"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("numerals") / "numerals.safetensors"
    write_model(path, FEW, classes=CLASSES)
    return path


@pytest.fixture(scope="module")
def daemon(path):
    daemon = Daemon(path.parent, model=str(path))
    yield daemon
    daemon.stop()


def body_labels(daemon, label):
    answer = requests.post(daemon.url + "/v1/samples", json={"label": label, "seed": 1}, timeout=DEADLINE_S)
    return answer, [image["label"] for image in answer.json().get("images", [])]


@pytest.mark.parametrize("name", ["1", "0", "10", "2", "7", "x"])
def test_a_name_is_one_class_everywhere(daemon, path, tmp_path, name):
    index = CLASSES.index(name)
    answer, labels = body_labels(daemon, name)
    assert answer.status_code == 200 and labels == [index]
    png = requests.get(f"{daemon.url}/v1/samples/{name}.png?seed=1", timeout=DEADLINE_S)
    assert png.status_code == 200
    from_number, labels = body_labels(daemon, index)
    assert labels == [index] and from_number.json()["images"] == answer.json()["images"]
    prompt = requests.post(daemon.url + "/v1/images/generations", json={"prompt": f"a {name}", "seed": 1},
                           timeout=DEADLINE_S)
    assert [image["revised_prompt"] for image in prompt.json()["data"]] == [name]
    done = subprocess.run([BINARY, "sample", "--model", str(path), "--label", name, "--seed", "1", "-o",
                           str(tmp_path / "a.png")], capture_output=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes() == png.content


@pytest.mark.parametrize("word", ["8", "9", "01", "11"])
def test_an_index_that_is_no_name_is_refused(daemon, path, word):
    answer, _ = body_labels(daemon, word)
    url = requests.get(f"{daemon.url}/v1/samples/{word}.png", timeout=DEADLINE_S)
    for refused in (answer, url):
        assert refused.status_code == 400
        error, = refused.json()["errors"]
        assert error["pointer"] == "/label" and "numerals are names" in error["detail"]
    prompt = requests.post(daemon.url + "/v1/images/generations", json={"prompt": word}, timeout=DEADLINE_S)
    assert prompt.status_code == 400 and "numerals are names" in prompt.json()["error"]["message"]
    done = subprocess.run([BINARY, "sample", "--model", str(path), "--label", word, "-o", "-"],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and "one of 1, 0, 10" in done.stderr and "a number" not in done.stderr
