"""What the trainers share: data, a run folder's checkpoint and log, the average of the weights."""

import os
import subprocess

import numpy as np
import torch

from tools import mnist


def load_digits(device):
    """The training digits: images fp32 [N,1,28,28] in [-1, 1], labels int64 [N]."""
    images, labels = mnist.load("train")
    images = torch.from_numpy(images.astype(np.float32) / 127.5 - 1)[:, None].to(device)
    return images, torch.from_numpy(labels.astype(np.int64)).to(device)


def to_uint8(images):
    """[N,1,H,W] in [-1, 1] -> uint8 [N,H,W], rounded as the program rounds them."""
    return ((images.cpu().numpy() + 1) * 127.5).round().astype(np.uint8)[:, 0]


def save(path, state):
    """Write a checkpoint whole or not at all."""
    tmp = path.with_suffix(".tmp")
    torch.save(state, tmp)
    os.replace(tmp, path)


def open_log(path, header, step):
    """Open a CSV file to append to, without the rows that a killed run logged past its checkpoint
    at `step`; the first column of every row is the step."""
    rows = path.read_text().splitlines()[1:] if step > 0 and path.exists() else []
    kept = [header] + [r for r in rows if int(r.split(",")[0]) <= step]
    path.write_text("\n".join(kept) + "\n")
    return open(path, "a", newline="", buffering=1)


def commit_id():
    out = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return out.stdout.strip() or "unknown"


@torch.no_grad()
def update_average(ema, net, limit, step):
    """Move the average of the weights towards net, after `step` steps; while the run is young it
    spans half of the steps so far, not the 1 / (1 - limit) that it spans later."""
    decay = min(limit, (1 + step) / (3 + step))
    for e, p in zip(ema.parameters(), net.parameters()):
        e.lerp_(p, 1 - decay)
