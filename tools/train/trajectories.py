"""A teacher's trajectories: what a few-step student is trained on.

A trajectory follows the base model's guided ODE with DPM-Solver++(2M) from one level of LEVELS to
the image, and keeps the state at each level on its way. Half of the shards start from pure noise,
the others, in turn, at each of the lower levels from a real digit with noise added: what a
multistep sampler meets there, and trajectories from noise alone need not pass.

Shards are files of SHARD trajectories. Each is a function of (teacher, seed, its number), so that a
folder of them can be deleted, or grown, at any time.
"""

import dataclasses
import os

import torch

from tools.train import diffusion

SHARD = 512
SOLVER_STEPS = 20  # twice as many evaluations, as it is guided
LEVELS = diffusion.trailing(10)  # every second step of the solver
BLOCK = 64  # trajectories at once: 128 evaluations, which fit the cache better than 1024


@dataclasses.dataclass(frozen=True)
class Shard:
    start: int  # index into LEVELS of the first state
    states: torch.Tensor  # fp16 [N, len(LEVELS) - start + 1, 1, H, W]; the last is the image
    label: torch.Tensor  # int64 [N]


def shard_start(number):
    """Even shards start from noise, odd ones at LEVELS[1], LEVELS[2], ... in turn."""
    return 0 if number % 2 == 0 else 1 + number // 2 % (len(LEVELS) - 1)


def make_shard(teacher, images, labels, guidance, seed, number):
    """Shard `number`. teacher: the network or a function like it; images [M,1,H,W] in its range and
    labels [M]: the real digits."""
    g = torch.Generator().manual_seed(seed * 1_000_003 + number)
    pick = torch.randint(0, len(images), (SHARD,), generator=g)
    noise = torch.randn(SHARD, *images.shape[1:], generator=g)
    start = shard_start(number)
    x, label = noise, labels[pick].cpu()
    if start > 0:
        a, s = diffusion.MNIST.level(LEVELS[start])
        x = a * images[pick].cpu() + s * noise
    ks = [k for k in diffusion.trailing(SOLVER_STEPS) if k <= LEVELS[start]]
    kept = [i for i, k in enumerate(ks) if k in LEVELS] + [len(ks)]
    blocks = []
    device = images.device
    for at in range(0, SHARD, BLOCK):
        walk = diffusion.MNIST.dpmpp_2m_states(teacher, x[at:at + BLOCK].to(device),
                                               label[at:at + BLOCK].to(device), ks, guidance)
        states = list(walk)
        blocks.append(torch.stack([states[i].cpu().half() for i in kept], dim=1))
    return Shard(start, torch.cat(blocks), label)


class Pool:
    """The shards 0 .. n-1 of a folder, in memory; made when they are asked for and absent."""

    def __init__(self, folder, make):
        """make: number -> Shard"""
        self.folder, self.make, self.shards = folder, make, []
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, number):
        """The file of a shard, made now if it is absent."""
        path = self.folder / f"{number:05d}.pt"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")  # another process may make the same one
            torch.save(dataclasses.asdict(self.make(number)), part)
            os.replace(part, path)
        return path

    def fill(self, count, progress):
        """Make the absent ones of the first `count` shards; `progress` wraps the iteration."""
        for number in progress(range(count)):
            self._path(number)

    def grow(self, count):
        """Have at least `count` shards in memory."""
        for number in range(len(self.shards), count):
            self.shards.append(Shard(**torch.load(self._path(number))))

    def batch(self, level_index, generator):
        """A trajectory for each of level_index [N], drawn evenly from those that pass that level.

        Returns the states at that level and the images, fp32 [N,1,H,W] each, and the labels [N].
        """
        passing = [[s for s in self.shards if s.start <= j] for j in range(len(LEVELS))]
        draw = torch.rand(len(level_index), 2, generator=generator)
        rows = []
        for j, (u, w) in zip(level_index.tolist(), draw.tolist()):
            shard = passing[j][int(u * len(passing[j]))]
            i, at = int(w * len(shard.label)), j - shard.start
            rows.append((shard.states[i, at], shard.states[i, -1], shard.label[i]))
        here, image, label = (torch.stack(column) for column in zip(*rows))
        return here.float(), image.float(), label
