"""The plot of a run: latency percentiles against the rate, one panel a class of requests. A percentile
is left out where too few requests were answered to tell it."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tools.bench.load.measure import PERCENTILES
from tools.bench.plots import label_column, number_axis

COLOURS = {"p50": "#7fa8d1", "p90": "#3f7cbf", "p99": "#c1272d", "p99_9": "#e98a2b"}
TICKS = [n * 10**k for k in range(-2, 7) for n in (1, 2, 5)]


def panel(ax, rows, title):
    lines = {p: [(r["rate"], r[p]) for r in rows if r[p] is not None] for p in PERCENTILES}
    lines = {p: points for p, points in lines.items() if points}
    for percentile, points in lines.items():
        ax.plot(*zip(*points), "o-", color=COLOURS[percentile], lw=1.6, ms=3.5)
    ax.set_xscale("log")
    ax.set_yscale("log")
    values = [y for points in lines.values() for _, y in points]
    low = max(t for t in TICKS if t <= min(values))
    high = min(t for t in TICKS if t >= max(values))
    ax.set_ylim(low, high)
    number_axis(ax.yaxis, [t for t in TICKS if low <= t <= high])
    number_axis(ax.xaxis, [t for t in TICKS if rows[0]["rate"] * 0.8 <= t <= rows[-1]["rate"] * 1.2])
    ax.grid(True, which="major", color="0.92")
    lost = [r["rate"] for r in rows if r["lost"]]
    if lost:
        ax.axvline(lost[0], color="0.6", lw=0.8, ls=":")
        ax.annotate("not all\nanswered\nin time", (lost[0], high), xytext=(-4, -4), va="top", ha="right",
                    textcoords="offset points", fontsize=8, color="0.45")
    label_column(ax, [(*points[-1], p.replace("_", "."), COLOURS[p]) for p, points in lines.items()])
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
