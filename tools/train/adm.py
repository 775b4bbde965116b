"""The UNet of openai/improved-diffusion (Nichol & Dhariwal 2021, arXiv 2102.09672), in PyTorch.

Shapes: N batch, C channels, H W, T tokens, E width of the time embedding. Parameter names are that repository's, so
that its checkpoints load as they are.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tools.train.precision import LastConvolution


def zero(module):
    """The module with all of its parameters at 0: a block that ends with it begins as the identity."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class GroupNorm(nn.GroupNorm):
    """GroupNorm(32) that always computes in fp32 (also under bf16 autocast)."""

    def __init__(self, channels):
        super().__init__(32, channels)

    def forward(self, x):
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps)


def timestep_embedding(t, width, max_period=10000):
    """[N] -> [N,width]: cos, then sin of t times width / 2 frequencies from 1 down to nearly 1 / max_period."""
    half = width // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float32) / half)
    angles = t.float()[:, None] * frequencies[None].to(t.device)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """x [N,i,H,W], emb [N,E] -> [N,o,H,W]: norm, SiLU, conv; norm scaled and shifted by emb, SiLU, conv (zero at first);
    plus x, through a 1x1 convolution where the number of channels changes."""

    def __init__(self, i, emb_channels, o, dropout):
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm(i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * o))
        self.out_layers = nn.Sequential(GroupNorm(o), nn.SiLU(), nn.Dropout(dropout), zero(nn.Conv2d(o, o, 3, padding=1)))
        self.skip_connection = nn.Identity() if i == o else nn.Conv2d(i, o, 1)

    def forward(self, x, emb):
        norm, *rest = self.out_layers
        scale, shift = self.emb_layers(emb)[:, :, None, None].float().chunk(2, dim=1)
        h = norm(self.in_layers(x)) * (1 + scale) + shift
        for layer in rest:
            h = layer(h)
        return self.skip_connection(x) + h


class AttentionBlock(nn.Module):
    """x [N,C,H,W] + self-attention over its H*W tokens; the heads' q, k, v lie head by head in qkv."""

    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x, emb):
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x).flatten(2)).reshape(n * self.heads, 3 * c // self.heads, h * w)
        q, k, v = qkv.chunk(3, dim=1)
        scale = (c // self.heads) ** -0.25  # on both factors: the product of large ones could overflow half precision
        weights = torch.bmm((q * scale).transpose(1, 2), k * scale).float().softmax(dim=-1)
        out = torch.bmm(v, weights.to(v.dtype).transpose(1, 2)).reshape(n, c, h * w)
        return x + self.proj_out(out).reshape(n, c, h, w)


class Downsample(nn.Module):
    """[N,C,H,W] -> [N,C,H/2,W/2]"""

    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Upsample(nn.Module):
    """[N,C,H,W] -> [N,C,2H,2W]: each pixel four times, then a convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Stem(nn.Conv2d):
    """The first convolution, which no embedding reaches."""

    def forward(self, x, emb):
        return super().forward(x)


class Blocks(nn.ModuleList):
    """Modules in a row, each of x and the embedding."""

    def forward(self, x, emb):
        for module in self:
            x = module(x, emb)
        return x


class UNet(nn.Module):
    """x [N,C,H,W], t [N], label [N] (classes = the null label) -> [N,out,H,W]."""

    def __init__(self, image_channels, out_channels, classes, channels=32, multipliers=(1, 2, 2, 2), res_blocks=2,
                 attention_at=(2, 4), heads=4, dropout=0.0):
        """attention_at: how often the image is halved where there is attention, as factors (2 is half the size)."""
        super().__init__()
        self.channels, self.classes = channels, classes
        width = 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.label_emb = nn.Embedding(classes + 1, width)

        def level(i, o, factor):
            attention = [AttentionBlock(o, heads)] if factor in attention_at else []
            return [ResBlock(i, width, o, dropout), *attention]

        c, factor = channels, 1
        self.input_blocks = nn.ModuleList([Blocks([Stem(image_channels, channels, 3, padding=1)])])
        skips = [channels]
        for n, multiplier in enumerate(multipliers):
            for _ in range(res_blocks):
                self.input_blocks.append(Blocks(level(c, multiplier * channels, factor)))
                c = multiplier * channels
                skips.append(c)
            if n < len(multipliers) - 1:
                self.input_blocks.append(Blocks([Downsample(c)]))
                skips.append(c)
                factor *= 2
        self.middle_block = Blocks([ResBlock(c, width, c, dropout), AttentionBlock(c, heads), ResBlock(c, width, c, dropout)])
        self.output_blocks = nn.ModuleList()
        for n, multiplier in reversed(list(enumerate(multipliers))):
            for j in range(res_blocks + 1):
                layers = level(c + skips.pop(), multiplier * channels, factor)
                c = multiplier * channels
                if n > 0 and j == res_blocks:
                    layers.append(Upsample(c))
                    factor //= 2
                self.output_blocks.append(Blocks(layers))
        self.out = nn.Sequential(GroupNorm(c), nn.SiLU(), zero(LastConvolution(c, out_channels, 3, padding=1)))

    def forward(self, x, t, label):
        emb = self.time_embed(timestep_embedding(t, self.channels)) + self.label_emb(label)
        skips = []
        for block in self.input_blocks:
            x = block(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), emb)
        return self.out(x)
