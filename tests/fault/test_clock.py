"""The wall clock jumps: only what tells the time of day follows it."""

import json

import pytest

from tests.fault.test_serving import BODY, ask
from tests.http.conftest import read_response

YEAR_S = 365 * 86400


@pytest.mark.parametrize("jump_s", [YEAR_S, -20 * YEAR_S])
def test_the_clock_jumps(start_faulty, control, tmp_path, jump_s):
    keys = tmp_path / "keys"
    keys.write_text("a key-of-sixteen-characters rows-per-minute=1000\n")
    headers = {"X-API-Key": "key-of-sixteen-characters", "Idempotency-Key": '"k"'}
    daemon = start_faulty("--job-ttl-s", 600, "--idempotency-ttl-s", 600, "--keepalive-timeout-s",
                          3600, "--request-timeout-s", 3600, "--api-keys-file", keys)
    kept = daemon.connect()  # idle, and amid a request
    slow = daemon.connect()
    slow.sendall(b"GET /livez HT")
    job = json.loads(ask(daemon, "POST", "/v1/jobs", {**BODY, "id": "j"}, headers, (202,)))
    ask(daemon, "GET", "/v1/jobs/j?wait=60", headers=headers)
    first = ask(daemon, "POST", "/v1/samples", {"label": "a", "timeout_ms": 600000}, headers)

    control.wall_offset_s = jump_s
    again = ask(daemon, "POST", "/v1/samples", {"label": "a", "timeout_ms": 600000}, headers)
    assert again == first  # kept for ten minutes, which have not passed
    headers.pop("Idempotency-Key")
    assert ask(daemon, "POST", "/v1/samples", {"label": "a", "timeout_ms": 600000}, headers)
    assert json.loads(ask(daemon, "GET", "/v1/jobs/j", headers=headers))["status"] == "succeeded"
    later = json.loads(ask(daemon, "POST", "/v1/jobs", {**BODY, "id": "k"}, headers, (202,)))
    ask(daemon, "GET", "/v1/jobs/k?wait=60", headers=headers)
    both = json.loads(ask(daemon, "GET", "/v1/jobs", headers=headers))["data"]
    assert [j["status"] for j in both] == ["succeeded"] * 2  # the end of one expires no other
    assert abs(later["created"] - job["created"] - jump_s) < 600
    kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    slow.sendall(b"TP/1.1\r\nHost: x\r\n\r\n")
    for client in (kept, slow):
        assert read_response(client.makefile("rb"))[0] == 200
        client.close()
