"""Requests of one evaluation, where the server itself is what costs: images a second, against the
base model's."""

import statistics

from tools.bench.engines import ROOT, program
from tools.bench.load.daemon import BINARY, Daemon
from tools.bench.page import table

BASE_MODEL = ROOT / "models" / "mnist.safetensors"
FAST_MODEL = ROOT / "models" / "mnist-fast.safetensors"
CONNECTIONS = 64
STEPS = 20  # of the base model
TARGET = 10  # times its images a second then


def daemon(fast):
    if not fast.exists():
        raise SystemExit(f"{fast} is not there: make train-fast, or --fast-model FILE")
    return Daemon("--model", str(BASE_MODEL), "--model", str(fast))


def ask(d, model, steps, seconds, **options):
    """The same request again and again, for one PNG; what wrk says."""
    return d.wrk({"label": 7, "model": model.stem, "steps": steps}, seconds, CONNECTIONS,
                 "image/png", **options)


def measure(fast, seconds, rounds, done):
    """Rounds of: the fast network alone, served at one step; the base model served at 20 steps and at
    its own."""
    found = []
    with daemon(fast) as d:
        capabilities = d.capabilities()
        batching, defaults = capabilities["batching"], capabilities["defaults"]
        for _ in range(rounds):
            alone = program(BINARY, "bench", "--json", "--model", fast, "--batch",
                            batching["max_batch"], "--threads", batching["workers"], "--seconds",
                            seconds)
            found.append({"network_per_s": alone["image_steps_per_s"],
                          "fast": ask(d, fast, 1, seconds),
                          "base": ask(d, BASE_MODEL, STEPS, seconds),
                          "default": ask(d, BASE_MODEL, defaults["steps"], seconds)})
            done()
    return {"batch": batching["max_batch"], "workers": batching["workers"],
            "default_steps": defaults["steps"], "rounds": found}


def spread(values, digits):
    """The median, and from the least to the most."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}-{max(values):.{digits}f})")


def render(part):
    rounds = part["rounds"]
    fast, base, default = ([r[name] for r in rounds] for name in ("fast", "base", "default"))

    def row(name, found):
        return [name] + [spread([r[key] for r in found], digits)
                         for key, digits in (("per_s", 0), ("p50_ms", 1), ("p99_ms", 1))]

    def times(found):
        return spread([f["per_s"] / b["per_s"] for f, b in zip(fast, found)], 1)

    share = [r["fast"]["per_s"] / r["network_per_s"] for r in rounds]
    return table(["", "images a second", "p50 ms", "p99 ms"], [
        row("the fast model, one step", fast),
        row(f"the base model, {STEPS} steps, guided", base),
        [f"ratio (target >= {TARGET})", times(base), "", ""],
        row(f"the base model by default, {part['default_steps']} steps, guided", default),
        ["ratio", times(default), "", ""],
        [f"the fast network alone: `denoised bench --batch {part['batch']} --threads "
         f"{part['workers']}`", spread([r["network_per_s"] for r in rounds], 0), "", ""],
        ["served / alone", spread(share, 2), "", ""]])
