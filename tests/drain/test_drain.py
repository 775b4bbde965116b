"""SIGTERM at a random moment of a busy time: whatever was accepted is answered, whole, and the exit status is 0.

    make test-drain RUNS=100 SEED=1

Each run draws its load, its moment and its way of stopping from SEED and its number. What is accepted is in the
daemon's log; nothing else may have come to nothing, and that only unread."""

import collections
import json
import os
import random
import signal
import socket
import time

import pytest

from tests.drain.clients import NOT_TAKEN, Client, Idler, Prober
from tests.http.conftest import DEADLINE_S, Daemon, wait_for

RUNS = int(os.environ.get("RUNS", "3"))
SEED = int(os.environ.get("SEED", "1"))


class Run:
    def __init__(self, number, folder):
        r = self.random = random.Random(f"{SEED} {number}")
        # The three ways by turns, so that few runs see each.
        self.way = ("plain", "delayed", "passed")[number % 3]
        self.is_cut = r.random() < 0.2  # a second signal follows
        self.server = None
        if self.way == "passed":
            self.server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        arguments = ["--workers", "2", "--drain-timeout-s", str(DEADLINE_S), "--max-queue-rows", "100000"]
        if self.way == "delayed":
            arguments += ["--drain-delay-s", "1"]
        self.daemon = Daemon(folder, *arguments, passed=self.server)
        address = (self.daemon.host, self.daemon.port)
        self.clients = [Client(address, r.random()) for _ in range(r.randrange(2, 17))]
        self.prober, self.idler = Prober(address, 0), Idler(address, 0)
        self.all = [*self.clients, self.prober, self.idler]

    def answers(self):
        return sum(1 for c in self.clients for o in c.outcomes if o.status)

    def drain(self):
        for client in self.all:
            client.start()
        after = self.random.randrange(0, 8 * len(self.clients))
        wait_for(lambda: self.answers() >= after and self.prober.outcomes and self.idler.outcomes
                 and self.idler.outcomes[0].status, "answers")
        begin = time.monotonic()
        self.daemon.signal(self.random.choice([signal.SIGTERM, signal.SIGINT]))
        if self.is_cut:
            wait_for(lambda: self.position("draining") is not None, "the drain")
            if self.daemon.process.poll() is None:
                self.daemon.signal()
        self.exit_status = self.daemon.process.wait(DEADLINE_S)
        self.seconds = time.monotonic() - begin
        if self.server:
            self.server.close()  # who still waits in its queue waits no more
        for client in self.all:
            client.join(DEADLINE_S)
            assert not client.is_alive()
        self.daemon.wait()
        self.events = self.daemon.events()

    def position(self, event):
        return next((i for i, e in enumerate(self.daemon.events()) if e["event"] == event), None)

    def check(self):
        assert self.exit_status == 0
        outcomes = {o.request_id: o for c in self.all for o in c.outcomes}
        logged = {}
        for i, e in enumerate(self.events):
            if e["event"] == "request":
                assert e["request_id"] not in logged
                logged[e["request_id"]] = (i, e)
        # What the daemon took it has answered, and the whole answer has arrived.
        for request_id, (_, e) in logged.items():
            outcome = outcomes[request_id]
            assert "aborted" not in e and outcome.status == e["status"], (outcome, e)
        # What came to nothing it never took.
        for outcome in outcomes.values():
            if outcome.request_id not in logged:
                assert isinstance(outcome.failure, NOT_TAKEN) and not outcome.has_begun, outcome
        self.check_statuses(outcomes, logged)
        assert self.idler.rest == b"", "an idle connection is closed without a word"
        if self.is_cut:
            assert self.events[-1]["event"] == "stopped"
        self.summary = collections.Counter(
            "not taken" if o.failure else "refused" if o.status == 503 else "answered"
            for c in self.clients for o in c.outcomes)

    def check_statuses(self, outcomes, logged):
        draining = self.position("draining")
        stopping = self.position("stopping")
        first_refusal = first_unready = len(self.events)
        for request_id, (i, e) in logged.items():
            outcome = outcomes[request_id]
            if outcome.path == "/readyz":
                assert e["status"] == (200 if i < draining else 503), e
                first_unready = min(first_unready, i if e["status"] == 503 else first_unready)
            elif e["status"] == 503:
                assert i > draining and b"draining" in outcome.body, outcome
                first_refusal = min(first_refusal, i)
                # Served on at a socket of others', so never refused but by a second signal.
                assert self.way != "passed" or stopping is not None, outcome
            else:
                assert e["status"] in (200, 201, 202), outcome
            if b"event: started" in outcome.body and not outcome.body.endswith(b"\n\n"):
                pytest.fail(f"a stream without its end: {outcome}")
            if outcome.body.startswith(b"event: "):
                last = outcome.body.strip().split(b"\n\n")[-1].split(b"\n")[0]
                assert last == b"event: completed" or (stopping is not None and last == b"event: error"), outcome
            is_waited_for = "?wait=" in outcome.path and e["status"] == 200 and e["duration_ms"] < 59e3
            if is_waited_for and stopping is None:
                assert json.loads(outcome.body)["status"] == "succeeded", outcome
        if self.way == "delayed" and stopping is None:
            assert draining < first_unready < first_refusal


@pytest.mark.parametrize("number", range(RUNS))
def test_a_drain_under_load(tmp_path, number):
    run = Run(number, tmp_path)
    try:
        run.drain()
    finally:
        if run.daemon.process.poll() is None:
            run.daemon.process.kill()
    run.check()
    print(f"run {number}: {run.way}{', cut' if run.is_cut else ''}, {len(run.clients)} clients, "
          f"{run.seconds:.2f} s, {dict(run.summary)}")
