"""What the trainers share: a run folder's checkpoint and log, the average of the weights."""

import os
import subprocess

import numpy as np
import torch


def to_uint8(images):
    """[N,C,H,W] in [-1, 1] -> uint8 [N,H,W], or [N,H,W,C] of several channels, rounded as the program rounds them."""
    pixels = ((images.cpu().numpy() + 1) * 127.5).round().astype(np.uint8)
    return pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)


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
