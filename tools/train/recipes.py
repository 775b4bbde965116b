"""What there is to train: for each model its pictures, its network, its process and how it is trained."""

import dataclasses
import math
import typing

import numpy as np
import torch
from torch.nn import functional as F

from tools import mnist, tiles
from tools.train import adm, diffusion, unet
from tools.train.export import CLASSES, base_config


def to_range(images, device):
    """uint8 [N,H,W,C] -> fp32 [N,C,H,W] in [-1, 1]"""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2).contiguous().to(device)


class Digits:
    """MNIST's training digits, each once an epoch, as they are."""

    def __init__(self, device):
        images, labels = mnist.load("train")
        self.images = to_range(images[..., None], device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)

    def order(self, generator):
        """The indices of one epoch."""
        return torch.randperm(len(self.images), generator=generator)

    def batch(self, index, generator):
        """Images [N,C,H,W] and labels [N]."""
        return self.images[index], self.labels[index]


def hue_rotation(angles):
    """[N] radians -> [N,3,3]: turns about the grey axis."""
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    cross = torch.tensor([[0., -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * torch.eye(3) + (1 - cos) / 3 + sin * cross


class Tiles:
    """The tiles, small classes more often than they occur; mirrored and moved by up to 2 pixels at random. A ground
    (wall, floor, water) is moved as if it went on; potions and rings change their hue half of the time."""

    MOST = 2  # pixels
    GROUNDS = torch.tensor([tiles.CLASSES.index(c) for c in ("wall", "floor", "water")])
    TINTED = torch.tensor([tiles.CLASSES.index(c) for c in ("potion", "ring")])

    def __init__(self, device):
        images, labels, _ = tiles.load()
        self.images = to_range(images, device)
        self.labels = torch.from_numpy(labels.astype(np.int64)).to(device)
        count = torch.bincount(self.labels).float()
        self.weights = (count[self.labels] ** -0.5).cpu()  # a class is drawn as the root of its size

    def order(self, generator):
        return torch.multinomial(self.weights, len(self.images), replacement=True, generator=generator)

    def batch(self, index, generator):
        x, label = self.images[index], self.labels[index]
        n = len(x)
        flip = torch.rand(n, generator=generator) < 0.5
        shift = torch.randint(-self.MOST, self.MOST + 1, (n, 2), generator=generator)
        angle = (torch.rand(n, generator=generator) * 2 - 1) * math.pi * (torch.rand(n, generator=generator) < 0.5)
        tinted = torch.isin(label.cpu(), self.TINTED)
        ground = torch.isin(label.cpu(), self.GROUNDS)
        x = torch.where(flip[:, None, None, None].to(x.device), x.flip(3), x)
        turn = hue_rotation(torch.where(tinted, angle, torch.zeros(n))).to(x.device)
        x = torch.einsum("nij,njhw->nihw", turn, x).clamp(-1, 1)
        m, size = self.MOST, x.shape[2]
        still = F.pad(x, (m, m, m, m), value=tiles.BACKGROUND[0] / 127.5 - 1)
        endless = F.pad(x, (m, m, m, m), mode="circular")
        wide = torch.where(ground[:, None, None, None].to(x.device), endless, still)
        moved = [wide[i, :, m + dy:m + dy + size, m + dx:m + dx + size] for i, (dy, dx) in enumerate(shift.tolist())]
        return torch.stack(moved), label


@dataclasses.dataclass(frozen=True)
class Recipe:
    classes: typing.Sequence[str]
    shape: tuple  # C, H, W
    process: diffusion.Process
    network: typing.Callable
    data: typing.Callable  # device -> pictures
    config: typing.Callable | None  # checkpoint -> the model file's config
    epochs: int
    batch: int
    learning_rate: float
    ema: float
    grid_every: int  # epochs


RECIPES = {
    "mnist": Recipe(CLASSES, (1, 28, 28), diffusion.MNIST, unet.UNet, Digits, base_config,
                    epochs=30, batch=128, learning_rate=1e-3, ema=0.9995, grid_every=1),
    "tiles": Recipe(tiles.CLASSES, (3, 32, 32), diffusion.TILES,
                    lambda: adm.UNet(image_channels=3, out_channels=6, classes=len(tiles.CLASSES)), Tiles, None,
                    epochs=350, batch=32, learning_rate=6e-4, ema=0.9995, grid_every=5),
}
