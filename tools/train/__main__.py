"""Train a model.

    /usr/bin/python3 -m tools.train --model tiles    train tiles; without --model, mnist
    /usr/bin/python3 -m tools.train --resume         go on from the last checkpoint
    /usr/bin/python3 -m tools.train --export FILE    write the EMA weights as a model file

What each model is trained on, and how, is in recipes.py. One run folder holds checkpoint.pt (model, averages, optimizer, position), loss.csv, loss.png, a
grid of samples every epoch or few, and the averages as model files every --snapshot-every epochs. Every
batch is a pure function of (seed, step), so a run that was killed and resumed sees exactly the
batches of one that was not. Options may change at a --resume; the checkpoint lists the step and the
recipe of each change.
"""

import argparse
import copy
import csv
import math
import os
import pathlib
import time

import torch
from tqdm import tqdm

from tools import mnist
from tools.train import diffusion, plots, precision
from tools.train.export import export
from tools.train.recipes import RECIPES
from tools.train.run import commit_id, open_log, save, to_uint8, update_average

NOT_RECIPE = ("model", "run", "resume", "export", "threads", "max_steps", "snapshot_every")


def numbers(text):
    return [float(w) for w in text.split(",")]


def parse():
    p = argparse.ArgumentParser(prog="tools.train", description=__doc__.split("\n")[0])
    p.add_argument("--model", choices=RECIPES, default="mnist", help="what to train (default: %(default)s)")
    p.add_argument("--run", type=pathlib.Path, help="run folder (default: one of the model's name)")
    p.add_argument("--resume", action="store_true",
                   help="go on from the run folder's checkpoint; without it the folder must be new")
    p.add_argument("--epochs", type=int, help="these and the next: by default the model's own")
    p.add_argument("--batch", type=int)
    p.add_argument("--lr", type=float, help="peak learning rate")
    p.add_argument("--warmup", type=int, default=500, help="steps of linear warm-up")
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--clip", type=float, default=1.0, help="gradient norm limit")
    p.add_argument("--ema", type=numbers,
                   help="decays of the averages of the weights; the first is what is drawn and "
                        "exported")
    p.add_argument("--weighting", choices=diffusion.WEIGHTINGS, default="v",
                   help="of the loss over noise levels (default: %(default)s)")
    p.add_argument("--label-drop", type=float, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    precision.add_option(p)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--max-steps", type=int, default=None, help="stop early after this many steps")
    p.add_argument("--snapshot-every", type=int, default=0, metavar="EPOCHS",
                   help="write every average as a model file (default: never)")
    p.add_argument("--export", type=pathlib.Path, metavar="FILE",
                   help="write the checkpoint's EMA weights as a model file and leave")
    args = p.parse_args()
    recipe = RECIPES[args.model]
    args.run = args.run or mnist.cache_dir() / "runs" / args.model
    args.epochs = args.epochs or recipe.epochs
    args.batch = args.batch or recipe.batch
    args.lr = args.lr or recipe.learning_rate
    args.ema = args.ema or [recipe.ema]
    return args


def learning_rate(step, total, args):
    """Linear warm-up, then cosine decay to 1 % of the peak."""
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    u = (step - args.warmup) / max(1, total - args.warmup)
    return args.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(u, 1.0))))


def sample_grid(recipe, net, path, device):
    """Ten of each class, a row a class, 20 steps at guidance 1.5, always from the same noise."""
    g = torch.Generator().manual_seed(7)
    n = len(recipe.classes)
    noise = torch.randn(10 * n, *recipe.shape, generator=g).to(device)
    label = torch.arange(n).repeat_interleave(10).to(device)
    net.eval()
    x = recipe.process.dpmpp_2m(net, noise, label, 20, 1.5)
    plots.grid(to_uint8(x), 10, path)


def main():
    args = parse()
    model = RECIPES[args.model]
    checkpoint = args.run / "checkpoint.pt"
    if args.export:
        state = torch.load(checkpoint, map_location="cpu")
        return export(state, args.export, model.config(state))
    if checkpoint.exists() and not args.resume:
        raise SystemExit(f"{checkpoint} exists: give --resume to go on, or another --run folder")
    args.run.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(args.threads)

    pictures = model.data(device)
    torch.manual_seed(args.seed)
    # Channels last is what oneDNN's convolutions work on.
    net = model.network().to(device, memory_format=torch.channels_last)
    averages = {decay: model.network().to(device, memory_format=torch.channels_last) for decay in args.ema}
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, betas=(0.9, 0.99),
                                  weight_decay=args.weight_decay)
    step, seconds, recipes, state = 0, 0.0, [], {"averages": {}, "ema": net.state_dict()}
    if args.resume:
        state = torch.load(checkpoint, map_location=device)
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, recipes = state["step"], state["seconds"], state["recipes"]
    for decay, average in averages.items():  # a new one begins where the checkpoint's first is
        average.load_state_dict(state["averages"].get(decay, state["ema"]))
    ema = averages[args.ema[0]]

    per_epoch = len(pictures.images) // args.batch
    total = args.epochs * per_epoch
    last = min(total, args.max_steps or total)

    def trial(autocast):
        """A step on a copy, without the optimizer's part, which is the same in both precisions."""
        index = torch.arange(args.batch, device=device)
        g = torch.Generator().manual_seed(args.seed)
        x0, label = pictures.batch(index, g)
        k = index % diffusion.T
        model.process.v_loss(trained, x0, label, k, torch.zeros_like(x0), autocast, args.weighting).backward()

    trained = copy.deepcopy(net).train()
    args.precision = precision.choose(args.precision, recipes, device, trial)
    del trained
    autocast = precision.autocast(device, args.precision)
    recipe = {k: v for k, v in vars(args).items() if k not in NOT_RECIPE}
    if not recipes or recipes[-1]["recipe"] != recipe:
        recipes.append({"from_step": step, "recipe": recipe})
    commit = commit_id()  # of the code that runs, whatever is committed meanwhile
    csv_path = args.run / "loss.csv"
    log = csv.writer(open_log(csv_path, "step,epoch,loss,lr,seconds", step))

    def keep():
        state = {"model": net.state_dict(), "ema": ema.state_dict(),
                 "averages": {decay: a.state_dict() for decay, a in averages.items()},
                 "optimizer": optimizer.state_dict(), "step": step, "epoch": step / per_epoch,
                 "seconds": seconds, "recipes": recipes, "commit": commit}
        save(checkpoint, state)
        return state

    def write_snapshots(state):
        for decay, weights in state["averages"].items():
            export(state | {"ema": weights},
                   args.run / f"epoch-{step // per_epoch:03d}-ema-{decay}.safetensors",
                   model.config(state))

    bar = tqdm(total=last, initial=step, unit="step", smoothing=0.02, mininterval=1)
    window, order, saved_at = [], None, time.monotonic()
    while step < last:
        began = time.monotonic()
        epoch, i = divmod(step, per_epoch)
        if order is None or i == 0:
            g = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
            order = pictures.order(g)
        g = torch.Generator().manual_seed(args.seed * 1_000_000_007 + step)
        index = order[i * args.batch:(i + 1) * args.batch].to(device)
        n = len(index)
        # Stratified timesteps: one per n-th of the range, so that batches differ less in noise level.
        u = (torch.randperm(n, generator=g) + torch.rand(n, generator=g)) / n
        k = (u * diffusion.T).long().clamp(max=diffusion.T - 1)
        noise = torch.randn(n, *model.shape, generator=g).to(device)
        drop = (torch.rand(n, generator=g) < args.label_drop).to(device)
        x0, label = pictures.batch(index, g)
        label = torch.where(drop, torch.full_like(label, model.process.null_label), label)

        net.train()
        lr = learning_rate(step, total, args)
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = model.process.v_loss(net, x0, label, k, noise, autocast, args.weighting)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        optimizer.step()
        step += 1
        for decay, average in averages.items():
            update_average(average, net, decay, step)
        seconds += time.monotonic() - began

        window.append(loss.item())
        bar.update()
        if step % 50 == 0:
            mean = sum(window) / len(window)
            window = []
            log.writerow([step, f"{step / per_epoch:.3f}", f"{mean:.5f}", f"{lr:.3g}", f"{seconds:.0f}"])
            bar.set_postfix(epoch=f"{step / per_epoch:.2f}", loss=f"{mean:.4f}")
        if step % per_epoch == 0 or step == last:
            state = keep()
            saved_at = time.monotonic()
            if args.snapshot_every and step // per_epoch % args.snapshot_every == 0:
                write_snapshots(state)
            if step // per_epoch % model.grid_every == 0 or step == last:
                plots.loss_curve(csv_path, args.run / "loss.png")
                sample_grid(model, ema, args.run / f"grid-{step // per_epoch:03d}.png", device)
        elif time.monotonic() - saved_at > 120:
            keep()
            saved_at = time.monotonic()
    bar.close()


if __name__ == "__main__":
    main()
