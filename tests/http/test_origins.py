"""What pages of browsers may ask of a daemon on the operator's own machine: hosts and foreign origins."""

import pytest

from . import contract, wire
from .conftest import Daemon
from .test_keys import ADA, start_with_keys  # noqa: F401: a fixture

EVIL, GOOD = "https://evil.example", "https://studio.example"
UNCHECKED = {"variables": {"DENOISED_ALLOWED_HOSTS": None}}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A daemon as it is by default, on a port of loopback."""
    daemon = Daemon(tmp_path_factory.mktemp("local"), "--workers", "1", "--admin-listen", "127.0.0.1:0", **UNCHECKED)
    yield daemon
    daemon.stop()


def ask(address, method, target, *lines, body=None):
    answer = wire.ask(address, method, target, list(lines), body)
    contract.check_answer(method, target, answer.status, answer.headers, answer.body)
    return answer


# ---- hosts --------------------------------------------------------------------------------------

@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "localhost:8080", "127.0.0.1",
                                  "127.0.0.1:1", "[::1]", "[::1]:8080"])
@pytest.mark.parametrize("path", ["/livez", "/v1/jobs"])
def test_own_hosts(local, host, path):
    assert ask((local.host, local.port), "GET", path, ("Host", host)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example", "xlocalhost",
                                  "127.0.0.1.evil.example", "[::2]", "10.0.0.1", "", "*"])
@pytest.mark.parametrize("method,path", [("GET", "/livez"), ("GET", "/v1/jobs"), ("HEAD", "/"),
                                         ("OPTIONS", "/v1/jobs"), ("POST", "/v1/jobs/x/cancel")])
def test_foreign_hosts(local, host, method, path):
    answer = ask((local.host, local.port), method, path, ("Host", host))
    assert answer.status == 421
    if method == "GET":
        assert answer.json()["type"].endswith(":misdirected-request")
        assert "--allowed-hosts" in answer.json()["detail"]


def test_a_targets_own_host_counts(local):
    address = (local.host, local.port)
    assert ask(address, "GET", "http://evil.example/livez", ("Host", "localhost")).status == 421
    assert ask(address, "GET", "http://me@localhost:1/livez", ("Host", "evil.example")).status == 200


def test_the_admin_port_as_well(local):
    host, port = local.admin_url.removeprefix("http://").rsplit(":", 1)
    assert ask((host, int(port)), "GET", "/admin/models", ("Host", "localhost")).status == 200
    assert ask((host, int(port)), "GET", "/admin/models", ("Host", "evil.example")).status == 421


@pytest.mark.parametrize("allowed,good,bad", [
    ("studio.example", ["studio.example", "Studio.Example:443", "localhost"], ["a.studio.example", "evil.example"]),
    ("*.studio.example,x", ["a.studio.example", "a.b.studio.example", "x"], ["studio.example", "astudio.example"]),
    ("*", ["evil.example", "", "a:80"], [])])
def test_allowed_hosts(start_daemon, allowed, good, bad):
    daemon = start_daemon("--workers", 1, "--allowed-hosts", allowed, **UNCHECKED)
    for host in good:
        assert ask((daemon.host, daemon.port), "GET", "/livez", ("Host", host)).status == 200, host
    for host in bad:
        assert ask((daemon.host, daemon.port), "GET", "/livez", ("Host", host)).status == 421, host


def test_where_hosts_are_not_checked_by_default(start_daemon, tmp_path):
    path = str(tmp_path / "s")
    start_daemon("--workers", 1, listen="unix:" + path, **UNCHECKED)
    assert ask(path, "GET", "/livez", ("Host", "studio.example")).status == 200
    daemon = start_daemon("--workers", 1, listen="0.0.0.0:0", **UNCHECKED)
    assert ask(("127.0.0.1", daemon.port), "GET", "/livez", ("Host", "studio.example")).status == 200


def test_the_listeners_name_is_allowed(start_daemon):
    daemon = start_daemon("--workers", 1, listen="127.0.0.5:0", **UNCHECKED)
    assert ask(("127.0.0.5", daemon.port), "GET", "/livez", ("Host", f"127.0.0.5:{daemon.port}")).status == 200


@pytest.mark.parametrize("value", ["a b", "a,", "a:80", "http://a", "**", "a.*", "*a", "a/b"])
def test_hosts_that_are_none(tmp_path, value):
    daemon = Daemon(tmp_path, "--allowed-hosts", value, wait=False)
    assert daemon.wait() == 2
    assert "--allowed-hosts" in daemon.log_path.read_text()


# ---- pages of other origins ---------------------------------------------------------------------

PAGES = [
    ([], 200),
    ([("Sec-Fetch-Site", "none")], 200),
    ([("Sec-Fetch-Site", "same-origin"), ("Origin", "http://localhost")], 200),
    ([("Origin", "http://localhost")], 200),
    ([("Origin", EVIL), ("Sec-Fetch-Site", "cross-site")], 403),
    ([("Sec-Fetch-Site", "cross-site")], 403),
    ([("Origin", "http://localhost:3000"), ("Sec-Fetch-Site", "same-site")], 403),
    ([("Origin", EVIL)], 403), ([("Origin", "null")], 403), ([("Origin", "http://localhost.evil.example")], 403)]


@pytest.mark.parametrize("lines,status", PAGES)
@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", None])
def test_pages_that_change_something(local, lines, status, media_type):
    types = [("Content-Type", media_type)] if media_type else []
    answer = ask((local.host, local.port), "POST", "/v1/samples", ("Host", "localhost"), *types, *lines,
                 body=b'{"label":1,"steps":1}')
    assert answer.status == status
    if status == 403:
        assert answer.json()["type"].endswith(":foreign-origin")


def test_the_port_is_of_the_origin(local):
    for port, status in ((8080, 200), (3000, 403)):
        answer = ask((local.host, local.port), "POST", "/v1/samples", ("Host", "localhost:8080"),
                     ("Origin", f"http://localhost:{port}"), body=b'{"label":1,"steps":1}')
        assert answer.status == status


def test_what_only_reads_is_for_every_page(local):
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = ask((local.host, local.port), method, "/v1/models", ("Host", "localhost"), ("Origin", EVIL),
                     ("Sec-Fetch-Site", "cross-site"))
        assert answer.status < 300
    answer = ask((local.host, local.port), "DELETE", "/v1/jobs/none", ("Host", "localhost"), ("Origin", EVIL))
    assert answer.status == 403


def post_from(daemon, origin, *lines):
    return ask((daemon.host, daemon.port), "POST", "/v1/samples", ("Host", "localhost"), ("Origin", origin),
               ("Sec-Fetch-Site", "cross-site"), *lines, body=b'{"label":1,"steps":1}').status


def test_pages_that_may(start_daemon, start_with_keys):  # noqa: F811
    daemon = start_daemon("--workers", 1, "--cors-origin", GOOD)
    assert (post_from(daemon, GOOD), post_from(daemon, EVIL)) == (200, 403)
    assert post_from(start_daemon("--workers", 1, "--cors-origin", "*"), EVIL) == 200
    keyed = start_with_keys(f"ada {ADA}\n", "--workers", 1)  # a page has no key
    assert post_from(keyed, EVIL, ("X-API-Key", ADA)) == 200
    assert post_from(keyed, EVIL) == 401
