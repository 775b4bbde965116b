"""How good a few-step student is while it trains, by the evaluator of tools.evaluate."""

import numpy as np
import torch

from tools.evaluate import reference as real
from tools.evaluate.network import Evaluator
from tools.train import diffusion
from tools.train.run import to_uint8

HEADER = "step,seconds,sampler,evaluations,timesteps,count,ca,fd_train"
BLOCK = 100


class Judge:
    """Draws `count` images, as many of each digit, always from the same seed, and measures them."""

    def __init__(self, count, device, seed=11):
        self.evaluator = Evaluator()
        self.reference = real.load(self.evaluator)
        self.label = torch.arange(10).repeat_interleave(count // 10)
        self.device, self.seed = device, seed

    def _rows(self, draw):
        """draw(noise, label, generator) -> x0, all of them [N,...]; returns figures and images."""
        g = torch.Generator().manual_seed(self.seed)
        blocks = []
        for label in self.label.split(BLOCK):
            noise = torch.randn(len(label), 1, 28, 28, generator=g).to(self.device)
            blocks.append(to_uint8(draw(noise, label.to(self.device), g)))
        images = np.concatenate(blocks)
        found = real.judge(self.evaluator, self.reference, images, self.label.numpy())
        return [len(images)] + [f"{found[name]:.5f}" for name in ("ca", "fd_train")], images

    def student(self, net, ks):
        """CSV fields from `sampler` on, and the images."""
        figures, images = self._rows(
            lambda noise, label, g: diffusion.MNIST.consistency(net, noise, label, ks, g))
        return ["consistency", len(ks), " ".join(map(str, ks))] + figures, images

    def teacher(self, net, steps, guidance):
        """The same of the base model at `steps` guided steps of DPM-Solver++(2M)."""
        def draw(noise, label, _):
            return diffusion.MNIST.dpmpp_2m(net, noise, label, steps, guidance)

        figures, images = self._rows(draw)
        evaluations = steps * (1 if guidance == 1 else 2)
        ks = " ".join(map(str, diffusion.trailing(steps)))
        return ["dpmpp_2m", evaluations, ks] + figures, images
