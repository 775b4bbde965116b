"""Is what `--isa auto --precision auto` takes the fastest profile of this machine?

    make bench-auto                                 half a minute; nothing else should run meanwhile
    make bench-auto ARGS="--rounds 40 --seconds 1"

Every instruction set in every precision that this processor has is timed in pairs with auto, one
right after the other, who comes first taking turns. A line a profile and batch: how many times as
long it takes as auto, median of the pairs, p10 and p90. Exit status 1 where one is faster.
"""

import argparse
import sys

from tools.bench.engines import ROOT, program
from tools.bench.figures import Figure
from tools.bench.page import spread

BINARY = ROOT / "build" / "denoised"
BATCHES = (1, 8)
# Two runs of one profile differ by as much in the median of 20 pairs.
FASTER_BELOW = 0.98


def ask(isa, precision, batch, seconds):
    """What `denoised bench` says; None where this processor does not have that profile."""
    try:
        return program(BINARY, "bench", "--isa", isa, "--precision", precision, "--batch", batch,
                       "--seconds", seconds, "--json")
    except RuntimeError:
        return None


def profiles(seconds):
    """(what auto takes, {name: (isa, precision)} of the others); plain C is left out: it is known to
    be slow."""
    def name(told):
        return f"{told['precision']} on {told['isa']}"

    auto = name(ask("auto", "auto", 1, seconds))
    others = {}
    for isa in program(BINARY, "info", "--json")["isas"]:
        for precision in ("fp32", "bf16"):
            told = ask(isa, precision, 1, seconds) if isa != "scalar" else None
            if told and name(told) != auto:
                others[name(told)] = isa, precision
    return auto, others


def ratios(profile, batch, rounds, seconds):
    """Its time over auto's, pair by pair."""
    found = []
    for r in range(rounds):
        pair = [("auto", "auto"), profile]
        ms = {p: ask(*p, batch, seconds)["ms_per_image_step"] for p in pair[::-1 if r % 2 else 1]}
        found.append(ms[profile] / ms["auto", "auto"])
    return found


def is_faster(figure):
    return figure.median < FASTER_BELOW


def main(argv=None):
    p = argparse.ArgumentParser(prog="make bench-auto", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=10, help="pairs of each (default: %(default)s)")
    p.add_argument("--seconds", type=float, default=0.2, help="one timing (default: %(default)s)")
    o = p.parse_args(argv)
    if o.rounds < 1 or o.seconds <= 0:
        p.error("--rounds from 1 and --seconds above 0 expected")
    auto, others = profiles(o.seconds)
    faster = []
    print(f"auto is {auto}; the others take, x times as long, over {o.rounds} pairs:")
    for name, profile in others.items():
        for batch in BATCHES:
            figure = Figure.of(ratios(profile, batch, o.rounds, o.seconds))
            print(f"  {name}, batch {batch}: {spread(figure)}", flush=True)
            if is_faster(figure):
                faster.append(f"{name}, batch {batch}")
    if faster:
        sys.exit(f"bench-auto: faster than auto: {'; '.join(faster)}")
    print("auto is the fastest profile of this machine")


if __name__ == "__main__":
    main()
