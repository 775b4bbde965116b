"""deploy/nginx in front of the real daemon, where nginx is installed. nginx listens on a Unix socket of the
test's, because it has no port 0."""

import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess

import pytest

from tests.http.conftest import DEADLINE_S, ENDLESS, Daemon, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONF = ROOT / "deploy/nginx/denoised.conf"

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx on this machine")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("denoised.test", timeout=DEADLINE_S)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)


class Proxy:
    """nginx with our configuration, its upstream at `port`."""

    def __init__(self, folder, port):
        self.socket = folder / "s"
        text = CONF.read_text()
        for ours, here in (("server denoised:8080;", f"server 127.0.0.1:{port};"),
                           ("/var/cache/nginx/denoised", f"{folder}/cache"),
                           ("listen 80;", f"listen unix:{self.socket};")):
            assert text.count(ours) == 1, ours
            text = text.replace(ours, here)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/log;\nworker_processes 1;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n")
        self.log = folder / "log"
        self.process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")],
                                        stderr=subprocess.DEVNULL)
        wait_for(self.is_up, "nginx")

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/livez")[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, None, headers)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) == 0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    # Without a cache of its own: what it draws is what the proxy passed on.
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), "--cache-bytes", "0")
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, daemon):
    # Not pytest's own folder: the path of a Unix socket has at most 107 bytes.
    proxy = Proxy(tmp_path_factory.mktemp("n"), daemon.port)
    yield proxy
    proxy.stop()


def drawn(daemon):
    return daemon.metric('images_total{sampler="dpmpp_2m"}')


def test_a_picture_by_url_is_drawn_once(daemon, proxy):
    digest = json.loads(proxy.get("/v1/models")[2])["data"][0]["digest"]
    path = f"/v1/samples/7.png?seed=42&model={digest}"
    before = drawn(daemon)
    first, second = proxy.get(path), proxy.get(path)
    assert [a[0] for a in (first, second)] == [200, 200]
    assert [a[1]["X-Cache-Status"] for a in (first, second)] == ["MISS", "HIT"]
    assert first[2] == second[2] and first[2].startswith(b"\x89PNG")
    assert first[1]["ETag"] == second[1]["ETag"]
    assert proxy.get(path, **{"If-None-Match": first[1]["ETag"]})[0] == 304
    assert drawn(daemon) == before + 1
    # Another URL is another picture.
    other = proxy.get(path.replace("seed=42", "seed=43"))
    assert other[1]["X-Cache-Status"] == "MISS" and other[2] != first[2]


def test_a_picture_of_whichever_model_is_asked_for_again(daemon, proxy):
    path = "/v1/samples/7.png?seed=44"
    before = drawn(daemon)
    first = proxy.get(path)
    assert proxy.get(path, **{"If-None-Match": first[1]["ETag"]})[0] == 304
    assert drawn(daemon) == before + 1
    second = proxy.get(path)
    assert "X-Cache-Status" not in first[1] and "X-Cache-Status" not in second[1]
    assert first[2] == second[2] and drawn(daemon) == before + 2


def test_a_picture_without_a_seed_is_not_cached(proxy):
    answers = [proxy.get("/v1/samples/7.png") for _ in range(2)]
    assert [a[0] for a in answers] == [200, 200]
    assert answers[0][1]["X-Seed"] != answers[1][1]["X-Seed"]


def test_errors_pass_and_are_not_cached(proxy):
    path = f"/v1/samples/eleven.png?seed=1&model=sha256:{64 * '0'}"
    for _ in range(2):
        status, headers, body = proxy.get(path)
        assert status in (400, 404) and headers["Content-Type"] == "application/problem+json"
        assert headers["X-Cache-Status"] == "MISS" and json.loads(body)["status"] == status


def test_a_post_passes_with_its_request_id(daemon, proxy):
    status, headers, body = proxy.request("POST", "/v1/samples", '{"label":7,"seed":42,"steps":2}')
    assert status == 200 and len(json.loads(body)["images"]) == 1
    request_id = headers["X-Request-Id"]
    assert len(request_id) == 32
    wait_for(lambda: request_id in [e.get("request_id") for e in daemon.events()], "the log line")


def test_a_body_too_long_gets_the_daemons_answer(proxy):
    status, headers, _ = proxy.request("POST", "/v1/samples", b" " * 70000)
    assert status == 413 and headers["Content-Type"] == "application/problem+json"
    status, headers, _ = proxy.request("POST", "/v1/samples", b" " * 140000)
    assert status == 413 and headers["Content-Type"] == "text/html"


def test_a_client_that_leaves_frees_its_rows_behind_the_proxy(daemon, proxy):
    def canceled():
        return sum(value for key, value in daemon.metrics().items()
                   if key.startswith("denoised_jobs_total{") and "disconnect" in key)

    before = canceled()
    connection = UnixConnection(proxy.socket)
    connection.request("POST", "/v1/samples", json.dumps(ENDLESS))
    wait_for(lambda: daemon.metric("queue_rows") == 64, "the rows")
    connection.close()
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to be free")
    # The job is over when the last step that held one of its rows is.
    wait_for(lambda: canceled() == before + 1, "the job to be counted")


def test_metrics_are_for_the_inside(proxy):
    # A Unix socket is none of the networks that may read them.
    assert proxy.get("/metrics")[0] == 403
