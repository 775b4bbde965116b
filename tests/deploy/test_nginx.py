"""deploy/nginx in front of the real daemon, where nginx is installed. nginx listens on a Unix socket of the
test's, because it has no port 0."""

import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess

import pytest

from tests.deploy.test_files import temporary_paths
from tests.http.conftest import DEADLINE_S, ENDLESS, Daemon, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONF = ROOT / "deploy/nginx/denoised.conf"

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, tls=None):
        super().__init__("denoised.test", timeout=DEADLINE_S)
        self.path, self.tls = str(path), tls

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)
        if self.tls:
            self.sock = self.tls.wrap_socket(self.sock, server_hostname="denoised.test")


class Proxy:
    """nginx with our configuration, `changes` made, its upstream at `port`."""

    def __init__(self, folder, port, changes=()):
        self.folder, self.socket, self.log = folder, folder / "s", folder / "log"
        text = CONF.read_text()
        for ours, here in (*changes,
                           ("server denoised:8080;", f"server 127.0.0.1:{port};"),
                           ("/var/cache/nginx/denoised", f"{folder}/cache"),
                           ("/var/log/nginx/access.log", f"{folder}/access"),
                           ("listen 80;", f"listen unix:{self.socket};")):
            assert text.count(ours) == 1, ours
            text = text.replace(ours, here)
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {folder}/pid;\nerror_log {self.log};\nworker_processes 1;\n"
            f"events {{}}\nhttp {{\n{temporary_paths(folder)}{text}}}\n")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
            stderr=subprocess.DEVNULL)
        wait_for(self.is_up, "nginx")

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            self.get("/livez")
            return True
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
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), "--cache-bytes", "0",
                    "--trusted-proxies", "127.0.0.1")
    yield daemon
    daemon.stop()


@pytest.fixture
def start_proxy(tmp_path_factory):
    """start_proxy(port, changes) -> Proxy, stopped after the test."""
    proxies = []

    def start(*arguments):
        # Not pytest's own folder: the path of a Unix socket has at most 107 bytes.
        proxies.append(Proxy(tmp_path_factory.mktemp("n"), *arguments))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, daemon):
    proxy = Proxy(tmp_path_factory.mktemp("n"), daemon.port)
    yield proxy
    proxy.stop()


def drawn(daemon):
    return daemon.metric('images_total{sampler="heun"}')


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
    head = proxy.request("HEAD", path)
    assert (head[0], head[1]["X-Cache-Status"], head[2]) == (200, "HIT", b"")
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


# ---- who asks -----------------------------------------------------------------------------------

def logged(daemon, request_id):
    return wait_for(lambda: [e for e in daemon.events() if e.get("request_id") == request_id],
                    "the log line")[0]


def test_a_clients_own_request_id_arrives(daemon, proxy):
    assert proxy.get("/version", **{"X-Request-Id": "mine-1"})[1]["X-Request-Id"] == "mine-1"
    logged(daemon, "mine-1")
    wait_for(lambda: " mine-1 " in (proxy.folder / "access").read_text(), "the proxy's log line")
    strange = "not an id"  # the daemon would not take it either
    assert len(proxy.get("/version", **{"X-Request-Id": strange})[1]["X-Request-Id"]) == 32


def test_the_clients_address_arrives(daemon, start_proxy):
    """nginx's own client has no address, so nginx is told of one as by a proxy before it."""
    proxy = start_proxy(daemon.port, [("server_name _;", "server_name _; set_real_ip_from unix:;")])
    proxy.get("/version", **{"X-Request-Id": "far-1", "X-Real-IP": "203.0.113.9"})
    event = logged(daemon, "far-1")
    assert (event["remote"], event["proxy"]) == ("203.0.113.9", "127.0.0.1")


def test_what_a_client_says_of_itself_is_not_believed(daemon, start_proxy):
    proxy = start_proxy(daemon.port, [("server_name _;", "server_name _; set_real_ip_from unix:;")])
    proxy.get("/version", **{"X-Request-Id": "liar-1", "X-Real-IP": "203.0.113.9",
                             "X-Forwarded-For": "198.51.100.1"})
    assert logged(daemon, "liar-1")["remote"] == "203.0.113.9"


def test_too_many_from_one_address(daemon, start_proxy):
    proxy = start_proxy(daemon.port, [("burst=200 nodelay", "burst=1 nodelay"),
                                      ("rate=100r/s", "rate=1r/m")])
    answers = [proxy.get("/livez") for _ in range(4)]  # one was asked to see that nginx is up
    status, headers, body = answers[-1]
    assert status == 429 and headers["Content-Type"] == "application/problem+json"
    assert int(headers["Retry-After"]) >= 1 and json.loads(body)["request_id"] == headers["X-Request-Id"]


# ---- streams ------------------------------------------------------------------------------------

def read_event(answer):
    """{"event": ..., "data": ...} of the stream's next event."""
    fields = {}
    while (line := answer.readline().decode().rstrip("\n")) or not fields:
        if not line.startswith(":") and line:
            key, value = line.split(": ", 1)
            fields[key] = value
    return fields


@pytest.mark.parametrize("of_job", [False, True])
def test_events_arrive_one_by_one(daemon, proxy, of_job):
    connection = UnixConnection(proxy.socket)
    if of_job:
        assert proxy.request("POST", "/v1/jobs", json.dumps({**ENDLESS, "id": "streamed"}))[0] in (201, 202)
        connection.request("GET", "/v1/jobs/streamed/events")
    else:
        connection.request("POST", "/v1/samples", json.dumps(ENDLESS), {"Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.status == 200
    names = [read_event(answer)["event"] for _ in range(4)]
    assert names[0] == "started" and set(names[1:]) == {"progress"}
    assert daemon.metric("queue_rows") == ENDLESS["n"]  # all this while it is at work
    connection.close()
    if of_job:
        assert daemon.metric("queue_rows") == ENDLESS["n"]  # a job does not need who follows it
        assert proxy.request("DELETE", "/v1/jobs/streamed")[0] in (200, 204)
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to be free")


# ---- trouble ------------------------------------------------------------------------------------

def test_a_full_queue_passes_with_retry_after(start_daemon, start_proxy):
    daemon = start_daemon("--max-queue-rows", 4, "--max-rows-per-request", 4)
    proxy = start_proxy(daemon.port)
    work = daemon.send_post({**ENDLESS, "n": 4})
    wait_for(lambda: daemon.metric("queue_rows") == 4, "the queue to be full")
    status, headers, body = proxy.request("POST", "/v1/samples", '{"label":1}')
    assert status == 503 and int(headers["Retry-After"]) >= 1
    assert json.loads(body)["type"].endswith(":queue-full")
    work.close()


def test_a_restart_of_the_proxy_loses_nothing_that_jobs_hold(daemon, start_proxy):
    proxy = start_proxy(daemon.port)
    done = '{"id":"done","label":7,"n":2,"steps":2,"seed":1}'
    assert proxy.request("POST", "/v1/jobs", done)[0] in (201, 202)
    assert json.loads(proxy.get("/v1/jobs/done?wait=60")[2])["status"] == "succeeded"
    before = proxy.get("/v1/jobs/done/images/1.png")[2]
    assert proxy.request("POST", "/v1/jobs", json.dumps({**ENDLESS, "id": "going"}))[0] in (201, 202)
    proxy.stop()
    proxy.start()
    assert json.loads(proxy.get("/v1/jobs/going")[2])["status"] in ("queued", "running")
    after = proxy.get("/v1/jobs/done/images/1.png")
    assert after[0] == 200 and after[2] == before
    assert proxy.request("POST", "/v1/jobs/going/cancel")[0] == 200
    wait_for(lambda: daemon.metric("queue_rows") == 0, "the rows to be free")


def test_a_daemon_that_is_away(start_daemon, start_proxy):
    daemon = start_daemon()
    proxy = start_proxy(daemon.port)
    assert proxy.get("/readyz")[0] == 200
    daemon.stop()
    status, headers, body = proxy.get("/readyz", **{"X-Request-Id": "away-1"})
    assert status == 502 and headers["Content-Type"] == "application/problem+json"
    assert int(headers["Retry-After"]) >= 1 and json.loads(body)["request_id"] == "away-1"


def test_what_needs_a_key_is_not_cached(start_daemon, start_proxy, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("studio a-key-of-at-least-16-characters\n")
    daemon = start_daemon("--api-keys-file", keys)
    proxy = start_proxy(daemon.port)
    key = {"Authorization": "Bearer a-key-of-at-least-16-characters"}
    digest = json.loads(proxy.get("/v1/models", **key)[2])["data"][0]["digest"]
    path = f"/v1/samples/7.png?seed=42&model={digest}"
    for _ in range(2):
        status, headers, _ = proxy.get(path, **key)
        assert (status, headers["X-Cache-Status"]) == (200, "MISS")
    assert proxy.get(path)[0] == 401


# ---- TLS ----------------------------------------------------------------------------------------

def test_tls_ends_at_the_proxy(daemon, start_proxy, tmp_path, tmp_path_factory):
    """The lines of the configuration that are commented out."""
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=denoised.test", "-addext", "subjectAltName=DNS:denoised.test",
                    "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    tls_socket = tmp_path_factory.mktemp("t") / "s"
    proxy = start_proxy(daemon.port, [
        ("#listen 443 ssl;", f"listen unix:{tls_socket} ssl;"),
        ("#ssl_certificate /etc/nginx/tls/fullchain.pem", f"ssl_certificate {certificate}"),
        ("#ssl_certificate_key /etc/nginx/tls/privkey.pem", f"ssl_certificate_key {key}"),
        ("#ssl_protocols", "ssl_protocols"), ("#ssl_session_cache", "ssl_session_cache"), ("#if ", "if ")])
    tls = ssl.create_default_context(cafile=str(certificate))
    tls.maximum_version = ssl.TLSVersion.TLSv1_3
    connection = UnixConnection(tls_socket, tls)
    connection.request("GET", "/v1/samples/7.png?seed=1&steps=2")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read().startswith(b"\x89PNG")
    connection.close()
    status, headers, _ = proxy.get("/v1/models?x=1")
    assert (status, headers["Location"]) == (308, "https://denoised.test/v1/models?x=1")
