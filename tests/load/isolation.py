"""Two attacks with answers that nobody reads: what they cost the daemon, and another key.

    python3 -m tests.load.isolation [--connections 240] [--streams 150] [--films 256]

Prints resident memory before and at its highest, and how /livez and another key fared meanwhile.
"""

import argparse
import json
import socket
import tempfile
import time
import urllib.request

from tests.http.conftest import Daemon

ATTACKER, OTHER = "attacker-0123456789", "other-0123456789abc"
SECONDS = 15
MIB = 1 << 20


def ask(daemon, path, body=None, key=ATTACKER):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(daemon.url + path, data, {
        "X-API-Key": key, **({"Content-Type": "application/json"} if body else {})})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read()


def draw(daemon, films, **more):
    """A stored job of films. Returns its id."""
    body = {"label": 7, "n": films, "steps": 63, "format": "apng", "frames": 64, "model": "mnist",
            "guidance_scale": 1, "sampler": "ddim", **more}
    job = json.loads(ask(daemon, "/v1/jobs", body)[1])["id"]
    while json.loads(ask(daemon, f"/v1/jobs/{job}?wait=60")[1])["status"] in ("queued", "running"):
        pass
    return job


def open_unread(daemon, path, headers=""):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", int(daemon.url.rpartition(":")[2])))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {ATTACKER}\r\n{headers}\r\n".encode())
    return client


def resident(daemon):
    with open(f"/proc/{daemon.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def attack(daemon, name, path, n, headers=""):
    before = highest = resident(daemon)
    clients = [open_unread(daemon, path, headers) for _ in range(n)]
    livez, other, end = [], [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        begin = time.monotonic()
        ask(daemon, "/livez")
        livez.append(time.monotonic() - begin)
        status, _ = ask(daemon, "/v1/samples", {"label": 1, "steps": 1}, OTHER)
        other.append(status == 200)
        highest = max(highest, resident(daemon))
    for client in clients:
        client.close()
    p99 = sorted(livez)[len(livez) * 99 // 100]
    print(f"{name}: {n} connections, resident {before / MIB:.0f} -> {highest / MIB:.0f} MiB, "
          f"/livez p99 {1e3 * p99:.1f} ms of {len(livez)}, "
          f"other key {sum(other)} of {len(other)} answered")
    return highest - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=240)
    parser.add_argument("--streams", type=int, default=150)
    parser.add_argument("--films", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = f"{folder}/keys"
        with open(keys, "w") as file:
            file.write(f"attacker {ATTACKER}\nother {OTHER}\n")
        daemon = Daemon(folder, "--api-keys-file", keys)
        try:
            result = draw(daemon, options.films)
            sheet = draw(daemon, options.films, layout="grid")
            grown = [attack(daemon, "one result", f"/v1/jobs/{result}/result", options.connections,
                            "Accept: application/json\r\n"),
                     attack(daemon, "events", f"/v1/jobs/{sheet}/events", options.streams)]
        finally:
            daemon.stop()
    raise SystemExit(max(grown) > 64 * MIB)


if __name__ == "__main__":
    main()
