"""A daemon of its own under load: throughput, latency, fairness, memory; the plot and the page.

    make bench-load                                     everything but processor and memory, some minutes
    make bench-load ARGS="--only throughput,latency"    a part; the rest stays as it was
    make bench-load ARGS="--only one-step"              the fast model, a minute and a half
    make bench-load ARGS="--only processor"             and whose its time is; needs linux-perf, root
    make bench-load ARGS="--only memory"                100,000 requests and what they leave behind
    make bench-load ARGS="--render"                     plot and tables from the file, no timing

Writes served.json and from it served.png into build/results/performance; with --write-docs into
docs/performance, and the tables of the section "Served" of docs/performance.md. The machine should do nothing else meanwhile.
"""

import argparse
import datetime
import json
import os
import pathlib
import re

from tqdm import tqdm

from tools import results
from tools.bench.load import measure, one_step, plots, processor_time
from tools.bench.page import PAGE, compact_json, table

MARKED = re.compile(r"(<!-- served: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SHARES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0, 1.1)
LONG_SHARE = 0.01  # of the requests of the mixed sweep; two thirds of the work for 20 and 1000 steps
PARTS = ("throughput", "row", "latency", "short", "sweep", "one-step", "processor", "memory")
MEMORY_LIMIT = 64 << 20


def part_sweep(run, seconds):
    steps = run["throughput"]["steps"]
    capacity = run["throughput"]["guided_images_per_s"]
    mixed = {"guided": (1 - LONG_SHARE, measure.GUIDED), "long": (LONG_SHARE, measure.LONG)}
    mean_steps = (1 - LONG_SHARE) * steps + LONG_SHARE * measure.LONG["steps"]
    bar = tqdm(total=2 * len(SHARES), desc="sweep", unit="run")
    run["sweep"] = measure.sweep({"guided": (1, measure.GUIDED)}, capacity, SHARES, seconds, bar.update)
    run["sweep_mixed"] = measure.sweep(mixed, capacity * steps / mean_steps, SHARES, 3 * seconds,
                                       bar.update)
    bar.close()


def part_one_step(run, fast, seconds, rounds):
    bar = tqdm(total=rounds, desc="one-step", unit="round")
    run["one-step"] = one_step.measure(fast, seconds, rounds, bar.update)
    bar.close()


def part_memory(run, n_requests):
    bar = tqdm(total=10, desc="memory", unit="tenth")
    run["memory"] = measure.memory(n_requests, bar.update)
    bar.close()


def render_tables(run):
    tables = {}
    if "conditions" in run:
        c = run["conditions"]
        tables["conditions"] = (f"{c['date']}, {c['processors']} processors, load average before the last "
                                f"part {c['load']:.1f}{' (busy: the figures say less)' * (c['load'] > 1)}.\n")
    if "throughput" in run:
        t = run["throughput"]
        tables["throughput"] = table(["", "images a second"], [
            [f"`denoised bench --batch {t['batch']} --threads {t['workers']}`, divided by "
             f"{t['steps']} steps", f"{t['bench_images_per_s']:.1f}"],
            [f"served, {t['steps']} steps, guidance off", f"{t['served_images_per_s']:.1f}"],
            ["served / bench (median of pairs; target >= 0.90)", f"{t['ratio']:.3f}"],
            [f"served, {t['steps']} steps, guided", f"{t['guided_images_per_s']:.1f}"],
            [f"served, the model's defaults, {t['default_steps']} steps, guided", f"{t['default_images_per_s']:.1f}"]])
        rows = [[f"full load, batches of {t['batch']}, {t['steps_an_item']:.1f} steps at a time",
                 f"{100 * t['overhead']:.2f} %"]]
        if "row" in run:
            r = run["row"]
            rows.append([f"one row alone, {r['step_us']:.0f} us a step",
                         f"{100 * r['overhead']:.2f} % ({r['outside_us']:.1f} us a step)"])
        tables["overhead"] = table(["", "beside the steps (target <= 3 %)"], rows)
    if "latency" in run:
        tables["latency"] = table(["images in the request", "median ms", "images a second"], [
            [str(r["n"]), f"{r['p50_ms']:.1f}", f"{r['images_per_s']:.1f}"]
            for r in run["latency"]])
    if "short" in run:
        tables["short"] = table(
            ["1000-step requests, share of the machine", "p50 ms", "p99 ms",
             "p99 / idle median (target <= 3)"],
            [["none" if r["load"] == 0 else f"{100 * r['load']:.0f} %", f"{r['p50_ms']:.1f}",
              f"{r['p99_ms']:.1f}", "" if r["load"] == 0 else f"{r['ratio']:.2f}"]
             for r in run["short"]])
    if "one-step" in run:
        tables["one_step"] = one_step.render(run["one-step"])
    if "processor" in run:
        tables["processor"] = processor_time.render(run["processor"])
    if "memory" in run:
        rows = run["memory"]
        shown = [rows[0], rows[1], rows[len(rows) // 2], rows[-1]]
        tables["memory"] = table(["requests answered", "resident MiB"], [
            [f"{r['requests']}", f"{r['bytes'] / (1 << 20):.1f}"] for r in shown])
    return tables


def render(run, folder, write_docs):
    tables = render_tables(run)
    if "sweep" in run:
        mixed = run["sweep_mixed"]
        plots.draw([("20 steps", run["sweep"]),
                    ("20 steps, 1 % have 1000", [r for r in mixed if r["class"] == "guided"]),
                    ("1000 steps among them", [r for r in mixed if r["class"] == "long"])],
                   folder / "served.png")
    if write_docs:
        text = PAGE.read_text()
        PAGE.write_text(MARKED.sub(lambda m: m[1] + tables.get(m[2], "") + m[3], text))
    for name, lines in tables.items():
        print(f"{name}\n\n{lines}")


def main():
    parser = argparse.ArgumentParser(prog="make bench-load", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="comma-separated: " + ",".join(PARTS))
    parser.add_argument("--seconds", type=float, default=10, help="a run of the load (default: 10)")
    parser.add_argument("--requests", type=int, default=100_000, help="of the memory part")
    parser.add_argument("--rounds", type=int, default=7, help="of the part one-step")
    parser.add_argument("--fast-model", type=pathlib.Path, default=one_step.FAST_MODEL,
                        help="of the parts one-step and processor")
    parser.add_argument("--render", action="store_true", help="no timing")
    results.add_flag(parser)
    arguments = parser.parse_args()
    parts = arguments.only.split(",") if arguments.only else PARTS[:-2]
    if set(parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}")
    folder = results.folder(arguments.write_docs, "performance")
    path = folder / "served.json"
    run = json.loads(path.read_text()) if path.exists() else {}
    if not arguments.render:
        seconds = arguments.seconds
        run["conditions"] = {"date": datetime.date.today().isoformat(), "processors": os.cpu_count(),
                             "load": os.getloadavg()[0]}
        simple = {"throughput": lambda: measure.throughput(seconds / 2), "row": measure.single_row,
                  "latency": lambda: measure.idle_latency(seconds / 5),
                  "short": lambda: measure.short_amid_long(3 * seconds)}
        for part in tqdm([p for p in parts if p in simple], desc="parts", unit="part"):
            run[part] = simple[part]()
        if "sweep" in parts:
            part_sweep(run, seconds)
        if "one-step" in parts:
            part_one_step(run, arguments.fast_model, seconds / 3, arguments.rounds)
        if "processor" in parts:
            run["processor"] = processor_time.measure(arguments.fast_model, seconds)
        if "memory" in parts:
            part_memory(run, arguments.requests)
        path.write_text(compact_json(run))
    render(run, folder, arguments.write_docs)
    if "memory" in parts and not arguments.render:
        most = max(r["bytes"] for r in run["memory"])
        if most > MEMORY_LIMIT or run["memory"][-1]["bytes"] > 1.05 * run["memory"][1]["bytes"]:
            raise SystemExit(f"memory: {most} bytes, more than {MEMORY_LIMIT} or growing")


if __name__ == "__main__":
    main()
