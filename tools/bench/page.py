"""A run as text: the tables of the terminal and those of docs/performance.md, which stand between
`<!-- bench: NAME -->` and `<!-- end -->` and are written anew by every run. Those of another kind of
processor stand between `<!-- bench FAMILY: NAME -->` and `<!-- end -->`, so each keeps its own.
"""

import json
import pathlib
import re

from tools.bench import figures
from tools.bench.figures import Figure, Timings

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"
MARKED = re.compile(r"(<!-- bench( \w+)?: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def compact_json(run):
    """JSON with a record a line, so that two runs can be compared by eye."""
    parts = []
    for key, value in run.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n  ".join(json.dumps(rounded(v)) for v in value)
            parts.append(f'"{key}": [\n  {lines}]')
        else:
            parts.append(f'"{key}": {json.dumps(rounded(value))}')
    return "{" + ",\n".join(parts) + "}\n"


def rounded(value):
    """Five digits of every float: what a timing is worth."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def spread(figure, digits=2):
    """1.23 (1.20-1.31)"""
    if figure is None:
        return ""
    return (f"{figure.median:.{digits}f} "
            f"({figure.p10:.{digits}f}-{figure.p90:.{digits}f})")


def table(head, rows):
    """Markdown, first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


# ---- the tables ----------------------------------------------------------------------------------

def milliseconds(run, threads):
    """Milliseconds an image-step, engines by images in flight."""
    t = Timings(run["timings"])
    sizes = sorted({n for _, n, with_threads in t.ms if with_threads == threads})
    rows = []
    for engine in t.engines():
        found = [t.figure(engine, n, threads) for n in sizes]
        if any(found):
            rows.append([run["titles"][engine]] + [f"{f.median:.3f}" if f else "" for f in found])
    return table(["images in flight"] + [str(n) for n in sizes], rows) if rows else ""


def one_thread(run):
    return milliseconds(run, 1)


def two_threads(run):
    return milliseconds(run, 2)


# Who is compared with whom.
PAIRS = (("torch", "fp32"), ("ort", "fp32"), ("ort_avx2", "avx2"), ("torch_bf16", "bf16"),
         ("torch", "bf16"), ("ort", "bf16"), ("ort_int8", "fp32"), ("ort_int8", "bf16"))


def compared(run, peer, ours):
    """Both by name, and their precisions where these are not the same."""
    name = f"{run['titles'][peer]} / {run['titles'][ours]}"
    precisions = figures.PRECISION[peer], figures.PRECISION[ours]
    return name if len(set(precisions)) == 1 else f"{name} (unlike: {' / '.join(precisions)})"


def peers_over_ours(run, threads, sizes):
    """How many times as long the peers take, at equal sizes and at the one that suits them best."""
    t, rows = Timings(run["timings"]), []
    for peer, ours in PAIRS:
        if t.sizes(ours, threads) and t.sizes(peer, threads):
            cells = [t.cell(ours, n, threads) for n in sizes]
            found = [figures.ratio(t.cell(peer, n, threads), c) for n, c in zip(sizes, cells)]
            found += [figures.ratio(t.best(peer, threads), c) for c in cells]
            if any(found):
                rows.append([compared(run, peer, ours)] + [spread(f) for f in found])
    head = [f"{threads} thread{'s' if threads > 1 else ''}"]
    head += [f"{n} image{'s' if n > 1 else ''}" for n in sizes]
    return table(head + [f"its best / our {n}" for n in sizes], rows) if rows else ""


def ratios(run):
    return peers_over_ours(run, 1, (1, 8))


def ratios_two_threads(run):
    return peers_over_ours(run, 2, (2, 16))


def targets(run):
    rows = []
    for t in figures.targets(run):
        sign = ">=" if t.is_at_least else "<="
        rows.append([t.text, f"{sign} {t.bound:g}", spread(t.value), t.verdict()])
    return table(["target", "x", "reached (p10-p90 of the rounds)", ""], rows)


def convolutions(run):
    """oneDNN's convolutions alone against a whole evaluation of ours."""
    rows, t = [], Timings(run["timings"])
    for precision, engine in (("f32", "fp32"), ("bf16", "bf16")):
        for batch in sorted({c["batch"] for c in run["convolutions"]}):
            alone = figures.convolutions(run, precision, batch)
            if not alone:
                continue
            whole = t.figure(engine, batch)
            rows.append([f"{engine}, batch {batch}",
                         f"{Figure.of(list(alone.values())).median:.3f}",
                         f"{whole.median:.3f}" if whole else "",
                         spread(figures.ratio(t.cell(engine, batch), alone))])
    head = ["one thread, ms an image", "oneDNN, convolutions", "denoised, all", "ratio"]
    return table(head, rows) if rows else ""


PEAK_NAMES = {"avx2": "AVX2 fused multiply-add, fp32",
              "avx512": "AVX-512 fused multiply-add, fp32",
              "avx512_bf16": "AVX-512 dot product, bf16", "amx_bf16": "AMX tile product, bf16"}
# What bounds the engine on a processor that has it.
PEAK_OF = {"fp32": "avx512", "avx2": "avx2", "openblas": "avx512", "bf16": "amx_bf16"}


def peaks(run):
    if not run["peaks"]:
        return ""
    macs = [p["macs_per_image_step"] for p in run["profiles"].values()]
    rows = [[PEAK_NAMES[k], f"{v:.0f} GFLOP/s", f"{2e-6 * macs[0] / v:.3f} ms" if macs else ""]
            for k, v in run["peaks"]["gflops"].items()]
    rows += [[f"load, {k}", f"{v:.0f} GB/s", ""] for k, v in run["peaks"]["gb_per_s"].items()]
    return table(["one core", "peak", "an evaluation's multiply-adds take"], rows)


def by_kind(run):
    """Milliseconds an image of each kind of operation, and its share, in each profile."""
    profiles = {k: figures.operations(p) for k, p in run["profiles"].items()}
    kinds = list(dict.fromkeys(op["kind"] for ops in profiles.values() for op in ops))
    rows = []
    for kind in kinds:
        row = [kind]
        for ops in profiles.values():
            total = sum(op["ms"] for op in ops)
            ms = sum(op["ms"] for op in ops if op["kind"] == kind)
            row.append(f"{ms:.4f} ({ms / total:.0%})")
        rows.append(row)
    rows.append(["all"] + [f"{sum(op['ms'] for op in ops):.4f}" for ops in profiles.values()])
    row = ["the convolutions, of the peak of"]
    for key in profiles:
        share = figures.share_of_peak(run, key, PEAK_OF.get(key))
        row.append(f"{PEAK_NAMES[PEAK_OF[key]].split(' ')[0]}: {share:.0%}" if share else "")
    rows.append(row)
    head = ["ms an image, batch 8"] + [run["titles"][k] for k in profiles]
    return table(head, rows) if profiles else ""


def checks(run):
    rows = [[name, f"{difference:.1e}"] for name, difference in run["checks"]["peers"].items()]
    for name, found in run["checks"]["ours"].items():
        largest = found["pixel_difference_max"]
        rows.append([f"{name}, images of 20 steps", f"{largest} of 255, {found['psnr_db']:.0f} dB"
                     if largest else "none"])
    return table(["against PyTorch's plain network", "largest difference"], rows)


def conditions(run):
    m = run["machine"]
    n_rounds = len({r["round"] for r in run["timings"]})
    versions = [f"{name} {m[key]}" for key, name in (("torch", "PyTorch"), ("ort", "ONNX Runtime"),
                                                     ("onednn", "oneDNN")) if key in m]
    lines = [f"{m['date']}, {m['processor']}, {m['processors']} processors, Linux {m['kernel']}; "
             f"{', '.join(['denoised ' + m['revision']] + versions)}; {n_rounds} round"
             f"{'s' if n_rounds > 1 else ''}."]
    if m.get("load", 0) > 0.5:
        lines.append(f"The machine was at work already, load average {m['load']:.1f}: the figures say less.")
    if run["missing"]:
        lines.append(f"Left out, as this build or processor cannot: {', '.join(run['missing'])}.")
    return "\n".join(lines) + "\n"


def choices(run):
    """What suited each peer best: variant, and for two threads one process or two."""
    joined = {}
    for c in sorted(run["choices"], key=lambda c: (c["engine"], c["threads"], c["images"])):
        how = c["variant"]
        if c["threads"] > 1:
            how += f", {c['processes']} process{'es' if c['processes'] > 1 else ''}"
        key = run["titles"][c["engine"]], c["threads"], how
        joined.setdefault(key, []).append(str(c["images"]))
    rows = [[title, how, str(threads), ", ".join(images)]
            for (title, threads, how), images in joined.items()]
    return table(["peer", "form", "threads", "images in flight"], rows) if rows else ""


TABLES = {f.__name__: f for f in (conditions, targets, ratios, ratios_two_threads, one_thread,
                                  two_threads, convolutions, peaks, by_kind, choices, checks)}


# ---- where they go -------------------------------------------------------------------------------

def text(run):
    """What a run prints."""
    return "\n".join(f"{name.replace('_', ' ')}\n\n{part}"
                     for name, part in ((n, f(run)) for n, f in TABLES.items()) if part)


def filled(path, run, family=""):
    """A page's text with a run's tables, of that kind of processor. A marker that names no table is an
    error, and so is a page without one."""
    n_filled = 0

    def fill(found):
        nonlocal n_filled
        begin, of, name, end = found.groups()
        if name not in TABLES:
            raise ValueError(f"{path}: <!-- bench: {name} --> names no table")
        if (of or "").strip() != family:
            return found[0]
        n_filled += 1
        return begin + TABLES[name](run) + end

    text = MARKED.sub(fill, path.read_text())
    if n_filled == 0:
        raise ValueError(f"{path}: no <!-- bench{' ' * bool(family)}{family}: NAME --> in it")
    return text


def section(run, family):
    """The part of the page that another family's first run begins: its plot, and every table empty."""
    tables = "\n".join(f"<!-- bench {family}: {name} -->\n<!-- end -->\n" for name in TABLES)
    return (f"## The same on {run['machine']['processor']}\n\n"
            f"![Milliseconds an image-step against images in flight](performance/{family}/batch.png)\n\n{tables}\n")


def update(path, run, family=""):
    """Fill the page's tables of that family; its section is made, before "Served", by its first run."""
    text = path.read_text()
    if family and f"<!-- bench {family}: " not in text:
        before, heading, after = text.partition("## Served\n")
        path.write_text(before + section(run, family) + heading + after)
    path.write_text(filled(path, run, family))
