"""The measurements. Each takes a fresh daemon's worth of questions and returns plain numbers."""

import statistics

from tools.bench.engines import program
from tools.bench.load.daemon import BINARY, Daemon

STEPS = 20
GUIDED = {"label": 7, "steps": STEPS}
PLAIN = {**GUIDED, "guidance_scale": 1}  # one evaluation a step, as `denoised bench` counts
SHORT = {"label": 7, "steps": 10}
LONG = {"label": 7, "steps": 1000, "sampler": "ddpm"}
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}


def growth(before, after):
    return {key: after[key] - before.get(key, 0) for key in after}


def overhead(grown):
    """Time of the workers between their pieces of work, as a share of the time in steps."""
    return grown["handover_seconds_total"] / grown["step_duration_seconds_sum"]


def bench(batch, threads, seconds):
    return program(BINARY, "bench", "--json", "--batch", batch, "--threads", threads,
                   "--seconds", seconds)["image_steps_per_s"]


def throughput(seconds, rounds=3):
    """Served against `denoised bench` at the same batch and threads: pairs, one after the other."""
    results = []
    with Daemon() as daemon:
        capabilities = daemon.capabilities()
        batching = capabilities["batching"]
        batch = next(iter(batching["evaluations"].values()))
        for _ in range(rounds):
            engine = bench(batch, batching["workers"], seconds)
            before = daemon.metrics()
            plain = daemon.wrk(PLAIN, seconds)["per_s"]
            grown = growth(before, daemon.metrics())
            results.append({"bench_images_per_s": engine / STEPS, "served_images_per_s": plain,
                            "guided_images_per_s": daemon.wrk(GUIDED, seconds)["per_s"],
                            "default_images_per_s": daemon.wrk({"label": 7}, seconds)["per_s"],
                            "ratio": plain * STEPS / engine, "overhead": overhead(grown),
                            "steps_an_item": grown["step_duration_seconds_count"] /
                            grown["step_items_total"]})
    median = {key: statistics.median(r[key] for r in results) for key in results[0]}
    return {"batch": batch, "max_batch": batching["max_batch"], "workers": batching["workers"],
            "steps": STEPS, "default_steps": capabilities["defaults"]["steps"], **median}


def single_row(rounds=3):
    """One row of 1000 steps with nothing else to do: what a step costs beside the step."""
    figures = []
    with Daemon() as daemon:
        body = {**LONG, "guidance_scale": 1}
        for _ in range(rounds):
            before = daemon.metrics()
            result = daemon.load({"long": (1, body)}, 1000, 0.0015, arrivals="constant")
            grown = growth(before, daemon.metrics())
            wall_s = result["classes"]["long"]["latency_ms"]["max"] / 1e3
            inside_s = grown["step_duration_seconds_sum"]
            figures.append({"step_us": 1e6 * inside_s / 1000,
                            "outside_us": 1e6 * (wall_s - inside_s) / 1000,
                            "overhead": (wall_s - inside_s) / inside_s})
    return {key: statistics.median(f[key] for f in figures) for key in figures[0]}


def idle_latency(seconds):
    """Requests of n images, one request at a time: the wall time of each size."""
    rows = []
    with Daemon() as daemon:
        for n in (1, 2, 8, 64):
            body = {"label": 7, "n": n}
            first = daemon.load({"r": (1, body)}, 1000, 0.0015, arrivals="constant")
            took_s = first["classes"]["r"]["latency_ms"]["max"] / 1e3
            result = daemon.load({"r": (1, body)}, 1 / (1.2 * took_s), max(seconds, 6 * took_s),
                                 arrivals="constant")
            latency = result["classes"]["r"]["latency_ms"]
            rows.append({"n": n, "p50_ms": latency["p50"], "images_per_s": n / latency["p50"] * 1e3})
    return rows


def short_amid_long(seconds):
    """Ten steps while 1000-step requests arrive, at shares of what the machine can do."""
    with Daemon() as daemon:
        idle = daemon.load({"short": (1, SHORT)}, 10, seconds, arrivals="constant")
        before = daemon.metrics()
        alone = daemon.load({"long": (1, LONG)}, 1000, 0.0015, arrivals="constant")
        evaluations = growth(before, daemon.metrics())["evaluations_total"]
        long_s = alone["classes"]["long"]["latency_ms"]["max"] / 1e3
        capacity = daemon.capabilities()["batching"]["workers"] / long_s  # of long ones, a second
    idle_ms = idle["classes"]["short"]["latency_ms"]
    rows = [{"load": 0, "p50_ms": idle_ms["p50"], "p99_ms": idle_ms["p99"], "ratio": 1.0}]
    for share in (0.5, 0.9, 1.5):
        with Daemon() as daemon:
            shorts = 0.1 * capacity * evaluations / (2 * SHORT["steps"])  # a tenth of the machine
            longs = share * capacity
            result = daemon.load({"short": (shorts, SHORT), "long": (longs, LONG)},
                                 shorts + longs, seconds, drain=0)
            latency = result["classes"]["short"]["latency_ms"]
            rows.append({"load": share, "p50_ms": latency["p50"], "p99_ms": latency["p99"],
                         "n_short": result["classes"]["short"]["ok"],
                         "n_long": result["classes"]["long"]["sent"],
                         "ratio": latency["p99"] / idle_ms["p50"]})
    return rows


def sweep(mix, capacity, shares, seconds, done):
    """Latency percentiles of each class of `mix` against the rate, open loop."""
    rows = []
    for share in shares:
        with Daemon() as daemon:
            result = daemon.load(mix, share * capacity, seconds, connections=900, drain=10)
        for name, found in result["classes"].items():
            if found["latency_ms"]:
                rows.append({"class": name, "share": share, "rate": share * capacity,
                             "images_per_s": found["ok_per_s"],
                             "lost": found["unanswered"] + found["errors"] +
                             sum(found["refused"].values()),
                             **{p: found["latency_ms"][p] if found["ok"] * (1 - rank) >= 1 else None
                                for p, rank in PERCENTILES.items()}})
        done()
    return rows


def memory(n_requests, done):
    """Resident bytes after each tenth of `n_requests` requests of one step."""
    body = {"label": 7, "steps": 1, "guidance_scale": 1}
    rows = []
    with Daemon() as daemon:
        answered = 'http_requests_total{route="/v1/samples",method="POST",code="200"}'
        rows.append({"requests": 0,
                     "bytes": daemon.metrics()["process_resident_memory_bytes"]})
        while rows[-1]["requests"] < n_requests:
            while daemon.metrics().get(answered, 0) < n_requests * len(rows) / 10:
                daemon.wrk(body, 2)
            metrics = daemon.metrics()
            rows.append({"requests": int(metrics[answered]),
                         "bytes": metrics["process_resident_memory_bytes"]})
            done()
    return rows
