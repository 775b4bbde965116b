"""Measure generated digits with the independent evaluator.

    /usr/bin/python3 -m tools.evaluate                                    the model's defaults
    /usr/bin/python3 -m tools.evaluate --sampler ddim --steps 50 --guidance-scale 2
    /usr/bin/python3 -m tools.evaluate --sweep --count 2000               samplers x steps x guidance
    /usr/bin/python3 -m tools.evaluate --images FILE.npy --labels FILE.npy|LABEL,LABEL,...

CA is the share of images that the evaluator reads as the digit asked for; FD the Frechet distance of
its features; rFD the FD to the 60,000 training digits over that of the real 10,000 test digits, so
1.0 is as close as real digits are. FD grows as the count falls: compare equal counts only.
"""

import argparse
import itertools
import json
import pathlib
import sys

import numpy as np
from tqdm import tqdm

from tools.evaluate import reference as real
from tools.evaluate.generate import DEFAULT_BINARY, Settings, generate
from tools.evaluate.network import SHIPPED, Evaluator

SWEEP_SAMPLERS = "dpmpp_2m,ddim,ddpm"
SWEEP_STEPS = "5,10,20,50"
SWEEP_GUIDANCE = "1,1.25,1.5,2"


def words(text):
    return text.split(",")


def whole_numbers(text):
    return [int(w) for w in text.split(",")]


def numbers(text):
    return [float(w) for w in text.split(",")]


def parse(argv=None):
    p = argparse.ArgumentParser(prog="tools.evaluate", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=pathlib.Path, metavar="FILE.npy",
                   help="uint8 [N,28,28] to measure instead of drawing some")
    p.add_argument("--labels", help="of --images: FILE.npy, or a comma-separated list that is "
                                    "repeated in equal blocks over the images")
    p.add_argument("--sampler", help="default: the model's")
    p.add_argument("--steps", type=int, help="default: the model's")
    p.add_argument("--guidance-scale", type=float, help="default: the model's")
    p.add_argument("--eta", type=float)
    p.add_argument("--count", type=int, default=10000, help="images (default: %(default)s)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--model", type=pathlib.Path, help="default: the shipped one")
    p.add_argument("--binary", default=DEFAULT_BINARY, help="default: %(default)s")
    p.add_argument("--threads", type=int, help="of the sampling; default: one a processor")
    p.add_argument("--sweep", action="store_true", help="measure every combination of the lists below")
    p.add_argument("--sweep-samplers", type=words, default=SWEEP_SAMPLERS, help="default: %(default)s")
    p.add_argument("--sweep-steps", type=whole_numbers, default=SWEEP_STEPS,
                   help="default: %(default)s")
    p.add_argument("--sweep-guidance", type=numbers, default=SWEEP_GUIDANCE,
                   help="default: %(default)s")
    p.add_argument("--evaluator", type=pathlib.Path, default=SHIPPED,
                   help="weights made by tools.evaluate.train (default: the shipped ones)")
    p.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures as JSON")
    p.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the table")
    args = p.parse_args(argv)
    if (args.images is None) != (args.labels is None):
        p.error("--images and --labels belong together")
    if args.sweep and (args.images or args.sampler or args.steps or args.guidance_scale is not None):
        p.error("--sweep takes its settings from the --sweep-... lists")
    return args


def read_labels(text, n):
    """A .npy file, or a list: each label for an equal block of the n images."""
    if text.endswith(".npy"):
        labels = np.load(text)
    else:
        classes = whole_numbers(text)
        if n % len(classes) != 0:
            raise SystemExit(f"--labels: {n} images are not {len(classes)} equal blocks")
        labels = np.repeat(classes, n // len(classes))
    if labels.shape != (n,):
        raise SystemExit(f"--labels: {n} expected, {labels.shape} found")
    return labels


def sweep_settings(args):
    combinations = itertools.product(args.sweep_samplers, args.sweep_steps, args.sweep_guidance)
    return [Settings(sampler, steps, scale) for sampler, steps, scale in combinations]


def table(report):
    """The report as Markdown: a row a setting, the real digits' own figures below."""
    lines = ["| sampler | steps | guidance | evaluations | images | CA % | +- | FD train | FD test | rFD |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for r in report["results"]:
        eta = f" eta {r['eta']:g}" if r.get("eta") else ""
        lines.append(
            f"| {r['sampler']}{eta} | {r['steps'] or ''} | "
            f"{'' if r['guidance_scale'] is None else format(r['guidance_scale'], 'g')} | "
            f"{r['evaluations'] or ''} | {r['count']} | {100 * r['ca']:.2f} | "
            f"{100 * r['ca_half_width_95']:.2f} | {r['fd_train']:.3f} | {r['fd_test']:.3f} | "
            f"{r['rfd']:.2f} |")
    real_ = report["real"]
    lines.append(f"| real test digits | | | | {real_['test_count']} | "
                 f"{100 * real_['test_accuracy']:.2f} | | {real_['floor']:.3f} | | 1.00 |")
    return "\n".join(lines) + "\n"


def measure(args, evaluator, reference):
    """The figures of every setting asked for, one after the other."""
    if args.images:
        images = np.load(args.images)
        labels = read_labels(args.labels, len(images))
        yield {"sampler": args.images.name, "steps": None, "guidance_scale": None,
               "evaluations": None, **real.judge(evaluator, reference, images, labels)}
        return
    settings = sweep_settings(args) if args.sweep else [
        Settings(args.sampler, args.steps, args.guidance_scale, args.eta)]
    extra = ["--threads", str(args.threads)] if args.threads else []
    bar = tqdm(settings, unit="setting", disable=not args.sweep)
    for one in bar:
        bar.set_description(" ".join(one.flags()))
        images, labels, seconds, resolved = generate(one, args.count, args.seed, args.binary,
                                                     args.model, extra)
        per_step = 1 if resolved["guidance_scale"] == 1 else 2
        yield {**resolved, "evaluations": per_step * resolved["steps"], "seed": args.seed,
               "seconds": round(seconds, 2), **real.judge(evaluator, reference, images, labels)}


def main():
    args = parse()
    evaluator = Evaluator(args.evaluator)
    reference = real.load(evaluator)
    report = {"evaluator": {"sha256": evaluator.sha256},
              "real": {"test_count": reference.test.n, "train_count": reference.train.n,
                       "test_accuracy": reference.test_accuracy, "floor": reference.floor},
              "results": []}
    for result in measure(args, evaluator, reference):
        report["results"].append(result)
        # After each one, so that a sweep that is cut short has something to show.
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")
        if args.markdown:
            args.markdown.write_text(table(report))
    sys.stdout.write(table(report))


if __name__ == "__main__":
    main()
