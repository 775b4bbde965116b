"""The comparison with the peers: everything in one run, in turn, round after round.

    make bench                                      everything, a few minutes
    make bench ARGS="--engines fp32,ort --batches 1,8 --threads 1 --rounds 3"
    make bench ARGS="--add"                         more rounds into the last run's file
    make bench ARGS="--render"                      tables, plots and page from that file, no timing

Writes bench.json and from it the plots beside it into build/results/performance; with --write-docs
into docs/performance, and the tables of docs/performance.md. On other processors than Intel's with AMX
both have a place of their own, FAMILY/bench.json. The machine should do nothing else meanwhile.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import numpy as np
from tqdm import tqdm

from tools import results
from tools.bench import engines as contestants
from tools.bench import figures, page, plots
from tools.bench.engines import ROOT, program

WORK = ROOT / "build" / "bench"
RESULTS = ROOT / "docs" / "performance"
FAMILIES = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}  # without AMX
BATCHES, THREADS = (1, 2, 4, 8, 16, 32), (1, 2)
CONVOLUTION_BATCHES = (1, 8)
DRAWN_ROWS, DRAWN_STEPS = [(7, 42, 0), (2, 43, 0), (5, 44, 0)], 20

# Between outputs of order 1: of fp32 in other orders of summation; of bf16, 8 bits of each factor in
# some thirty layers; of int8 with ranges by least and most, where it is no more than the same drawing.
DIFFERENCE_MAX = {"fp32": 1e-3, "bf16": 0.2, "int8": 1.0}
# Of 255: a value on the edge between two steps may fall to either side.
PIXEL_DIFFERENCE_MAX = 1
# bf16 has 8 bits of mantissa; below this it would be another network.
BF16_PSNR_MIN = 35


def whole_numbers(text):
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text}: numbers from 1 expected")
    return numbers


def parse(argv=None):
    p = argparse.ArgumentParser(prog="tools.bench", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--engines", type=lambda text: text.split(","), metavar="KEY,...",
                   default=contestants.KEYS, help=f"of {' '.join(contestants.KEYS)} (default: all)")
    p.add_argument("--batches", type=whole_numbers, default=list(BATCHES), metavar="N,...",
                   help=f"images in flight, of {BATCHES} (default: all)")
    p.add_argument("--threads", type=whole_numbers, default=list(THREADS), metavar="N,...",
                   help="default: 1,2")
    p.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    p.add_argument("--seconds", type=float, default=0.3,
                   help="to time one engine once, after its warm-up (default: %(default)s)")
    p.add_argument("--out", type=pathlib.Path, help="default: bench.json in build/results/performance, or in its folder FAMILY")
    results.add_flag(p)
    p.add_argument("--add", action="store_true", help="add rounds to --out, if the machine and "
                                                      "the revision are the same")
    p.add_argument("--render", action="store_true", help="time nothing, render --out")
    p.add_argument("--family", default=family(), help="of processors, whose tables and folder these are: empty for "
                                                      "Intel's with AMX (default: this machine's)")
    o = p.parse_args(argv)
    o.out = o.out or results.folder(o.write_docs, "performance") / o.family / "bench.json"
    if o.rounds < 1 or o.seconds <= 0:
        p.error("--rounds from 1 and --seconds above 0 expected")
    if not set(o.engines) <= set(contestants.KEYS):
        p.error(f"--engines: of {' '.join(contestants.KEYS)}")
    if not set(o.batches) <= set(BATCHES):
        p.error(f"--batches: of {BATCHES}")
    return o


# ---- before the timing ---------------------------------------------------------------------------

def family(cpuinfo=None):
    """Whose tables a run on this processor fills: "" are those of Intel's processors with AMX."""
    found = dict(line.split(":", 1) for line in
                 (cpuinfo or pathlib.Path("/proc/cpuinfo").read_text()).replace("\t", "").split("\n\n")[0]
                 .splitlines() if ":" in line)
    if "amx_bf16" in found.get("flags", "").split():
        return ""
    return FAMILIES.get(found.get("vendor_id", "").strip(), platform.machine())


def machine():
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if "model name" in line]
    return {"processor": cpu[0] if cpu else platform.machine(), "processors": os.cpu_count(),
            "kernel": platform.release().split("-")[0]}


def revision():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    return done.stdout.strip() or "unknown"


def open_engines(o):
    """(engines, the PyTorch process, what is left out). The PyTorch process is there in any case:
    it prepares what the others need."""
    engines, missing = contestants.ours(o.engines)
    torch = contestants.torch_peer()
    torch.ask("prepare", into=str(WORK))
    if "torch" in o.engines:
        engines.append(torch)
    if "torch_bf16" in o.engines:
        engines.append(contestants.torch_peer_in_bf16())
    if "ort" in o.engines:
        engines.append(contestants.onnx_peer(WORK))
    if "ort_int8" in o.engines:
        engines.append(contestants.onnx_peer_in_int8(WORK))
    if "ort_avx2" in o.engines:
        try:
            engines.append(contestants.onnx_peer_on_avx2(WORK))
        except RuntimeError as error:
            missing.append("ONNX Runtime on AVX2")
            print(f"bench: left out: ONNX Runtime on AVX2: {error}", file=sys.stderr)
    return engines, torch, missing


def check_peers(engines, torch):
    """The largest difference of each peer's output, in any of its variants, from PyTorch's plain
    one."""
    def output(engine, variant):
        engine.ask("evaluate", variant=variant, batch=8, into=str(WORK / "output"))
        return np.fromfile(WORK / "output", "<f4")

    wanted = output(torch, "eager")
    peers = [(e, variant) for e in engines if isinstance(e, contestants.Peer) for variant in e.told["variants"]]
    precisions = {f"{e.title}, {variant}": figures.PRECISION[e.key] for e, variant in peers}
    differences = {f"{e.title}, {variant}": float(np.abs(output(e, variant) - wanted).max())
                   for e, variant in peers}
    for name, difference in differences.items():
        if not difference <= DIFFERENCE_MAX[precisions[name]]:
            raise RuntimeError(f"{name}: its output is {difference:g} from PyTorch's")
    return differences


def check_ours(engines, torch):
    """Images that each of ours draws against PyTorch's, drawn from the same noise."""
    wanted = np.array(torch.ask("sample", rows=DRAWN_ROWS, steps=DRAWN_STEPS)["pixels"])
    found = {}
    for engine in engines:
        if not isinstance(engine, contestants.Ours) or engine.is_slow:
            continue
        pixels = []
        for row in DRAWN_ROWS:
            engine.sample(row, DRAWN_STEPS, WORK / "drawn.npy")
            pixels.append(np.load(WORK / "drawn.npy").reshape(-1).astype(int))
        difference = np.abs(np.array(pixels) - wanted)
        mse = np.square(difference).mean(axis=1)
        psnr = float(np.median(10 * np.log10(255**2 / np.maximum(mse, 1e-6))))
        found[engine.title] = {"pixel_difference_max": int(difference.max()), "psnr_db": psnr}
        if engine.key == "bf16":
            is_same = psnr >= BF16_PSNR_MIN
        else:
            is_same = difference.max() <= PIXEL_DIFFERENCE_MAX
        if not is_same:
            raise RuntimeError(f"{engine.title}: draws other images than PyTorch: {found}")
    return found


# ---- the timing ----------------------------------------------------------------------------------

def profile(engines):
    """Where the time of an evaluation goes, for each of ours at batch 8."""
    return {e.key: e.bench(8, 1, 1, "--profile") for e in engines
            if isinstance(e, contestants.Ours) and not e.is_slow}


def next_round(records, **cell):
    """The number of a cell's next round: --add may have gone on with some cells only."""
    return 1 + max((r["round"] for r in records if all(r[k] == v for k, v in cell.items())),
                   default=-1)


def time_all(o, engines, run):
    cells = [(n, t) for t in o.threads for n in o.batches]
    times = [(e, n, t) for n, t in cells for e in engines if e.can(n, t)]
    onednn = [(p, b) for p in ("f32", "bf16") for b in CONVOLUTION_BATCHES
              if "onednn" in o.engines and b in o.batches and 1 in o.threads]
    bar = tqdm(total=len(times) + o.rounds * (len(times) + len(onednn)), unit="", disable=None)
    for engine, n, t in times:
        bar.set_description(f"choosing: {engine.title}, {n} images, threads {t}")
        engine.choose(n, t)
        bar.update()
    for _ in range(o.rounds):
        for n, t in cells:
            r = next_round(run["timings"], images=n, threads=t)
            # Who comes first changes, so that nobody has the better half of every cell.
            turn = r % len(engines)
            for engine in engines[turn:] + engines[:turn]:
                if not engine.can(n, t):
                    continue
                bar.set_description(f"round {r + 1}: {engine.title}, {n} images, threads {t}")
                run["timings"].append({"engine": engine.key, "images": n, "threads": t,
                                       "round": r, "ms": engine.measure(n, t, o.seconds)})
                bar.update()
        for precision, batch in onednn:
            r = next_round(run["convolutions"], precision=precision, batch=batch)
            bar.set_description(f"round {r + 1}: oneDNN, {precision}, batch {batch}")
            layers, run["machine"]["onednn"] = contestants.onednn_convs(WORK, precision, batch,
                                                                        o.seconds)
            run["convolutions"].append({"round": r, "precision": precision, "batch": batch,
                                        "layers": layers})
            bar.update()
    bar.close()


def take_peaks(run):
    """The best of this and earlier measurements: a peak is what nothing disturbed."""
    peak = ROOT / "build" / "tools" / "bench" / "peak"
    found = program(peak) if peak.is_file() else {}  # x86-64 alone has one
    for kind, values in found.items():
        for name, value in values.items():
            before = run["peaks"].setdefault(kind, {}).get(name, 0)
            run["peaks"][kind][name] = max(value, before)


def warn_if_busy():
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"bench: the machine is at work already (load {load:.1f}): expect wide spreads",
              file=sys.stderr)


def new_run(o):
    """What --add goes on with, or an empty run."""
    here = {**machine(), "revision": revision()}
    if not o.add:
        return {"machine": here, "titles": {}, "choices": [], "timings": [], "convolutions": [],
                "profiles": {}, "peaks": {}, "checks": {}, "missing": []}
    run = json.loads(o.out.read_text())
    for key, value in here.items():
        if run["machine"].get(key) != value:
            sys.exit(f"bench: {o.out}: {key} is {run['machine'].get(key)} there, {value} here")
    return run


def measure(o):
    warn_if_busy()
    WORK.mkdir(parents=True, exist_ok=True)
    run = new_run(o)
    engines, torch, run["missing"] = open_engines(o)
    try:
        run["checks"].update(peers=check_peers(engines, torch), ours=check_ours(engines, torch))
        for e in engines:
            if isinstance(e, contestants.Peer):
                e.take_choices(run["choices"])
        run["machine"].update(date=datetime.date.today().isoformat(), load=os.getloadavg()[0])
        take_peaks(run)
        time_all(o, engines, run)
        take_peaks(run)
        run["profiles"].update(profile(engines))
        for e in engines:
            run["titles"][e.key] = e.title
            if isinstance(e, contestants.Peer):
                run["machine"][e.key] = e.told["version"]
                run["choices"] = [c for c in run["choices"] if c["engine"] != e.key]
                run["choices"] += e.choices_as_records()
    finally:
        for e in {*engines, torch}:
            e.close()
    o.out.parent.mkdir(parents=True, exist_ok=True)
    o.out.write_text(page.compact_json(run))
    return run


def main(argv=None):
    o = parse(argv)
    if not o.render and shutil.which("node") is None:
        sys.exit("bench: node is missing; `make bench` installs it")
    try:
        run = json.loads(o.out.read_text()) if o.render else measure(o)
    except (OSError, RuntimeError) as error:
        sys.exit(f"bench: {error}")
    print(page.text(run))
    plots.draw_all(run, o.out.parent)
    if o.out.parent == RESULTS / o.family:
        page.update(page.PAGE, run, o.family)


if __name__ == "__main__":
    main()
