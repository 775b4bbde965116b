"""Half an hour of mixed load, with a model reload every minute: no error, and memory stays flat.

    make soak                            30 minutes
    make soak MINUTES=2                  a try
    make soak MINUTES=2 ARGS="--reload-s 5"       as many reloads in less time

Clients draw with both shipped models, stream, follow and cancel jobs, verify, err and leave; each
minute the file of the first is replaced by one of another digest and SIGHUP sent. Pictures of the same model, label and seed must
have the same pixels throughout. Resident memory and descriptors are read from /proc each second.
Writes soak.json and soak.png into build/results/reliability, with --write-docs into docs/reliability; exit status 1 for an error, or where the last fifth of
the time has more memory or descriptors than the middle one (ten reloads go by until each thread's
arena has had a model).
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import shutil
import signal
import statistics
import tempfile
import threading
import time

from tqdm import tqdm

from tools import results
from tools.bench.engines import ROOT
from tools.bench.load.daemon import Daemon
from tools.soak.clients import Client, Unexpected

MODEL, FAST = ROOT / "models" / "mnist.safetensors", ROOT / "models" / "mnist-fast.safetensors"
MEMORY_GROWTH, DESCRIPTORS_MORE = 1.1, 8


class Soak:
    """The daemon, its clients and what was seen of them."""

    def __init__(self, folder, n_clients):
        self.path = folder / "mnist.safetensors"
        shutil.copy(MODEL, self.path)
        self.daemon = Daemon("--model", str(self.path), "--model", str(FAST))
        self.done, self.errors = collections.Counter(), []
        self.samples = []  # (seconds, resident bytes, descriptors)
        self.reloads = 0
        self.ended = threading.Event()
        pixels = {}
        self.threads = [threading.Thread(target=self.run, args=(seed, pixels), daemon=True)
                        for seed in range(n_clients)]

    def run(self, seed, pixels):
        client = Client(self.daemon.port, seed, pixels)
        while not self.ended.is_set():
            try:
                self.done[client.step()] += 1
            except (OSError, Unexpected, ValueError, KeyError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                client.close()
        client.close()

    def sample(self, at_s):
        proc = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        self.samples.append((round(at_s, 1), resident, len(os.listdir(proc / "fd"))))

    def reload(self):
        """Another file, which differs from the last in the lowest bit of a weight."""
        data = bytearray(self.path.read_bytes())
        data[-4] ^= 1
        new = self.path.with_suffix(".new")
        new.write_bytes(data)
        os.replace(new, self.path)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.reloads += 1

    def last(self, minutes, reload_s):
        """Run for so long, with a reload each `reload_s` seconds."""
        for thread in self.threads:
            thread.start()
        begin = time.monotonic()
        for second in tqdm(range(int(60 * minutes)), desc="soak", unit="s"):
            if second % reload_s == reload_s // 2:
                self.reload()
            self.sample(time.monotonic() - begin)
            self.ended.wait(max(0, begin + second + 1 - time.monotonic()))
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def reloads_seen(self):
        metrics = self.daemon.metrics()
        return int(sum(value for key, value in metrics.items()
                       if key.startswith("model_loads_total") and "replaced" in key))


def medians(samples, column):
    """Of the middle and of the last fifth."""
    fifth = max(1, len(samples) // 5)
    column = [s[column] for s in samples]
    return statistics.median(column[2 * fifth:3 * fifth]), statistics.median(column[-fifth:])


def draw(samples, path):
    import matplotlib  # pylint: disable=import-outside-toplevel

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # pylint: disable=import-outside-toplevel

    figure, axes = plt.subplots(2, 1, figsize=(7.5, 4.2), dpi=100, sharex=True)
    minutes = [s[0] / 60 for s in samples]
    for ax, values, name in ((axes[0], [s[1] / (1 << 20) for s in samples], "resident MiB"),
                             (axes[1], [s[2] for s in samples], "descriptors")):
        ax.plot(minutes, values, color="#3f7cbf", lw=1.2)
        ax.set_ylim(0, 1.15 * max(values))
        ax.set_ylabel(name)
        ax.grid(True, color="0.92")
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    axes[1].set_xlabel("minutes of mixed load, with reloads of the model")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--reload-s", type=int, default=60, help="between two reloads (default: 60)")
    parser.add_argument("--out", type=pathlib.Path, help="another folder")
    results.add_flag(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(pathlib.Path(folder), arguments.clients)
        with soak.daemon:
            soak.last(arguments.minutes, arguments.reload_s)
            reloads = soak.reloads_seen()
        status = soak.daemon.process.returncode
    memory, descriptors = medians(soak.samples, 1), medians(soak.samples, 2)
    run = {"date": datetime.date.today().isoformat(), "processors": os.cpu_count(),
           "minutes": arguments.minutes, "reload_s": arguments.reload_s, "clients": arguments.clients,
           "done": dict(sorted(soak.done.items())), "requests": sum(soak.done.values()),
           "errors": len(soak.errors), "reloads": reloads, "exit_status": status,
           "resident_bytes": {"middle_fifth": memory[0], "last_fifth": memory[1],
                              "most": max(s[1] for s in soak.samples)},
           "descriptors": {"middle_fifth": descriptors[0], "last_fifth": descriptors[1],
                           "most": max(s[2] for s in soak.samples)}}
    out = arguments.out or results.folder(arguments.write_docs, "reliability")
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(run, indent=1) + "\n")
    draw(soak.samples, out / "soak.png")
    print(json.dumps(run, indent=1))
    found = soak.errors[:20]
    if reloads != soak.reloads:
        found.append(f"{reloads} reloads of {soak.reloads}")
    if status != 0:
        found.append(f"exit status {status}")
    if memory[1] > MEMORY_GROWTH * memory[0]:
        found.append(f"memory grew: {memory}")
    if descriptors[1] > descriptors[0] + DESCRIPTORS_MORE:
        found.append(f"descriptors grew: {descriptors}")
    raise SystemExit("\n".join(f"soak: {line}" for line in found) if found else 0)


if __name__ == "__main__":
    main()
