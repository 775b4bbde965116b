"""The plot of a run: latency percentiles against the rate, one panel a class of requests."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tools.bench.load.measure import PERCENTILES
from tools.bench.plots import number_axis

COLOURS = {"p50": "#7fa8d1", "p90": "#3f7cbf", "p99": "#c1272d", "p99_9": "#e98a2b"}
TICKS = [n * 10**k for k in range(-2, 7) for n in (1, 2, 5)]


def panel(ax, rows, title):
    for percentile in PERCENTILES:
        points = [(r["rate"], r[percentile]) for r in rows]
        ax.plot(*zip(*points), "o-", color=COLOURS[percentile], lw=1.6, ms=3.5)
    last = rows[-1]
    labels = sorted(PERCENTILES, key=lambda p: last[p])
    previous = 0.0
    for percentile in labels:
        height = max(last[percentile], previous * 1.28)  # apart on a log axis
        previous = height
        ax.annotate(percentile.replace("_", "."), (last["rate"] * 1.06, height), va="center",
                    color=COLOURS[percentile], annotation_clip=False)
    full = [r for r in rows if r["lost"] == 0]
    if len(full) < len(rows):
        first = next(r for r in rows if r["lost"])
        ax.axvline(first["rate"], color="0.6", lw=0.8, ls=":")
        ax.annotate("not all\nanswered in time", (first["rate"], ax.get_ylim()[0]), xytext=(-4, 6),
                    textcoords="offset points", ha="right", fontsize=8, color="0.45")
    ax.set_xscale("log")
    ax.set_yscale("log")
    number_axis(ax.xaxis, [t for t in TICKS if rows[0]["rate"] * 0.8 <= t <= last["rate"] * 1.2])
    low, high = ax.get_ylim()
    number_axis(ax.yaxis, [t for t in TICKS if low <= t <= high])
    ax.grid(True, which="major", color="0.92")
    ax.set_title(title)
    ax.set_xlabel("requests a second, of all kinds")


def draw(sweeps, path):
    """sweeps: [(title, rows)]"""
    figure, axes = plt.subplots(1, len(sweeps), figsize=(4.0 * len(sweeps), 3.7), dpi=100)
    for ax, (title, rows) in zip(axes, sweeps):
        panel(ax, rows, title)
    axes[0].set_ylabel("latency from when it was due, ms")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
