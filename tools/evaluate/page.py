"""The report: Markdown for a model card, and one HTML page with its pictures inside."""

import base64
import functools
import html
import io

import numpy as np
from PIL import Image

from tools.evaluate.protocol import FIGURES

DIGITS = {"ca": 2, "ca_mlp": 2, "fd_train": 3, "fd_test": 3, "kid": 2, "density": 3, "coverage": 3,
          "memory_pixels": 3, "memory_features": 3, "near": 1}

MEANING = {
    "CA": "share of the images that the evaluator (cnn) reads as the digit asked for; \u00b1, as "
          "in every column: of several seeds the standard deviation over them, of one (CA and KID) "
          "half the 95 % interval. It does not see that images are all alike",
    "CA mlp": "the same by a second evaluator of another architecture, which makes other mistakes",
    "FD": "Fr\u00e9chet distance of the cnn's features, standardised by the training set, to the "
          "60,000 training and to the 10,000 test digits; features that fire on less than 1 % of "
          "the training digits are left out. It grows as the images of a seed become fewer, in the "
          "real row too, whose FD test is that of training digits. It sees no labels, no copies",
    "KID": "unbiased squared maximum mean discrepancy to the training digits, cubic kernel, mean "
           "of 100 subsets of 1,000; the real row says what is no difference",
    "density, coverage": "how many of the balls around real digits (to the 5th neighbour) hold a "
                         "generated one: over 5 on average, and the share that holds one at all; "
                         "as many real digits as the images of a seed, in the real row too",
    "MEM": "median distance to the nearest training image, in pixels and in features, over the "
           "same of the real test digits: well below 1 is a sign of copies (in features also of "
           "copies moved by a pixel), or of digits all alike",
    "near": "share of the images that are nearer to a training image, in pixels, than 99 % of the "
            "real test digits are: what is above 1 % may be copies, too few for MEM to show",
    "CAS": "what a network that learned from generated digits alone reads of the real test digits",
}


def number(value, digits, spread=None):
    text = f"{value:.{digits}f}"
    return text if spread is None else f"{text} \u00b1{spread:.{digits}f}"


def _cells(figures, mean, spread):
    for figure in figures:
        digits = DIGITS[figure]
        scale = 100 if FIGURES[figure].endswith("%") else 1
        s = spread(figure)
        yield number(scale * mean(figure), digits, None if s is None else scale * s)


def _cas(scores):
    if not scores:
        return ""
    spread = 100 * float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return number(100 * float(np.mean(scores)), 2, spread)


def table(results, real):
    """Header, and a list of cells for each result, the real digits last."""
    def of_one(found, figure):
        if figure == "kid":
            return 1.96 * found["kid_standard_error"]
        return found.get("ca_half_width_95") if figure == "ca" else None

    def spread_of(r):
        return r.spread if len(r.each) > 1 else functools.partial(of_one, r.each[0])

    figures = results[0].figures()
    header = ["images by", "evaluations", "images", *(FIGURES[f] for f in figures),
              "FD train, all", "CAS %"]
    rows = [[r.name, str(r.evaluations or ""), f"{len(r.each)} x {r.each[0]['count']}",
             *_cells(figures, r.mean, spread_of(r)),
             number(r.together["fd_train"], 3) if len(r.each) > 1 else "", _cas(r.cas)]
            for r in results]
    rows.append(["real test digits", "", f"1 x {real['count']}",
                 *_cells(figures, real.__getitem__, functools.partial(of_one, real)), "",
             _cas([real["ca"]])])
    used = [i for i in range(len(header)) if i < 3 + len(figures) or any(r[i] for r in rows[:-1])]
    return [header[i] for i in used], [[r[i] for i in used] for r in rows]


def markdown(results, real):
    header, rows = table(results, real)
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|---|" + "--:|" * (len(header) - 1))
    return "\n".join(lines) + "\n"


def _png(image):
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def sheet(rows, scale=2, gap=1):
    """Rows of uint8 images [N,H,W] as a PNG, with grey between them."""
    tall, wide = rows[0].shape[1] + gap, rows[0].shape[2] + gap
    out = np.full((tall * len(rows) + gap, wide * max(map(len, rows)) + gap), 96, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            out[y * tall + gap:(y + 1) * tall, x * wide + gap:(x + 1) * wide] = image
    return _png(Image.fromarray(out.repeat(scale, 0).repeat(scale, 1)))


def _picture(png, about):
    data = base64.b64encode(png).decode()
    return f'<p><img alt="{html.escape(about)}" src="data:image/png;base64,{data}"></p>'


def _rows(header, rows, kind="part"):
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"
    body = line(header, "th") + "".join(line(r, "td") for r in rows)
    return f"<table class={kind}>{body}</table>"


def nearest_sheets(images, labels, training, index, far, each=2, n=20):
    """Two PNGs of generated images above the training images nearest to them: of each class the
    `each` that come nearest to one, and n others evenly through the set."""
    closest = [np.flatnonzero(labels == c)[np.argsort(far[labels == c], kind="stable")[:each]]
               for c in np.unique(labels)]
    spread = np.linspace(0, len(images) - 1, n).astype(int)
    return [sheet([images[i], training[index[i]]]) for i in (np.concatenate(closest), spread)]


def _section(result, images, labels, training, index, far):
    by_label = [(c, np.mean([f["ca_by_label"][c] for f in result.each]))
                for c in result.each[0]["ca_by_label"]]
    grid = sheet([images[labels == c][:20] for c in np.unique(labels)])
    near, others = nearest_sheets(images, labels, training, index, far)
    return "".join([
        f"<h2>{html.escape(result.name)}</h2>",
        _picture(grid, "a row of images for each class"),
        "<p>CA % of each class</p>",
        _rows([c for c, _ in by_label], [[f"{100 * ca:.2f}" for _, ca in by_label]]),
        f"<p>The two of each class that are nearest to a training image (distances "
        f"{far.min():.2f} and up, median of all {np.median(far):.2f}), above that image:</p>",
        _picture(near, "generated images above the training images nearest to them"),
        "<p>Others, evenly through the set:</p>",
        _picture(others, "more generated images above the training images nearest to them")])


STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:right;vertical-align:top}
.all td:first-child,.all th:first-child{text-align:left;min-width:9.5rem}
.all td:nth-child(3){white-space:nowrap}.all tr:last-child td{color:#555}
img{max-width:100%}dt{font-weight:600}dd{margin:0 0 .4rem 1rem;overflow-wrap:anywhere}"""


def page(results, real, sections, facts):
    """The page. sections: (images, labels, training, index, far) of a seed of each result; facts:
    name -> text, of what made the figures."""
    from tools.evaluate import plots  # matplotlib

    curve = plots.evaluations(results, real)
    parts = ["<!doctype html><html lang=en><meta charset=utf-8>"
             '<meta name=viewport content="width=device-width">'
             f"<title>Figures of {len(results)} settings</title><style>{STYLE}</style>"
             f"<h1>Generated digits, measured</h1>",
             _rows(*table(results, real), "all"),
             f"<p>Coverage of as many images of the training digits' own distribution: "
             f"{real['expected_coverage']:.3f}.</p>",
             _picture(curve, "FD and CA against evaluations") if curve else ""]
    parts += [_section(r, *s) for r, s in zip(results, sections)]
    for title, entries in (("What the columns are", MEANING), ("What was measured", facts)):
        parts.append(f"<h2>{title}</h2><dl>" + "".join(
            f"<dt>{html.escape(k)}<dd>{html.escape(v)}" for k, v in entries.items()) + "</dl>")
    return "".join(parts) + "</html>\n"
