"""The figures of a daemon under load: what wrk and perf say, and the tables that come of it."""

import http.server
import os
import threading
import types

import pytest

from tools.bench.load import one_step, processor_time
from tools.bench.load.daemon import BINARY, Daemon, wrk_result

# wrk's own lines are for people: above a second a value is "1.02s " with a space behind it.
WRK = """Running 4s test @ http://127.0.0.1:1
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   470.03ms    3.25ms   1.02s    80.42%
    Req/Sec     3.77k   224.36     4.11k    72.50%
  15023 requests in 4.01s, 19.27MB read
Requests/sec:   3748.47
Transfer/sec:      4.81MB
{"requests":15023,"duration_us":4000000,"errors":0,"latency_us":{"p50":931,"p75":17620,"p90":20100,"p99":1020000}}
"""

KNOWN = [(0x1000, "core/step.c"), (0x2000, "api/text.c"), (0x3000, "api/json.c"),
         (0x4000, "server/http/http.c"), (0x5000, "server/scheduling/scheduler.c"), (0x6000, "api/png.c")]


def sample(*frames, command="denoised", pid=7):
    return f"{command}  {pid} \n" + "".join(f"\t{address:16x} {name} ({where})\n"
                                            for address, name, where in frames)


def own(address):
    return address, "f", BINARY


def test_what_wrk_says():
    assert wrk_result(WRK) == {"per_s": 3755.75, "requests": 15023, "p50_ms": pytest.approx(0.931),
                               "p75_ms": 17.62, "p90_ms": 20.1, "p99_ms": 1020}


@pytest.mark.parametrize("part, instead", [('"errors":0', '"errors":3'), ('"requests":15023', '"requests":0')])
def test_wrk_without_answers_is_an_error(part, instead):
    with pytest.raises(RuntimeError, match="wrk: "):
        wrk_result(WRK.replace(part, instead))


@pytest.mark.parametrize("status", [200, 503])
def test_wrk_of_this_machine(status):
    """one.lua speaks as wrk_result() hears, and what is refused is an error."""
    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        asked = types.SimpleNamespace(port=server.server_port)
        if status == 200:
            found = Daemon.wrk(asked, {"label": 7}, 1, connections=1)
            assert found["requests"] >= 1 and found["per_s"] > 0
            assert 0 < found["p50_ms"] <= found["p75_ms"] <= found["p90_ms"] <= found["p99_ms"]
        else:
            with pytest.raises(RuntimeError, match="wrk: "):
                Daemon.wrk(asked, {"label": 7}, 1, connections=1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("frames, name", [
    ([own(0x1010), own(0x4000)], "network"),
    ([(0x9, "deflate", "/lib/libz.so.1"), own(0x6fff), own(0x5000)], "PNG"),
    ([(0x9, "vsnprintf", "/lib/libc.so.6"), own(0x2000), own(0x3001), own(0x4000)], "the request"),
    ([(0x9, "[unknown]", "[kernel.kallsyms]"), own(0x4100)], "connections"),
    ([own(0x5000), own(0x4000)], "scheduling"),
    ([(0x9, "__schedule", "[kernel.kallsyms]"), (0x9, "clone", "/lib/libc.so.6")], "scheduling"),
])
def test_whose_time_it_is(frames, name):
    count = processor_time.owners("\n".join([sample(*frames)] * 2), KNOWN, 7)
    (found, n), = count.items()
    assert found.startswith(name) and n == 2


def test_others_do_not_count():
    text = "\n".join([sample(own(0x1000)), sample(own(0x1000), pid=8),
                      sample((0x9, "read", "/lib/libc.so.6"), command="wrk", pid=9)])
    assert processor_time.owners(text, KNOWN, 7) == {processor_time.NETWORK: 1,
                                                     processor_time.CLIENT: 1}


def test_every_file_has_an_owner():
    """The patterns know the program's files by name: a network or scheduler without a function
    would mean that they no longer do."""
    known = processor_time.functions(os.environ.get("DENOISED_BINARY", BINARY))
    names = {processor_time.owner([path]) for _, path in known}
    assert names == {name for name, _ in processor_time.OWNERS}


def test_tables():
    rounds = [{"network_per_s": 8000.0, "fast": {"per_s": 4000.0 * k, "p50_ms": 16, "p99_ms": 24},
               "base": {"per_s": 200.0, "p50_ms": 300, "p99_ms": 400},
               "default": {"per_s": 400.0, "p50_ms": 150, "p99_ms": 200}} for k in (1.0, 1.1, 0.9)]
    text = one_step.render({"batch": 8, "workers": 2, "default_steps": 10, "rounds": rounds})
    assert "| 4000 (3600-4400) | 16.0 (16.0-16.0) | 24.0 (24.0-24.0) |" in text
    assert "| ratio (target >= 10) | 20.0 (18.0-22.0) |" in text
    assert "| ratio | 10.0 (9.0-11.0) |" in text and "| 0.50 (0.45-0.55) |" in text
    text = processor_time.render({"us": {processor_time.NETWORK: 75, processor_time.CLIENT: 25}})
    assert "| 75 | 75 % |" in text and "| 25 | 25 % |" in text and "| 100 |" in text
