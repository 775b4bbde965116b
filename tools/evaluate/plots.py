"""Plots of the figures, as PNGs in memory: samplers compared, and a model while it was trained."""

import io

import matplotlib

matplotlib.use("Agg")
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

READABLE = [0.02, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998]
EVALUATIONS = [n * 10**power for power in range(4) for n in (1, 2, 4)]
MARKS = "os^DvP*X<>"


def _png(fig):
    out = io.BytesIO()
    fig.savefig(out, format="png", bbox_inches="tight")
    plt.close(fig)
    return out.getvalue()


def _ticks(axis, values, text="{:g}".format):
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FuncFormatter(lambda v, _: text(v)))
    axis.set_minor_locator(NullLocator())


def _scale_fd(axes, values):
    low, high = 0.93 * min(values), 1.07 * max(values)
    axes.set(yscale="log", ylim=(low, high), ylabel="FD to the training digits")
    shown = [v for power in range(-2, 5) for base in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7)
             if low < (v := base * 10**power) < high]
    _ticks(axes.yaxis, shown[::1 + len(shown) // 16])


def _scale_ca(axes, shares):
    """From 0 to 1 with room where all good models are: near 1."""
    inner = [0.98, 0.998] + [min(max(share, 0.01), 0.9999) for share in shares]
    odds = [share / (1 - share) for share in inner]
    low, high = 0.8 * min(odds), 1.25 * max(odds)
    axes.set_yscale("logit", nonpositive="clip")
    axes.set(ylim=(low / (1 + low), high / (1 + high)), ylabel="CA %")
    _ticks(axes.yaxis, READABLE, lambda v: f"{100 * v:g}")


def _bar(result, figure):
    """Standard deviation over the seeds; of one seed's CA half its 95 % interval."""
    if figure == "ca" and len(result.each) == 1:
        return result.together["ca_half_width_95"]
    return result.spread(figure) or 0


def _axes(width, rows, height):
    fig, axes = plt.subplots(rows, 1, figsize=(width, height * rows), dpi=110, sharex=True)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="0.92", lw=0.6)
    return fig, axes


def evaluations(results, real):
    """FD, and CA below it, against evaluations; a line for each model, sampler, guidance and eta.
    None where there are not two points to compare."""
    lines = {}
    for r in results:
        if r.drawing:
            d = r.drawing
            eta = f", eta {d['eta']:g}" if d["eta"] else ""
            name = f"{d['model']}: {d['sampler']}{eta}, guidance {d['guidance_scale']:g}"
            if d["guidance_interval"]:
                name += " in {:g}..{:g}".format(*d["guidance_interval"])
            lines.setdefault(name, []).append(r)
    if sum(map(len, lines.values())) < 2:
        return None
    fig, axes = _axes(10.5, 2, 3.8)
    for i, (name, line) in enumerate(lines.items()):
        line = sorted(line, key=lambda r: r.evaluations)
        faint = colors.to_rgba(f"C{i % 10}", 0.3)  # bars of many lines lie over each other
        for axis, figure in zip(axes, ("fd_train", "ca")):
            axis.errorbar([r.evaluations for r in line], [r.mean(figure) for r in line],
                          [_bar(r, figure) for r in line], marker=MARKS[i % len(MARKS)],
                          ms=4.5, lw=1.2, ecolor=faint, elinewidth=1.6, label=name,
                          color=f"C{i % 10}")
    for axis, figure, scale in zip(axes, ("fd_train", "ca"), (_scale_fd, _scale_ca)):
        axis.axhline(real[figure], color="0.4", ls="--", lw=0.9, label="real test digits")
        scale(axis, [r.mean(figure) for r in results if r.drawing] + [real[figure]])
    counts = [r.evaluations for line in lines.values() for r in line]
    axes[1].set(xscale="log",
                xlabel="evaluations of the network for an image; a guided step takes two")
    _ticks(axes[1].xaxis, [n for n in EVALUATIONS if min(counts) / 2 < n < 2 * max(counts)])
    axes[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    fig.align_ylabels(axes)
    fig.tight_layout()
    return _png(fig)


def training(points, real):
    """FD, and CA below it, against hours of training. points: (line, hours, Result); a line of
    None belongs to all of them."""
    names = list(dict.fromkeys(line for line, *_ in points if line is not None)) or [None]
    fig, axes = _axes(7, 2, 3)
    for i, name in enumerate(names):
        line = sorted((p for p in points if p[0] in (name, None)), key=lambda p: p[1])
        for axis, figure in zip(axes, ("fd_train", "ca")):
            axis.errorbar([hours for _, hours, _ in line], [r.mean(figure) for *_, r in line],
                          [_bar(r, figure) for *_, r in line], marker=MARKS[i % len(MARKS)],
                          ms=4.5, lw=1.2, capsize=2, label=name)
    axes[0].set_ylabel("FD to the training digits")
    _scale_ca(axes[1], [r.mean("ca") for *_, r in points] + [real["ca"]])
    axes[1].axhline(real["ca"], color="0.4", ls="--", lw=0.9, label="real test digits")
    axes[1].set_xlabel("hours of training")
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].legend(frameon=False, fontsize=8, handles=axes[1].get_lines()[-1:])
    fig.align_ylabels(axes)
    fig.tight_layout()
    return _png(fig)
