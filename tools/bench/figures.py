"""From a run's timings to figures: medians over rounds, ratios of pairs, targets met or not.

A run is a list of records {engine, images, threads, round, ms: [p10, median, p90]}. What is
compared was timed in the same round, one after the other, so a machine that slows down slows both:
a ratio is the median over the rounds of the rounds' ratios, and its spread is theirs.
"""

import dataclasses

import numpy as np


# What each engine multiplies in. Who is compared with another precision is marked so.
PRECISION = {"fp32": "fp32", "bf16": "bf16", "avx2": "fp32", "openblas": "fp32", "scalar": "fp32",
             "torch": "fp32", "torch_bf16": "bf16", "ort": "fp32", "ort_int8": "int8", "ort_avx2": "fp32"}


@dataclasses.dataclass(frozen=True)
class Figure:
    """The median over the rounds, with what lies 10 % from either end."""
    p10: float
    median: float
    p90: float

    @staticmethod
    def of(values):
        return Figure(*np.percentile(values, [10, 50, 90]).tolist())


class Timings:
    def __init__(self, records):
        self.ms = {}  # (engine, images, threads) -> {round: median ms}
        for r in records:
            cell = self.ms.setdefault((r["engine"], r["images"], r["threads"]), {})
            cell[r["round"]] = r["ms"][1]

    def engines(self):
        return list(dict.fromkeys(engine for engine, _, _ in self.ms))

    def sizes(self, engine, threads):
        return sorted(n for e, n, t in self.ms if (e, t) == (engine, threads))

    def cell(self, engine, images, threads=1):
        """{round: ms}; empty where it was not timed."""
        return self.ms.get((engine, images, threads), {})

    def best(self, engine, threads=1):
        """{round: ms} at the number of images that suits the engine best in that round."""
        rounds = {}
        for n in self.sizes(engine, threads):
            for r, ms in self.cell(engine, n, threads).items():
                rounds[r] = min(ms, rounds.get(r, ms))
        return rounds

    def figure(self, engine, images, threads=1):
        cell = self.cell(engine, images, threads)
        return Figure.of(list(cell.values())) if cell else None


def ratio(over, under):
    """The Figure of over / under, two {round: ms}, by the rounds that both have; None: none."""
    both = sorted(over.keys() & under.keys())
    return Figure.of([over[r] / under[r] for r in both]) if both else None


@dataclasses.dataclass(frozen=True)
class Target:
    text: str
    is_at_least: bool  # else at most
    bound: float
    value: Figure = None  # None: not measured

    def verdict(self):
        if self.value is None:
            return "not measured"
        met = (self.value.median >= self.bound if self.is_at_least
               else self.value.median <= self.bound)
        return "met" if met else "not met"


def convolutions(run, precision, batch):
    """{round: ms an image} of oneDNN's convolutions alone."""
    return {c["round"]: sum(layer["ms"] for layer in c["layers"].values())
            for c in run["convolutions"] if (c["precision"], c["batch"]) == (precision, batch)}


def targets(run):
    """What the project wants to reach, with what this run reached."""
    t = Timings(run["timings"])
    ort = t.best("ort")
    rows = []
    for images in (1, 8):
        rows.append(Target(f"fp32, batch {images}: ONNX Runtime's best batch takes x times as long",
                           True, 2.2, ratio(ort, t.cell("fp32", images))))
    for images in (1, 8):
        rows.append(Target(f"fp32, batch {images}: x times oneDNN's fp32 convolutions alone",
                           False, 1.3, ratio(t.cell("fp32", images),
                                             convolutions(run, "f32", images))))
    for images, bound in ((1, 6), (8, 10)):
        rows.append(Target(f"bf16, batch {images}: ONNX Runtime's best batch (fp32) takes x times "
                           "as long", True, bound, ratio(ort, t.cell("bf16", images))))
    for images in (1, 8):
        rows.append(Target(f"AVX2, batch {images}: ONNX Runtime's best batch on AVX2 takes x times "
                           "as long", True, 1.1, ratio(t.best("ort_avx2"), t.cell("avx2", images))))
    for engine in ("fp32", "bf16"):
        for images in (16, 32):
            rows.append(Target(f"{engine}, {images} images: two workers do x times the work of one",
                               True, 1.85, ratio(t.cell(engine, images, 1),
                                                 t.cell(engine, images, 2))))
    return rows


def operations(profile):
    """The operations of a profile, those of one name and kind (the parts of a transposed
    convolution) as one: {name, kind, ms, gflops, flops_per_byte}. Weights are read once a batch."""
    joined = {}
    for op in profile["ops"]:
        sums = joined.setdefault((op["name"], op["kind"]), {"ms": 0, "macs": 0, "bytes": 0})
        sums["ms"] += op["ms"]
        sums["macs"] += op["macs"]
        sums["bytes"] += op["map_bytes"] + op["weight_bytes"] / profile["batch"]
    return [{"name": name, "kind": kind, "ms": s["ms"], "gflops": 2e-6 * s["macs"] / s["ms"],
             "flops_per_byte": 2 * s["macs"] / s["bytes"]} for (name, kind), s in joined.items()]


def share_of_peak(run, engine, peak):
    """GFLOP/s of an engine's convolutions in its profile over a measured peak; None: not there."""
    if engine not in run["profiles"] or peak not in run["peaks"]["gflops"]:
        return None
    found = [op for op in operations(run["profiles"][engine]) if op["kind"].startswith("conv")]
    ms = sum(op["ms"] for op in found)
    return sum(op["gflops"] * op["ms"] for op in found) / ms / run["peaks"]["gflops"][peak]
