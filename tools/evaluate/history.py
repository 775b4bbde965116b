"""How good a model became while it was trained: its run folder's snapshots, measured.

    /usr/bin/python3 -m tools.evaluate.history ~/.cache/denoised/runs/mnist
    /usr/bin/python3 -m tools.evaluate.history FOLDER --start models/mnist.safetensors \\
        --settings "steps=10 guidance_scale=1.25,1.5" --plot hours.png --markdown hours.md

The snapshots are what `tools.train --snapshot-every` writes: the averages of the weights, a file
for each decay. Images and figures are kept as those of tools.evaluate are, so that only new
snapshots cost anything.
"""

import argparse
import pathlib
import re
import sys

from tqdm import tqdm

from tools import mnist
from tools.evaluate.__main__ import in_range, settings_list
from tools.evaluate.generate import DEFAULT_BINARY, Program, Settings
from tools.evaluate.page import number
from tools.evaluate.protocol import MOST, Protocol, measure

SNAPSHOT = re.compile(r"epoch-\d+-ema-(.+)\.safetensors")


def parse(argv=None):
    p = argparse.ArgumentParser(prog="tools.evaluate.history", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=pathlib.Path, nargs="?", help="default: %(default)s",
                   default=mnist.cache_dir() / "runs" / "mnist")
    p.add_argument("--start", type=pathlib.Path, action="append", default=[], metavar="FILE",
                   help="a model that all of them went through; may be repeated")
    p.add_argument("--settings", type=settings_list, default=[Settings(steps=10)],
                   help="as of tools.evaluate, without model (default: steps=10)")
    p.add_argument("--count", type=in_range(20, MOST), default=MOST,
                   help="images (default: %(default)s)")
    p.add_argument("--seed", type=in_range(0, 2**53 - 1), default=1)
    p.add_argument("--binary", default=DEFAULT_BINARY, help="default: %(default)s")
    p.add_argument("--threads", type=in_range(1, 256), help="of the sampling")
    p.add_argument("--plot", type=pathlib.Path, metavar="FILE.png",
                   help="draw FD and CA of the first settings against hours")
    p.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the table")
    args = p.parse_args(argv)
    if args.count % 10:
        p.error("--count: a multiple of 10 expected")
    if any(s.model for s in args.settings):
        p.error("--settings: the models are those of the run")
    return args


def models(run, start):
    """[(line, file)] in the order of their making; the line of a start is None."""
    found = [(match[1], path) for path in sorted(run.iterdir())
             if (match := SNAPSHOT.fullmatch(path.name))]
    if not found:
        raise SystemExit(f"{run}: no snapshots: train with --snapshot-every")
    return [(None, path) for path in start] + [(f"EMA {decay}", path) for decay, path in found]


def table(rows, real):
    lines = ["| model | epochs | hours | sampling | CA % | FD train | density | coverage |",
             "|---|--:|--:|---|--:|--:|--:|--:|"]
    for path, training, result in rows:
        ca = number(100 * result.mean("ca"), 2, 100 * result.together["ca_half_width_95"])
        lines.append(f"| {path.stem} | {training['epochs']:g} | {training['hours']:.2f} | "
                     f"{result.name.partition(': ')[2]} | {ca} | {result.mean('fd_train'):.3f} | "
                     f"{result.mean('density'):.3f} | {result.mean('coverage'):.3f} |")
    lines.append(f"| real test digits | | | | {100 * real['ca']:.2f} | {real['fd_train']:.3f} | "
                 f"{real['density']:.3f} | {real['coverage']:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    args = parse()
    protocol = Protocol(quick=True)
    program = Program(args.binary, ["--threads", str(args.threads)] if args.threads else [])
    real = protocol.real(args.count)
    rows, points = [], []
    todo = [(*model, settings) for model in models(args.run, args.start)
            for settings in args.settings]
    for line, path, settings in tqdm(todo, unit="setting"):
        asked = settings.of_model(str(path))
        training = program.describe(asked.model)["config"]["training"]
        result = measure(protocol, [program.draw(asked, args.count, args.seed)], [args.seed],
                         program.resolve(asked))
        rows.append((path, training, result))
        if settings == args.settings[0]:
            points.append((line, training["hours"], result))
        if args.markdown:
            args.markdown.write_text(table(rows, real))
    if args.plot:
        from tools.evaluate import plots  # matplotlib

        args.plot.write_bytes(plots.training(points, real))
    sys.stdout.write(table(rows, real))


if __name__ == "__main__":
    main()
