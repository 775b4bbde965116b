"""Train the evaluator on the real 60,000 digits; the only part of this package that needs PyTorch.

    /usr/bin/python3 -m tools.evaluate.train [--output FILE]

The test set is looked at once, after the last epoch: nothing is selected by it.
"""

import argparse
import hashlib
import json
import os
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from tools import mnist
from tools.evaluate.network import Evaluator
from tools.train.export import write_safetensors


class Net(nn.Module):
    """As network.py says, with batch norm after each convolution and dropout before the head."""

    def __init__(self, dropout):
        super().__init__()
        io = [(1, 32), (32, 32), (32, 64), (64, 64)]
        self.conv = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in io)
        self.norm = nn.ModuleList(nn.BatchNorm2d(o) for _, o in io)
        self.fc = nn.Linear(64 * 7 * 7, 64)
        self.head = nn.Linear(64, 10)
        self.dropout = dropout

    def forward(self, x):
        for i, (conv, norm) in enumerate(zip(self.conv, self.norm)):
            x = F.relu(norm(conv(x).float()))
            if i % 2 == 1:
                x = F.max_pool2d(x, 2)
        x = F.dropout(x.flatten(1), self.dropout, self.training)
        return self.head(F.relu(self.fc(x)))

    def folded(self):
        """Weights and biases with batch norm folded into the convolutions."""
        out = {}
        for i, (conv, norm) in enumerate(zip(self.conv, self.norm)):
            gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            out[f"conv{i}.weight"] = conv.weight.double() * gain[:, None, None, None]
            out[f"conv{i}.bias"] = norm.bias.double() - norm.running_mean.double() * gain
        for name in ("fc", "head"):
            layer = getattr(self, name)
            out[f"{name}.weight"], out[f"{name}.bias"] = layer.weight, layer.bias
        return {k: v.detach().float().cpu().numpy() for k, v in out.items()}


def shifted(images, generator, most=2):
    """Each image of [N,1,28,28] moved by up to `most` pixels each way, filled with black."""
    n = len(images)
    padded = F.pad(images, (most,) * 4)
    dy, dx = torch.randint(0, 2 * most + 1, (2, n), generator=generator).to(images.device)
    span = torch.arange(28, device=images.device)
    index = torch.arange(n, device=images.device)
    return padded[index[:, None, None], 0, (dy[:, None] + span)[:, :, None],
                  (dx[:, None] + span)[:, None, :]][:, None]


def parse():
    p = argparse.ArgumentParser(prog="tools.evaluate.train", description=__doc__.split("\n")[0])
    p.add_argument("--output", type=pathlib.Path,
                   default=mnist.cache_dir() / "evaluator" / "evaluator.safetensors",
                   help="where to write the weights (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=4e-3, help="peak learning rate of the one cycle")
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--dropout", type=float, default=0.4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--max-steps", type=int, default=None, help="stop early (to time a step)")
    return p.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = mnist.load("train")
    images = torch.from_numpy(images.astype(np.float32) / 255)[:, None].to(device)
    labels = torch.from_numpy(labels.astype(np.int64)).to(device)
    net = Net(args.dropout).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    per_epoch = len(images) // args.batch
    total = args.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=total,
                                                   pct_start=0.2)
    generator = torch.Generator().manual_seed(args.seed)
    bar = tqdm(range(min(total, args.max_steps or total)), unit="step", smoothing=0.05)
    mean = 0.0
    for step in bar:
        if step % per_epoch == 0:
            order = torch.randperm(len(images), generator=generator)
        index = order[step % per_epoch * args.batch:][:args.batch].to(device)
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
    bar.close()

    args.output.parent.mkdir(parents=True, exist_ok=True)
    recipe = {k: v for k, v in vars(args).items() if k not in ("output", "threads")}
    write_safetensors(args.output, net.folded(), {"recipe": json.dumps(recipe)})
    digest = hashlib.sha256(args.output.read_bytes()).hexdigest()
    test_images, test_labels = mnist.load("t10k")
    _, predicted = Evaluator(args.output).run(test_images, progress=tqdm)
    print(f"{args.output}: SHA-256 {digest}\n"
          f"accuracy on the real test set: {100 * (predicted == test_labels).mean():.2f} %")


if __name__ == "__main__":
    main()
