"""The plots of a run: time against images in flight, the roofline, where the time goes."""

import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tools.bench import figures
from tools.bench.figures import Timings

OURS, OURS_2, PEER, PEER_2, GREY = "#c1272d", "#e98a2b", "#1f5fa8", "#6fa8dc", "0.55"
STYLE = {"bf16": (OURS, "-", 2.2), "fp32": (OURS, "-", 1.6), "avx2": (OURS_2, "-", 1.2),
         "openblas": (OURS_2, "--", 1.2), "torch": (GREY, "-", 1.4),
         "torch_bf16": (GREY, "--", 1.4), "ort": (PEER, "-", 1.6),
         "ort_int8": (PEER, "--", 1.4), "ort_avx2": (PEER_2, "-", 1.2)}
LABELS = {"bf16": "denoised bf16", "fp32": "denoised fp32", "avx2": "denoised, AVX2",
          "openblas": "denoised, OpenBLAS", "torch": "PyTorch fp32", "torch_bf16": "PyTorch bf16",
          "ort": "ONNX Runtime fp32", "ort_int8": "ONNX Runtime int8", "ort_avx2": "ONNX Runtime fp32, AVX2"}

plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
                     "axes.titlesize": 11, "axes.titleweight": "bold",
                     "axes.titlelocation": "left"})


def number_axis(axis, ticks):
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def spread_labels(wanted, gap):
    """Heights for labels (in decades) that keep `gap` between them, as near as can be to those
    wanted: neighbours that are too near are joined to a stack around their mean."""
    stacks = [[[y], y] for y in sorted(wanted)]  # members, centre
    merged = True
    while merged:
        merged = False
        for lower, upper in zip(stacks, stacks[1:]):
            room = gap * (len(lower[0]) + len(upper[0])) / 2
            if upper[1] - lower[1] < room - 1e-9:
                lower[0] += upper[0]
                lower[1] = sum(lower[0]) / len(lower[0])
                stacks.remove(upper)
                merged = True
                break
    return [centre + gap * (i - (len(members) - 1) / 2)
            for members, centre in stacks for i in range(len(members))]


def label_column(ax, ends, x=None):
    """Name points (x, y, text, colour) beside themselves, or all in a column at x with lines to
    them, so that no two names overlap. To be called when the axes have their limits."""
    low, high = (math.log10(v) for v in ax.get_ylim())
    pixels = ax.get_window_extent().height
    ends = sorted(ends, key=lambda e: e[1])
    heights = spread_labels([math.log10(e[1]) for e in ends], 14 * (high - low) / pixels)
    for (at, y, text, colour), height in zip(ends, heights):
        line = {"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.7} if x else None
        ax.annotate(text, (at, y), (x or at * 1.12, 10**height), textcoords="data", va="center",
                    color=colour, fontsize=9 if x is None else 8, annotation_clip=False,
                    arrowprops=line)


def time_against_images(run, path):
    t = Timings(run["timings"])
    threads = sorted({with_threads for _, _, with_threads in t.ms})
    fig, axes = plt.subplots(1, len(threads), figsize=(4.9 * len(threads), 4.6), dpi=100,
                             sharey=True, squeeze=False)
    labels = []
    for ax, n_threads in zip(axes[0], threads):
        ends = []
        for engine in t.engines():
            sizes = t.sizes(engine, n_threads)
            found = [t.figure(engine, n, n_threads) for n in sizes]
            if len(found) < 2:
                continue
            colour, line, width = STYLE[engine]
            ax.plot(sizes, [f.median for f in found], line, color=colour, lw=width, marker="o",
                    ms=3.5)
            ax.fill_between(sizes, [f.p10 for f in found], [f.p90 for f in found], color=colour,
                            alpha=0.15, lw=0)
            ends.append((sizes[-1], found[-1].median, LABELS[engine], colour))
        ax.set(xscale="log", yscale="log", xlabel="images in flight",
               title=f"{n_threads} thread{'s' if n_threads > 1 else ''}")
        number_axis(ax.xaxis, sorted({n for _, n, w in t.ms if w == n_threads}))
        low, high = ax.get_ylim()
        digits = (1, 2, 5) if high / low > 8 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
        number_axis(ax.yaxis, [digit * 10**e for e in range(-2, 3) for digit in digits])
        ax.grid(axis="y", color="0.92")
        labels.append((ax, ends))
    axes[0][0].set_ylabel("ms an image-step")
    fig.tight_layout()
    fig.subplots_adjust(wspace=0.55, right=1 - 1.4 / fig.get_figwidth())
    for ax, ends in labels:
        label_column(ax, ends)
    fig.savefig(path)
    plt.close(fig)


PRODUCTS = ("conv", "linear", "attention")  # the kinds in which multiply-adds are the work


def short(name):
    for long, replacement in ((".res_blocks.", "."), ("encoder", "enc"), ("decoder", "dec"),
                              ("mid_block.st.blocks.0.", "mid."), ("mid_block.", "mid."),
                              ("self_attn.", ""), (".conv", ""), ("sampling", "")):
        name = name.replace(long, replacement)
    return name


ROOFS = {"avx2": "AVX2", "avx512": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}


def roofline(run, path):
    """GFLOP/s against FLOP a byte of each product of an evaluation, under the measured roofs."""
    gflops, bandwidth = run["peaks"]["gflops"], run["peaks"]["gb_per_s"]
    fig, ax = plt.subplots(figsize=(8, 5.2), dpi=100)
    x = [0.5, 1000]
    top = max(gflops.values())
    for name, gb in bandwidth.items():
        ends = [min(gb * v, top) for v in (x[0], top / gb)]
        ax.plot([x[0], top / gb], ends, color="0.75", lw=1)
        ax.annotate(f"{name} {gb:.0f} GB/s", (x[0] * 1.15, x[0] * 1.15 * gb), color="0.45",
                    fontsize=8.5, rotation=38, rotation_mode="anchor", xytext=(0, 4),
                    textcoords="offset points")
    roofs = []
    for name, peak in gflops.items():
        ax.plot([peak / max(bandwidth.values()), x[1]], [peak, peak], color="0.45", lw=1)
        roofs.append((x[1], peak, f"{ROOFS[name]} {peak:.0f}", "0.3"))
    shown = [(k, c) for k, c in (("fp32", PEER), ("bf16", OURS)) if k in run["profiles"]]
    ends = []
    for (key, colour), offset in zip(shown, (0, 1)):
        every = figures.operations(run["profiles"][key])
        ops = [op for op in every if op["kind"].startswith(PRODUCTS)]
        total = sum(op["ms"] for op in every)
        ax.scatter([op["flops_per_byte"] for op in ops], [op["gflops"] for op in ops],
                   s=[1500 * op["ms"] / total + 8 for op in ops], color=colour, alpha=0.5, lw=0)
        ax.annotate(LABELS[key], (0.02, 0.95 - 0.06 * offset), xycoords="axes fraction",
                    color=colour, fontweight="bold")
        # Those that lose most time to their roof, by name: what could still be won is there.
        peak = gflops.get({"fp32": "avx512", "bf16": "amx_bf16"}[key], top)
        for op in sorted(ops, key=lambda op: op["ms"] * (1 - op["gflops"] / peak))[-4:]:
            ends.append((op["flops_per_byte"], op["gflops"],
                         f"{short(op['name'])}, {op['ms'] / total:.0%}", colour))
    ax.set(xscale="log", yscale="log", xlim=x, ylim=(2, top * 1.6), ylabel="GFLOP/s, one core",
           xlabel="FLOP a byte of maps and weights, batch 8",
           title="The products of an evaluation under the measured roofs (area: time)")
    number_axis(ax.xaxis, [1, 10, 100, 1000])
    number_axis(ax.yaxis, [1, 10, 100, 1000])
    fig.tight_layout()
    fig.subplots_adjust(right=0.82)
    label_column(ax, ends, x=280)
    label_column(ax, roofs)
    fig.savefig(path)
    plt.close(fig)


def time_by_operation(run, path):
    """A bar an operation, in the order in which they run; fp32 and bf16 side by side."""
    shown = [k for k in ("fp32", "bf16") if k in run["profiles"]]
    fig, axes = plt.subplots(1, len(shown), figsize=(1.6 + 3.4 * len(shown), 7.4), dpi=100,
                             sharey=True, squeeze=False)
    names = list(dict.fromkeys((op["name"], op["kind"]) for k in shown
                               for op in figures.operations(run["profiles"][k])))
    for ax, key in zip(axes[0], shown):
        ops = {(op["name"], op["kind"]): op for op in figures.operations(run["profiles"][key])}
        us = [ops[n]["ms"] * 1e3 if n in ops else 0 for n in names]
        colours = [PEER if kind.startswith(PRODUCTS) else OURS_2 for _, kind in names]
        ax.barh(range(len(names)), us, color=colours, height=0.72)
        for y, (name, value) in enumerate(zip(names, us)):
            if value:
                rate = ops[name]["gflops"]
                text = f"{value:.0f}" + (f"  {rate:.0f} GF/s" if rate >= 1 else "")
                ax.annotate(text, (value, y), va="center", fontsize=7.5, color="0.35",
                            xytext=(3, 0), textcoords="offset points")
        ax.set(title=f"{LABELS[key]}, {sum(us) / 1e3:.3f} ms", xlabel="us an image, batch 8",
               xlim=(0, max(us) * 1.35))
        ax.set_yticks(range(len(names)), [f"{short(n)}  {kind}" if short(n) != kind else kind
                                          for n, kind in names], fontsize=7.5)
        ax.tick_params(axis="y", length=0)
    axes[0][0].margins(y=0.01)
    axes[0][0].invert_yaxis()
    for text, y, colour in (("products", 0.04, PEER), ("the rest", 0.01, OURS_2)):
        axes[0][-1].annotate(text, (0.98, y), xycoords="axes fraction", ha="right", color=colour)
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)


def draw_all(run, folder):
    folder.mkdir(parents=True, exist_ok=True)
    if run["timings"]:
        time_against_images(run, folder / "batch.png")
    if run["peaks"] and run["profiles"].keys() & {"fp32", "bf16"}:
        roofline(run, folder / "roofline.png")
    if run["profiles"].keys() & {"fp32", "bf16"}:
        time_by_operation(run, folder / "operations.png")
