"""Measure generated digits with the independent evaluators.

    /usr/bin/python3 -m tools.evaluate                                    the model's defaults
    /usr/bin/python3 -m tools.evaluate "sampler=ddim steps=50 guidance_scale=2"
    /usr/bin/python3 -m tools.evaluate "sampler=dpmpp_2m,ddim steps=5,10,20" \\
        "model=models/mnist-fast.safetensors steps=1,2,4" --seeds 3 --page report.html
    /usr/bin/python3 -m tools.evaluate --seeds 5 --cas 3                  a release: 50,000 images
    /usr/bin/python3 -m tools.evaluate --images FILE.npy --labels FILE.npy|LABEL,LABEL,...

Each SETTINGS is words NAME=VALUE,VALUE,... (model, sampler, steps, guidance_scale, eta, and
guidance_interval with values like 0.2:0.8) and stands for every combination of its values; what it
does not name is the model's default. Each seed's --count images are one measurement; several seeds
give a mean and a spread. Images and figures are kept in ~/.cache/denoised/evaluator/pieces, so what
was cut short goes on where it was; the folder may be deleted.
"""

import argparse
import json
import pathlib
import shlex
import sys

import numpy as np
from tqdm import tqdm

from tools.evaluate import cas
from tools.evaluate.generate import DEFAULT_BINARY, Program, Settings, parse_settings
from tools.evaluate.network import SHIPPED
from tools.evaluate.page import markdown, page
from tools.evaluate.protocol import MOST, Protocol, measure


def settings_list(text):
    try:
        return parse_settings(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def in_range(low, high):
    def read(text):
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"from {low} to {high} expected, {text} found")
        return value
    return read


def parse(argv=None):
    p = argparse.ArgumentParser(prog="tools.evaluate", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("settings", nargs="*", type=settings_list, metavar="SETTINGS")
    p.add_argument("--count", type=in_range(20, MOST), default=MOST,
                   help="images of each seed (default: %(default)s)")
    p.add_argument("--seeds", type=in_range(1, 100), default=1, metavar="N",
                   help="how many seeds, from --seed on (default: %(default)s)")
    p.add_argument("--seed", type=in_range(0, 2**53 - 100), default=1)
    p.add_argument("--cas", type=in_range(0, 100), default=0, metavar="N",
                   help=f"train N networks on {cas.COUNT} generated images too, which takes long")
    p.add_argument("--quick", action="store_true",
                   help="CA, FD, density and coverage alone, which are quick")
    p.add_argument("--images", type=pathlib.Path, metavar="FILE.npy",
                   help="uint8 [N,28,28] to measure instead of drawing some")
    p.add_argument("--labels", help="of --images: FILE.npy, or a comma-separated list that is "
                                    "repeated in equal blocks over the images")
    p.add_argument("--binary", default=DEFAULT_BINARY, help="default: %(default)s")
    p.add_argument("--threads", type=in_range(1, 256),
                   help="of the sampling; default: one a processor")
    p.add_argument("--evaluator", type=pathlib.Path, default=SHIPPED,
                   help="weights made by tools.evaluate.train (default: the shipped ones)")
    p.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures as JSON")
    p.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the table")
    p.add_argument("--plot", type=pathlib.Path, metavar="FILE.png",
                   help="draw FD and CA against evaluations of the network")
    p.add_argument("--page", type=pathlib.Path, metavar="FILE.html",
                   help="write a page with the table, a plot, and pictures of each setting")
    args = p.parse_args(argv)
    if (args.images is None) != (args.labels is None):
        p.error("--images and --labels belong together")
    if args.images and (args.settings or args.seeds > 1):
        p.error("--images are measured as they are, without settings and seeds")
    if args.count % 10:
        p.error("--count: a multiple of 10 expected")
    if args.cas and not args.images and cas.COUNT % args.count:
        p.error(f"--cas: {cas.COUNT} images are no whole number of seeds of {args.count}")
    args.settings = [one for several in args.settings for one in several] or [Settings()]
    return args


def read_labels(text, n):
    """A .npy file, or a list: each label for an equal block of the n images."""
    if text.endswith(".npy"):
        labels = np.load(text)
    else:
        try:
            classes = [int(word) for word in text.split(",")]
        except ValueError:
            raise SystemExit(f"--labels: {text}: numbers expected") from None
        if n % len(classes) != 0:
            raise SystemExit(f"--labels: {n} images are not {len(classes)} equal blocks")
        labels = np.repeat(classes, n // len(classes))
    if labels.shape != (n,):
        raise SystemExit(f"--labels: {n} expected, {labels.shape} found")
    return labels


def read_images(args):
    """The files' images and labels in pieces of MOST, shuffled if there are several."""
    images = np.load(args.images)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise SystemExit(f"--images: uint8 [N,28,28] expected, {images.dtype} {images.shape} found")
    labels = read_labels(args.labels, len(images))
    if len(images) <= MOST:
        return [(images, labels)]
    if len(images) % MOST:
        raise SystemExit(f"--images: up to {MOST} or a multiple expected, {len(images)} found")
    order = np.random.default_rng(1).permutation(len(images)).reshape(-1, MOST)
    return [(images[part], labels[part]) for part in order]


def add_cas(result, pieces, trainings):
    images, labels = (np.concatenate(arrays) for arrays in zip(*pieces))
    result.cas, result.cas_count = cas.scores(images, labels, trainings), len(images)


def results(args, protocol, program):
    """Each setting's result, and the first piece of its images, one after the other."""
    if args.images:
        pieces = read_images(args)
        result = measure(protocol, pieces, [], name=args.images.name)
        if args.cas:
            add_cas(result, pieces, args.cas)
        yield result, pieces[0]
        return
    bar = tqdm(args.settings, unit="setting", disable=len(args.settings) == 1)
    for settings in bar:
        drawing = program.resolve(settings)
        bar.set_description(drawing.name())
        seeds = list(range(args.seed, args.seed + args.seeds))
        pieces = [program.draw(settings, args.count, seed) for seed in seeds]
        result = measure(protocol, pieces, seeds, drawing)
        if args.cas:
            n = cas.COUNT // args.count
            add_cas(result, [program.draw(settings, args.count, args.seed + i) for i in range(n)],
                    args.cas)
        yield result, pieces[0]


def facts(protocol, real, found, argv):
    out = {"command": "/usr/bin/python3 -m tools.evaluate " + shlex.join(argv)}
    for name, evaluator, figure in (("cnn", protocol.cnn, "ca"), ("mlp", protocol.mlp, "ca_mlp")):
        if figure in real:
            out[f"evaluator {name}"] = (f"sha256:{evaluator.sha256}, {100 * real[figure]:.2f} % of "
                                        f"the real test digits right")
    for r in found:
        made = f"{r.drawing['digest']}, {r.drawing['kernels']}" if r.drawing else "a file"
        seeds = f", seeds {', '.join(map(str, r.seeds))}" if r.seeds else ""
        learnt = f", CAS from {r.cas_count} images" if r.cas else ""
        out[r.name] = made + seeds + learnt
    return out


def write_plot(path, found, real):
    from tools.evaluate import plots  # matplotlib

    if curve := plots.evaluations(found, real):
        path.write_bytes(curve)


def main():
    args = parse()
    protocol = Protocol(args.evaluator, quick=args.quick)
    found, sections = [], []
    program = Program(args.binary, ["--threads", str(args.threads)] if args.threads else [])
    for result, piece in results(args, protocol, program):
        found.append(result)
        if args.page:
            sections.append((*piece, protocol.train_images, *protocol.nearest_training(piece[0])))
        real = protocol.real(min(len(piece[0]), MOST))
        described = facts(protocol, real, found, sys.argv[1:])
        # After each one, so that a run that is cut short has something to show.
        if args.json:
            args.json.write_text(json.dumps({"facts": described, "real": real, "results": [
                r.as_json() for r in found]}, indent=1) + "\n")
        if args.markdown:
            args.markdown.write_text(markdown(found, real))
        if args.plot:
            write_plot(args.plot, found, real)
        if args.page:
            args.page.write_text(page(found, real, sections, described))
    sys.stdout.write(markdown(found, real))


if __name__ == "__main__":
    main()
