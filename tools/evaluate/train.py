"""Train an evaluator on the real 60,000 digits; only this and `--cas` need PyTorch.

    /usr/bin/python3 -m tools.evaluate.train [--architecture mlp] [--output FILE]

The test set is looked at once, after the last epoch: nothing is selected by it.
"""

import argparse
import dataclasses
import json
import os
import pathlib

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from tools import mnist
from tools.evaluate.metrics import accuracy
from tools.evaluate.nets import NETS, shifted
from tools.evaluate.network import Evaluator
from tools.train.export import write_safetensors


@dataclasses.dataclass(frozen=True)
class Recipe:
    architecture: str = "cnn"
    epochs: int = 8
    batch: int = 128
    lr: float = 4e-3  # the peak of one cycle
    weight_decay: float = 0.01
    dropout: float = 0.4
    seed: int = 1
    max_steps: int | None = None  # stop early, to time a step


RECIPES = {"cnn": Recipe(), "mlp": Recipe("mlp", epochs=40, dropout=0.2)}


def fit(recipe, images, labels, name="train"):
    """A network trained on uint8 images [N,28,28] and labels [N]: name -> folded weights."""
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(images.astype(np.float32) / 255)[:, None].to(device)
    labels = torch.from_numpy(labels.astype(np.int64)).to(device)
    net = NETS[recipe.architecture](recipe.dropout)
    net = net.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    per_epoch = len(images) // recipe.batch
    total = recipe.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=total,
                                                   pct_start=0.2)
    generator = torch.Generator().manual_seed(recipe.seed)
    bar = tqdm(range(min(total, recipe.max_steps or total)), unit="step", smoothing=0.05, desc=name)
    mean = 0.0
    for step in bar:
        if step % per_epoch == 0:
            order = torch.randperm(len(images), generator=generator)
        index = order[step % per_epoch * recipe.batch:][:recipe.batch].to(device)
        x = shifted(images[index], generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(x)
        loss = F.cross_entropy(logits.float(), labels[index], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        mean += (loss.item() - mean) * (0.02 if step else 1)
        bar.set_postfix(epoch=f"{(step + 1) / per_epoch:.2f}", loss=f"{mean:.4f}")
    return net.folded()


def parse():
    p = argparse.ArgumentParser(prog="tools.evaluate.train", description=__doc__.split("\n")[0])
    p.add_argument("--architecture", choices=RECIPES, default="cnn")
    p.add_argument("--output", type=pathlib.Path,
                   help="where to write the weights (default: the cache's "
                        "evaluator/ARCHITECTURE.safetensors)")
    for field in dataclasses.fields(Recipe)[1:]:
        p.add_argument("--" + field.name.replace("_", "-"), default=None,
                       type=float if isinstance(field.default, float) else int)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return p.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    changed = {f.name: getattr(args, f.name) for f in dataclasses.fields(Recipe)[1:]
               if getattr(args, f.name) is not None}
    recipe = dataclasses.replace(RECIPES[args.architecture], **changed)
    output = args.output or mnist.cache_dir() / "evaluator" / f"{args.architecture}.safetensors"
    weights = fit(recipe, *mnist.load("train"))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(output, weights, {"recipe": json.dumps(dataclasses.asdict(recipe))})
    evaluator = Evaluator(output)
    test_images, test_labels = mnist.load("t10k")
    _, predicted = evaluator.run(test_images, progress=tqdm)
    print(f"{output}: SHA-256 {evaluator.sha256}\n"
          f"accuracy on the real test set: {100 * accuracy(predicted, test_labels):.2f} %")


if __name__ == "__main__":
    main()
