"""The admin listener: models are loaded, activated and unloaded while the daemon serves."""

import http.client
import json
import os
import shutil
import socket
import stat
import threading

import pytest
import requests

from . import wire
from .conftest import DEADLINE_S, ENDLESS, MODEL, wait_for
from .test_errors import check_problem
from .test_models import ONE, Askers, break_by_no_number, change, digest_of, drawn, events, reload


class Admin:
    """A client of a daemon's admin listener."""

    def __init__(self, daemon):
        self.daemon = daemon

    def ask(self, method, path, **more):
        return requests.request(method, self.daemon.admin_url + path, timeout=DEADLINE_S, **more)

    def models(self):
        answer = self.ask("GET", "/admin/models")
        assert answer.status_code == 200
        return answer.json()["data"]

    def load(self, path, **more):
        return self.ask("POST", "/admin/models", json={"path": str(path), **more})

    def activate(self, name):
        return self.ask("POST", f"/admin/models/{name}/activate")

    def unload(self, name):
        return self.ask("POST", f"/admin/models/{name}/unload")


@pytest.fixture
def start_admin(start_daemon, tmp_path):
    """start_admin("--workers", 1, ...) -> an Admin of a daemon that serves tmp_path/digits.safetensors."""
    digits = tmp_path / "digits.safetensors"
    shutil.copy(MODEL, digits)

    def start(*arguments, **more):
        return Admin(start_daemon("--admin-listen", "127.0.0.1:0", *arguments, model=str(digits), **more))

    return start


@pytest.fixture
def file(tmp_path):
    """file("name", bias): a model file of another network."""
    def make(name, bias=0.25):
        path = tmp_path / f"{name}.safetensors"
        shutil.copy(MODEL, path)
        change(path, bias)
        return path

    return make


def names(daemon):
    return [m["id"] for m in daemon.get("/v1/models").json()["data"]]


def test_load_activate_unload(start_admin, file):
    admin = start_admin("--workers", 2)
    daemon, other = admin.daemon, file("other")
    answer = admin.load(other)
    assert answer.status_code == 201
    loaded = answer.json()
    assert loaded["result"] == "loaded" and loaded["model"]["state"] == "serving"
    assert loaded["model"]["digest"] == digest_of(other) and loaded["model"]["path"] == str(other)
    assert names(daemon) == ["digits", "other"]
    assert daemon.get("/v1/capabilities").json()["models"] == ["digits", "other"]
    assert set(daemon.get("/v1/capabilities").json()["batching"]["evaluations"]) == {"digits", "other"}
    by_name = drawn(daemon.post({**ONE, "model": "other"}))
    assert by_name[0] == digest_of(other) and by_name != drawn(daemon.post(ONE))
    assert daemon.metric('model_images_total{model="other"}') == 1

    answer = admin.activate("other")
    assert answer.status_code == 200 and answer.json()["default"]
    assert drawn(daemon.post(ONE)) == by_name
    assert daemon.get("/v1/capabilities").json()["model"]["id"] == "other"
    assert [m["default"] for m in daemon.get("/v1/models").json()["data"]] == [True, False]

    answer = admin.unload("digits")
    assert answer.status_code == 200 and answer.json()["state"] == "gone"
    assert names(daemon) == ["other"] and [m["id"] for m in admin.models()] == ["other"]
    problem = check_problem(daemon.post({**ONE, "model": "digits"}), 404, "model-not-found", "/model")
    assert "unloaded" in problem["detail"]
    assert daemon.get("/v1/models/digits").status_code == 404
    assert 'denoised_model_info{model="digits"' not in daemon.get("/metrics").text
    for event in ("model_loaded", "model_activated", "model_unloaded", "model_gone"):
        assert len(events(daemon, event)) == 1, event


def test_the_default_stays(start_admin, file):
    admin = start_admin("--workers", 1)
    check_problem(admin.unload("digits"), 409, "model-is-default")
    admin.load(file("other"))
    check_problem(admin.unload("digits"), 409, "model-is-default")
    assert names(admin.daemon) == ["digits", "other"]
    drawn(admin.daemon.post(ONE))
    assert admin.activate("digits").status_code == 200  # it is already
    assert admin.unload("other").status_code == 200
    check_problem(admin.unload("other"), 404, "model-not-found", "/id")
    check_problem(admin.activate("other"), 404, "model-not-found", "/id")


def test_models_come_and_go_without_losing_a_request(start_admin, file):
    """Clients of the default and of one that comes and goes: the first are all answered well, the
    others well or told that it is not there; and each answer's digest is of the pixels' model."""
    admin = start_admin("--workers", 2)
    daemon, files = admin.daemon, [file("one", 0.25), file("two", 0.5)]
    url = daemon.url + "/v1/samples"

    def ask_default(session):
        return drawn(session.post(url, json=ONE, timeout=DEADLINE_S))

    def ask_one(session):
        answer = session.post(url, json={**ONE, "model": "one"}, timeout=DEADLINE_S)
        if answer.status_code == 404:
            assert answer.json()["type"].endswith(":model-not-found")
            return None
        return drawn(answer)

    default, one = Askers(ask_default, 3), Askers(ask_one, 3)
    for _ in range(2):
        for path in files:
            default.await_more(6)
            assert admin.load(path, default=True).json()["result"] == "loaded"
        one.await_more(6)
        assert admin.activate("digits").status_code == 200
        for name in ("one", "two"):
            one.await_more(3)
            assert admin.unload(name).status_code == 200
    answers = default.stop() + [a for a in one.stop() if a]
    digests = {digest_of(path) for path in files} | {admin.models()[0]["digest"]}
    assert {digest for digest, _ in answers} == digests
    assert len(set(answers)) == len(digests), "the same model drew other images"
    wait_for(lambda: daemon.metric("models_retiring") == 0, "the models to leave")


def test_models_that_warm_up_are_left_alone(start_admin, file):
    """Workers measure them then. (With the slow kernels that takes long enough to be met.)"""
    admin = start_admin("--workers", 2, "--isa", "scalar", "--model", file("other"), wait=False)
    wait_for(lambda: admin.unload("other").status_code == 200, "the model to be unloaded")
    order = [e["event"] for e in admin.daemon.events() if e["event"] in ("ready", "model_unloaded")]
    assert order == ["ready", "model_unloaded"]
    admin.daemon.await_line()


def test_a_model_that_is_at_work_retires(start_admin, file):
    admin = start_admin("--workers", 1)
    daemon = admin.daemon
    admin.load(file("other"))
    endless = daemon.send_post({**ENDLESS, "model": "other"})
    wait_for(lambda: admin.models()[1]["queue_rows"] == ENDLESS["n"], "the work to begin")
    assert admin.unload("other").json()["state"] == "retiring"
    retiring = admin.models()[1]
    assert (retiring["id"], retiring["state"], retiring["default"]) == ("other", "retiring", False)
    assert daemon.metric("models_retiring") == 1 and names(daemon) == ["digits"]
    # It may come back meanwhile, as another one of that name.
    again = admin.load(file("other", 0.5))
    assert again.status_code == 201 and len(admin.models()) == 3
    endless.close()
    wait_for(lambda: len(admin.models()) == 2, "the old one to leave")
    assert admin.models()[1]["digest"] == again.json()["model"]["digest"]


def test_a_path_that_is_served_is_read_again(start_admin, file):
    admin = start_admin("--workers", 1)
    other = file("other")
    assert admin.load(other).status_code == 201
    same = admin.load(other)
    assert same.status_code == 200 and same.json()["result"] == "unchanged"
    new = change(other, 0.5)
    answer = admin.load(other, default=True)
    assert answer.status_code == 200 and answer.json()["result"] == "replaced"
    assert answer.json()["model"]["default"] and answer.json()["model"]["reloaded"]
    assert drawn(admin.daemon.post(ONE))[0] == new
    break_by_no_number(other)
    problem = check_problem(admin.load(other), 422, "model-refused")
    assert "not finite" in problem["detail"]
    assert admin.models()[0]["digest"] == new
    assert "not finite" in admin.models()[0]["reload_error"]
    assert reload(admin.daemon) == {"unchanged": 1, "refused": 1}
    change(other, 0.75)
    assert reload(admin.daemon) == {"unchanged": 1, "replaced": 1}  # SIGHUP knows it as well
    assert admin.models()[0]["reload_error"] is None


def test_a_file_is_known_by_any_path(start_daemon, tmp_path):
    digits = tmp_path / "digits.safetensors"
    shutil.copy(MODEL, digits)
    admin = Admin(start_daemon("--admin-listen", "127.0.0.1:0", "--workers", 1,
                               model=os.path.relpath(digits)))
    same = admin.load(digits)
    assert same.status_code == 200 and same.json()["result"] == "unchanged"
    new = change(digits, 0.5)
    answer = admin.load(digits)
    assert answer.status_code == 200 and answer.json()["result"] == "replaced"
    assert [m["digest"] for m in admin.models()] == [new]
    # A link to it that has another name is another model.
    (tmp_path / "link.safetensors").symlink_to(digits)
    assert admin.load(tmp_path / "link.safetensors").status_code == 201


def test_names_are_one_models(start_admin, file, tmp_path):
    admin = start_admin("--workers", 1, "--model-alias", "dall-e-3=digits")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(MODEL, elsewhere / "digits.safetensors")
    problem = check_problem(admin.load(elsewhere / "digits.safetensors"), 409, "model-exists")
    assert str(tmp_path / "digits.safetensors") in problem["detail"]
    check_problem(admin.load(file("dall-e-3")), 409, "model-exists")
    # An alias stands for its model as long as that is there.
    assert drawn(admin.daemon.post({**ONE, "model": "dall-e-3"}))
    admin.load(file("other"), default=True)
    assert [m["aliases"] for m in admin.models()] == [[], ["dall-e-3"]]
    admin.unload("dall-e-3")
    assert admin.daemon.post({**ONE, "model": "dall-e-3"}).status_code == 404
    admin.load(tmp_path / "digits.safetensors")
    assert drawn(admin.daemon.post({**ONE, "model": "dall-e-3"}))


def test_there_is_an_end(start_admin, file):
    admin = start_admin("--workers", 1, "--max-batch", 2)
    most = admin.ask("GET", "/admin/models").json()["max_models"]
    for i in range(most - 1):
        assert admin.load(file(f"m{i}", i)).status_code == 201
    check_problem(admin.load(file("more")), 409, "models-full")
    assert admin.unload("m0").status_code == 200
    assert admin.load(file("more")).status_code == 201


BODIES = [({}, "/path"), ({"path": "x.safetensors"}, "/path"), ({"path": ""}, "/path"), ({"path": 1}, "/path"),
          ({"path": "/" + "x" * 4095}, "/path"), ({"path": "/x", "default": 1}, "/default"),
          ({"path": "/x", "paht": "/y"}, "/paht"), ([], ""), ("/x", "")]


@pytest.mark.parametrize("body,pointer", BODIES, ids=lambda v: str(v)[:30])
def test_what_a_load_says_is_checked(daemon, body, pointer):
    answer = Admin(daemon).ask("POST", "/admin/models", json=body)
    check_problem(answer, 400, "invalid-request", pointer)


@pytest.mark.parametrize("path", ["/nothing/there.safetensors", "/etc/passwd", "/dev/zero", "/dev/stdin", "/",
                                  "/tmp", "/" + "ö" * 150, "/x\n.safetensors"])
def test_what_is_no_model_is_refused(daemon, path):
    before = Admin(daemon).models()
    check_problem(Admin(daemon).load(path), 422, "model-refused")
    assert Admin(daemon).models() == before


def sparse(path, start, header=None):
    """A file of 1 GiB that begins so and takes no room on the disk."""
    with path.open("wb") as f:
        f.write(start if header is None else len(header).to_bytes(8, "little") + header)
        f.truncate(1 << 30)
    return path


def header_of(n_bytes, config="{}"):
    return json.dumps({"__metadata__": {"denoised.config": config}, "w": {
        "dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}}).ljust(200).encode()


REST = (1 << 30) - 8 - 200


@pytest.mark.parametrize("start, header, text", [
    (b"", None, "nothing but zeros"),
    (b"version https://git-lfs.github.com/spec/v1\n".ljust(512), None, "a Git LFS pointer"),
    (b"<!doctype html><title>Sign in</title>".ljust(512), None, "an HTML page"),
    (((1 << 30) - 8).to_bytes(8, "little") + b"{", None, "header of 1073741816 bytes"),
    (None, b"{}", "belong to no tensor"),
    (None, header_of(4096), f"{REST - 4096} bytes at the end belong to no tensor"),
    (None, header_of(REST + 4), "is the file truncated?"),
    (None, header_of(REST), "config: format_version"),
])
def test_what_a_file_promises_is_seen_before_it_is_read(start_admin, tmp_path, start, header, text):
    """No memory is taken for a large file that cannot be a model."""
    admin = start_admin("--workers", 1)

    def most_kib():
        with open(f"/proc/{admin.daemon.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    before = most_kib()
    answer = admin.load(sparse(tmp_path / "large.safetensors", start, header))
    assert text in check_problem(answer, 422, "model-refused")["detail"]
    assert most_kib() - before < 64 * 1024


ODD_NAMES = [".", "..", "", "a b", "a\tb", "a\nb", "a\x1bb", "a\u202eb", 'a"b', "a'b", "a\\b", "\u00e9", "a" * 64]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_a_model_cannot_be_named(start_admin, tmp_path, name):
    admin = start_admin("--workers", 1)
    path = tmp_path / f"{name}.safetensors"
    shutil.copy(MODEL, path)
    assert "name" in check_problem(admin.load(path), 422, "model-refused")["detail"]
    assert names(admin.daemon) == ["digits"]


def test_each_listener_has_its_own(daemon):
    host, port = daemon.admin_url.removeprefix("http://").split(":")
    for path in ("/admin", "/admin/models"):
        answer = wire.ask((daemon.host, daemon.port), "GET", path)
        assert answer.status == 404 and "GET / lists" in answer.json()["detail"]
    for path in ("/", "/v1/models", "/livez", "/metrics"):
        answer = wire.ask((host, int(port)), "GET", path)
        assert answer.status == 404 and "GET /admin lists" in answer.json()["detail"]
    answer = requests.delete(daemon.admin_url + "/admin/models", timeout=DEADLINE_S)
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"


@pytest.mark.parametrize("header", [{"Origin": "https://example.org"}, {"Origin": "null"},
                                    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"}])
def test_pages_of_browsers_are_refused(start_admin, header):
    admin = start_admin("--workers", 1, "--cors-origin", "*")
    url = admin.daemon.admin_url
    for method, path in (("GET", "/admin/models"), ("POST", "/admin/models/digits/activate"),
                         ("OPTIONS", "/admin/models"), ("DELETE", "/admin/models"), ("GET", "/admin/nothing")):
        answer = requests.request(method, url + path, headers=header, timeout=DEADLINE_S)
        check_problem(answer, 403, "not-for-browsers")
        assert "Access-Control-Allow-Origin" not in answer.headers
    answer = requests.get(url + "/admin", headers={"Sec-Fetch-Site": "none"}, timeout=DEADLINE_S)
    assert answer.status_code == 200  # typed by hand


def test_keys_are_not_for_it(start_admin, file, tmp_path):
    (tmp_path / "keys").write_text("ada ada-0123456789abcdef\n")
    admin = start_admin("--workers", 1, "--api-keys-file", tmp_path / "keys")
    assert admin.daemon.post(ONE).status_code == 401
    assert admin.load(file("other")).status_code == 201


def test_a_unix_socket_is_the_daemons_users_alone(start_daemon, tmp_path):
    path = tmp_path / "admin.sock"
    daemon = start_daemon("--admin-listen", f"unix:{path}")
    assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    connection = http.client.HTTPConnection("admin", timeout=DEADLINE_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/admin/models")
    answer = connection.getresponse()
    assert answer.status == 200 and json.load(answer)["data"][0]["id"] == "mnist"
    connection.close()
    daemon.stop()
    assert not path.exists()


def test_other_machines_are_kept_out(start_daemon):
    daemon = start_daemon("--admin-listen", "0.0.0.0:0", wait=False)
    assert daemon.wait() == 1
    (failed,) = events(daemon, "admin_listen_failed")
    assert "other machines" in failed["reason"]


def test_a_client_that_leaves_does_not_stop_a_load(start_admin, file):
    admin = start_admin("--workers", 1)
    body = json.dumps({"path": str(file("other"))}).encode()
    host, port = admin.daemon.admin_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(b"POST /admin/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                       % (len(body), body))
    wait_for(lambda: "other" in names(admin.daemon), "the model")


@pytest.mark.parametrize("is_leaving", [False, True])
def test_loads_in_turn_and_the_end_of_the_daemon(start_admin, file, is_leaving):
    """Loads at the same time are done one after the other; SIGTERM answers those that wait, and so
    does a second one, while the daemon is about to leave. (The slow kernels take longer to measure
    all files than the last answers have to go.)"""
    admin = start_admin("--workers", 1, "--isa", "scalar", "--drain-delay-s", 3600 if is_leaving else 0)
    paths = [file(f"m{i}", i) for i in range(8)]
    url, answers = admin.daemon.admin_url + "/admin/models", []

    def load(path):
        answers.append(requests.post(url, json={"path": str(path)}, timeout=DEADLINE_S))

    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    wait_for(lambda: events(admin.daemon, "model_loaded"), "the first")
    admin.daemon.signal()
    if is_leaving:
        wait_for(lambda: admin.daemon.get("/readyz").status_code == 503, "the first signal")
        admin.daemon.signal()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert admin.daemon.wait() == 0
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 503} and 201 in statuses
    for answer in answers:
        assert answer.status_code == 201 or answer.headers["Retry-After"]
