"""What may stand in the log, and what may be left out of it."""

import pytest
import requests

from tests.http.conftest import DEADLINE_S, read_response, wait_for

HOSTILE = [b"\x1b[31mred\x1b]0;title\x07", b"\x7f\x08\x01", b"\xc2\x9b31m", b"\xe2\x80\xaeevil\xe2\x80\xac",
           b"\xe2\x80\xa8", b"\xe2\x81\xa6x", b"\xff\xfe", b"\xd8\x9c"]
# Whatever a terminal obeys or a reader cannot see, however it may have come there.
FORBIDDEN = [chr(c) for c in (*range(0x20), *range(0x7f, 0xa0), 0x61c, 0x200e, 0x200f, *range(0x2028, 0x202f),
                              *range(0x2066, 0x206a)) if c != 0x0a]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_a_terminal_obeys(start_daemon, log_format):
    daemon = start_daemon("--workers", 1, log_format=log_format)
    for raw in HOSTILE:
        with daemon.connect() as client:
            client.sendall(b"GET /%s?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (raw, raw))
            assert read_response(client.makefile("rb"))[0] in (400, 404)
    daemon.stop()
    text = daemon.log_path.read_bytes().decode()  # UTF-8, all of it
    assert text.count("method") >= len(HOSTILE)
    assert not [c for c in FORBIDDEN if c in text]
    for escaped in ("\\u001b[31mred", "\\u009b31m", "\\u202eevil", "\\u2028", "\\u2066x"):
        assert escaped in text


def test_probes_can_be_left_out(start_daemon):
    daemon = start_daemon("--workers", 1, "--log-access", "no-probes")
    for path in ("/livez", "/readyz", "/metrics", "/version"):
        assert daemon.get(path).status_code == 200
    assert daemon.post({"label": 7, "steps": 1}).status_code == 200
    assert requests.post(daemon.url + "/livez", timeout=DEADLINE_S).status_code == 405
    assert daemon.post({"label": 99}).status_code == 400
    daemon.stop()
    lines = [(e["path"], e["status"]) for e in daemon.events() if e["event"] == "request"]
    assert lines == [("/version", 200), ("/v1/samples", 200), ("/livez", 405), ("/v1/samples", 400)]


def test_access_on_and_off(start_daemon):
    for flag, paths in (("on", ["/livez", "/version"]), ("off", [])):
        daemon = start_daemon("--workers", 1, "--log-access", flag)
        for path in ("/livez", "/version"):
            assert daemon.get(path).status_code == 200
        daemon.stop()
        assert [e["path"] for e in daemon.events() if e["event"] == "request"] == paths


@pytest.mark.parametrize("mode, words", [
    (0o666, "write"), (0o622, "write"), (0o660, "write"), (0o602, "write"), (0o644, "read"), (0o640, None),
    (0o600, None), (0o400, None),
])
def test_a_file_of_keys_that_others_may_change(start_daemon, tmp_path, mode, words):
    keys = tmp_path / "keys"
    keys.write_text("ada 0123456789abcdef0123456789abcdef\n")
    keys.chmod(mode)
    daemon = start_daemon("--workers", 1, "--api-keys-file", keys)
    warned = [e for e in daemon.events() if e["event"] == "api_keys_exposed"]
    if words is None:
        assert not warned
        keys.chmod(0o666)
        daemon.signal(1)
        [warning] = wait_for(lambda: [e for e in daemon.events() if e["event"] == "api_keys_exposed"], "the warning")
        assert warning["mode"] == "0666"
    else:
        [warning] = warned
        assert warning["level"] == "warn" and warning["file"] == str(keys)
        assert words in warning["reason"] and warning["mode"] == f"{mode:04o}"
