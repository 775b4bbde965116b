"""Three times as many requests as the daemon can serve, for a minute.

    make overload                          a minute, and half of one to find the capacity
    make overload ARGS="--seconds 10"      a try

Requests of one image arrive open loop, with a deadline each. What is looked for: the work that is
done stays what it was without the surplus; whoever is refused gets 503 and is told when to come
back, rightly within a factor of two; whoever is let in keeps the deadline; memory stays flat. Writes
build/results/reliability/overload.json, with --write-docs docs/reliability/overload.json; exit status 1 where it is not so. Nothing else should run meanwhile.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import threading

from tools import results
from tools.bench.load.daemon import Daemon

QUEUE_S = 2.5  # what the queue holds, in seconds of work
TIMEOUT_MS = 10000
LIMITS = {"goodput": 0.9, "retry_after": 2.0, "memory": 1.1}


def resident_bytes(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory:
    """Resident bytes of a process every half second from `with` to its end."""

    def __init__(self, pid):
        self.pid, self.samples, self.ended = pid, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(0.5):
            self.samples.append(resident_bytes(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def growth(self):
        """The last fifth against the second: the first fills the queue."""
        fifth = max(1, len(self.samples) // 5)
        return (statistics.median(self.samples[-fifth:])
                / statistics.median(self.samples[fifth:2 * fifth]))


def measure(seconds, times):
    body = {"label": 7, "timeout_ms": TIMEOUT_MS}
    with Daemon() as daemon:
        daemon.wrk({"label": 7}, 2)
        capacity = daemon.wrk({"label": 7}, seconds / 2)["per_s"]
    rows = max(16, int(QUEUE_S * capacity))
    with Daemon("--max-queue-rows", str(rows), "--max-rows-per-request", "16") as daemon:
        daemon.wrk({"label": 7}, 2)
        with Memory(daemon.process.pid) as memory:
            result = daemon.load({"r": (1, body)}, times * capacity, seconds, connections=1000)
    found = result["classes"]["r"]
    told = found["retry_after"]
    worked_off_s = result["seconds_to_last_answer"] - told["last_at_s"]
    return {"date": datetime.date.today().isoformat(), "processors": os.cpu_count(),
            "load": os.getloadavg()[0], "seconds": seconds, "times": times,
            "capacity_per_s": capacity, "queue_rows": rows, "timeout_ms": TIMEOUT_MS,
            "sent": found["sent"], "answered": found["ok"], "refused": found["refused"],
            "errors": found["errors"], "unanswered": found["unanswered"],
            "never_sent": result["never_sent"],
            "goodput_per_s": found["ok_per_s"], "goodput": found["ok_per_s"] / capacity,
            "latency_ms": found["latency_ms"], "retry_after_s": told["s"],
            "without_retry_after": told["missing"], "last_retry_after_s": told["last_s"],
            "worked_off_after_s": worked_off_s,
            "memory_bytes": max(memory.samples), "memory_growth": memory.growth()}


def breaches(run):
    """What is not as it should be, as lines."""
    lost = run["errors"] + run["unanswered"] + run["never_sent"]
    if lost or set(run["refused"]) - {"503"}:
        yield f"answers other than 200 and 503: {run['refused']}, {lost} without one"
    if not run["refused"]:
        yield "nobody was refused: that was no overload"
        return
    if run["goodput"] < LIMITS["goodput"]:
        yield f"goodput {run['goodput']:.2f} of the capacity"
    if run["without_retry_after"]:
        yield f"{run['without_retry_after']} refusals without Retry-After"
    ratio = run["last_retry_after_s"] / run["worked_off_after_s"]
    if not 1 / LIMITS["retry_after"] <= ratio <= LIMITS["retry_after"]:
        yield f"Retry-After {run['last_retry_after_s']} s, and it took {run['worked_off_after_s']:.1f} s"
    if run["latency_ms"]["max"] > run["timeout_ms"]:
        yield f"an accepted request took {run['latency_ms']['max']:.0f} ms"
    if run["memory_growth"] > LIMITS["memory"]:
        yield f"memory grew by {run['memory_growth']:.2f}"


def main():
    parser = argparse.ArgumentParser(prog="make overload", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, default=3, help="of the capacity (default: 3)")
    results.add_flag(parser)
    arguments = parser.parse_args()
    run = measure(arguments.seconds, arguments.times)
    print(json.dumps(run, indent=1))
    path = results.folder(arguments.write_docs, "reliability") / "overload.json"
    path.write_text(json.dumps(run, indent=1) + "\n")
    found = list(breaches(run))
    raise SystemExit("\n".join(f"overload: {line}" for line in found) if found else 0)


if __name__ == "__main__":
    main()
