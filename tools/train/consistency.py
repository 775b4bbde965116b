"""Distil the base model into a consistency model that draws a digit in 1, 2 or 4 evaluations.

    /usr/bin/python3 -m tools.train.consistency               train, beginning at the base's weights
    /usr/bin/python3 -m tools.train.consistency --resume      go on from the last checkpoint
    /usr/bin/python3 -m tools.train.consistency --generate    only make trajectories
    /usr/bin/python3 -m tools.train.consistency --export FILE write the EMA weights as a model file

The student has the base's architecture. It learns to map every state of a guided trajectory of the
base (trajectories.py) to the image where that trajectory ends, so that guidance is folded in and an
evaluation costs one: a consistency function of the base's ODE (Song et al. 2023). Its target is the
end itself, computed beforehand (from noise alone that is Luhman & Luhman 2021).

One run folder holds checkpoint.pt (model, EMA, optimizer, position), loss.csv, quality.csv (CA and
FD by tools.evaluate), their plots, grids, and the trajectories. Every batch is a function of (seed,
step), so a run that was killed and resumed sees the batches of one that was not. Options may change
at a --resume; the checkpoint lists the step and the recipe of each change.
"""

import argparse
import csv
import os
import pathlib
import time

import torch
from tqdm import tqdm

from tools import mnist
from tools.train import diffusion, plots, precision, quality, trajectories
from tools.train.export import consistency_config, export
from tools.train.recipes import Digits
from tools.train.run import commit_id, open_log, save, update_average
from tools.train.trajectories import LEVELS
from tools.train.unet import UNet

WEIGHTS = [6] + [1] * (len(LEVELS) - 1)  # how often each level is drawn: one step needs the first most
# The timesteps of a sample in 1, 2 and 4 evaluations; all of them are LEVELS.
SCHEDULES = {1: [999], 2: [999, 499], 4: [999, 799, 699, 499]}
NOT_RECIPE = ("run", "base", "trajectories", "resume", "generate", "export",
              "threads", "max_steps")


def parse(argv=None):
    runs = mnist.cache_dir() / "runs"
    p = argparse.ArgumentParser(prog="tools.train.consistency", description=__doc__.split("\n")[0])
    p.add_argument("--run", type=pathlib.Path, default=runs / "mnist-fast",
                   help="run folder (default: %(default)s)")
    p.add_argument("--base", type=pathlib.Path, default=runs / "mnist" / "checkpoint.pt",
                   help="checkpoint of tools.train (default: %(default)s)")
    p.add_argument("--trajectories", type=pathlib.Path, help="folder; default: in the run folder")
    p.add_argument("--resume", action="store_true",
                   help="go on from the run folder's checkpoint; without it the folder must be new")
    p.add_argument("--steps", type=int, default=40000)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=1e-3, help="learning rate of the plateau")
    p.add_argument("--warmup", type=int, default=200, help="steps of linear warm-up")
    p.add_argument("--decay", type=float, default=0.3,
                   help="share of the steps, at the end, over which the rate falls to 0")
    p.add_argument("--clip", type=float, default=1.0, help="gradient norm limit")
    p.add_argument("--ema", type=float, default=0.9995)
    p.add_argument("--guidance", type=float, default=1.5, help="scale of the teacher")
    p.add_argument("--shards", type=int, default=8, help="trajectory shards to begin with")
    p.add_argument("--shard-every", type=int, default=60, help="steps until one more shard")
    p.add_argument("--most-shards", type=int, default=400)
    p.add_argument("--generate", action="store_true",
                   help="make all the shards and leave: run it beside the training, which then "
                        "finds them there instead of making them itself")
    p.add_argument("--quality-every", type=int, default=2000, help="steps")
    p.add_argument("--quality-count", type=int, default=2000, help="images a setting")
    p.add_argument("--seed", type=int, default=1)
    precision.add_option(p)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--max-steps", type=int, default=None, help="stop early after this many steps")
    p.add_argument("--export", type=pathlib.Path, metavar="FILE",
                   help="write the checkpoint's EMA weights as a model file and leave")
    return p.parse_args(argv)


def huber(d):
    """Pseudo-Huber on pixels: nearly the absolute error, whose optimum is a crisp median."""
    return ((d.square() + 0.1**2).sqrt() - 0.1).mean()


def learning_rate(step, args):
    """Linear warm-up, a plateau, a linear fall: a longer run is the same until the fall begins."""
    left = (args.steps - step) / max(1, args.decay * args.steps)
    return args.lr * min(1, (step + 1) / args.warmup, max(left, 1e-3))


def level_indices(n, weights, generator):
    """n indices into LEVELS, stratified over the weights."""
    u = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    edges = torch.tensor(weights).cumsum(0)
    return torch.searchsorted(edges / edges[-1], u, right=True).clamp(max=len(weights) - 1)


def make_teacher(state, device, autocast):
    """The base's averaged weights as a function (x, t, label) -> v."""
    net = UNet().to(device).eval()
    net.load_state_dict(state["ema"])

    def teacher(x, t, label):
        with autocast:
            return net(x, t, label)
    return teacher


def train(args, device):
    digits = Digits(device)
    base = torch.load(args.base, map_location=device)
    state = torch.load(args.run / "checkpoint.pt", map_location=device) if args.resume else {"recipes": []}

    def trial(autocast):
        """A step on a copy of the base, without the optimizer's part."""
        label = torch.arange(args.batch, device=device) % 10
        with autocast:
            estimate = diffusion.MNIST.denoised(trained, digits.images[:1].expand(args.batch, -1, -1, -1),
                                                torch.full((args.batch,), LEVELS[0]), label)
        huber(estimate.float()).backward()

    trained = UNet().to(device).train()
    trained.load_state_dict(base["ema"])
    args.precision = precision.choose(args.precision, state["recipes"], device, trial)
    del trained
    autocast = precision.autocast(device, args.precision)
    teacher = make_teacher(base, device, autocast)

    def make(number):
        return trajectories.make_shard(teacher, digits.images, digits.labels, args.guidance, args.seed, number)

    pool = trajectories.Pool(args.trajectories or args.run / "trajectories", make)
    if args.generate:
        return pool.fill(args.most_shards, tqdm)

    net, ema = UNet().to(device), UNet().to(device).eval()
    net.load_state_dict(base["ema"])
    ema.load_state_dict(base["ema"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=0)
    checkpoint = args.run / "checkpoint.pt"
    step, seconds, recipes = 0, 0.0, []
    if args.resume:
        net.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, recipes = state["step"], state["seconds"], state["recipes"]
        if state["base"] != base["step"]:
            raise SystemExit(f"{args.base} is at step {base['step']}; the student's trajectories "
                             f"are of step {state['base']}: give that one as --base")
    recipe = {k: v for k, v in vars(args).items() if k not in NOT_RECIPE}
    if not recipes or recipes[-1]["recipe"] != recipe:
        recipes.append({"from_step": step, "recipe": recipe})
    commit = commit_id()  # of the code that runs, whatever is committed meanwhile

    log = csv.writer(open_log(args.run / "loss.csv", "step,loss,lr,shards,seconds", step))
    figures = csv.writer(open_log(args.run / "quality.csv", quality.HEADER, step))
    judge = quality.Judge(args.quality_count, device)

    def keep():
        save(checkpoint, {"model": net.state_dict(), "ema": ema.state_dict(),
                          "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds,
                          "recipes": recipes, "commit": commit, "base": base["step"]})

    def measure():
        for ks in SCHEDULES.values():
            row, drawn = judge.student(ema, ks)
            figures.writerow([step, f"{seconds:.0f}"] + row)
            shown = drawn.reshape(10, -1, 28, 28)[:, :10].reshape(-1, 28, 28)
            plots.grid(shown, 10, args.run / f"grid-{len(ks)}-{step:06d}.png")
        plots.quality_curve(args.run / "quality.csv", args.run / "quality.png")

    if step == 0:
        figures.writerow([0, 0] + judge.teacher(teacher, 10, args.guidance)[0])
    last = min(args.steps, args.max_steps or args.steps)
    bar = tqdm(total=last, initial=step, unit="step", smoothing=0.02, mininterval=1)
    window, saved_at = [], time.monotonic()
    while step < last:
        began = time.monotonic()
        pool.grow(min(args.shards + step // args.shard_every, args.most_shards))
        g = torch.Generator().manual_seed(args.seed * 1_000_000_007 + step)
        j = level_indices(args.batch, WEIGHTS, g)
        here, image, label = (part.to(device) for part in pool.batch(j, g))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        net.train()
        with autocast:
            estimate = diffusion.MNIST.denoised(net, here, torch.tensor(LEVELS)[j], label)
        loss = huber(estimate.float() - image)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        optimizer.step()
        step += 1
        update_average(ema, net, args.ema, step)
        seconds += time.monotonic() - began

        window.append(loss.item())
        bar.update()
        if step % 50 == 0:
            mean = sum(window) / len(window)
            window = []
            log.writerow([step, f"{mean:.5f}", f"{optimizer.param_groups[0]['lr']:.3g}",
                          len(pool.shards), f"{seconds:.0f}"])
            bar.set_postfix(loss=f"{mean:.4f}", shards=len(pool.shards))
        if step % args.quality_every == 0 or step == last:
            keep()
            measure()
            saved_at = time.monotonic()
        elif time.monotonic() - saved_at > 120:
            keep()
            saved_at = time.monotonic()
    bar.close()


def run(args):
    if args.export:
        state = torch.load(args.run / "checkpoint.pt", map_location="cpu")
        return export(state, args.export, consistency_config(state, SCHEDULES))
    if (args.run / "checkpoint.pt").exists() and not (args.resume or args.generate):
        raise SystemExit(f"{args.run} has a checkpoint: give --resume to go on, or another --run")
    args.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train(args, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    run(parse())
