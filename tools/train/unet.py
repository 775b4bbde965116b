"""The MNIST spatial-transformer UNet, in PyTorch. `core/nets/unet_st.c` is its twin in C.

Shapes: N batch, C channels, H W, T tokens, E context width. Parameter names are a public contract:
they are the tensor names of the model file.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tools.train import fused
from tools.train.precision import LastConvolution

GROUPS = 32


class GroupNorm(nn.GroupNorm):
    """GroupNorm(32) that always computes in fp32 (also under bf16 autocast)."""

    def __init__(self, channels):
        super().__init__(GROUPS, channels)

    def forward(self, x):
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps)

    def silu(self, x, time=None, residual=False):
        """[x +] SiLU(norm(x + time)), time [N,C]; in one pass where that is possible."""
        if self.num_groups == self.num_channels:
            time = None  # the same for all of a group: the norm takes it away again
        if fused.usable(x, self.num_groups):
            return fused.NormSilu.apply(x, time, self.weight, self.bias, self.num_groups, self.eps,
                                        residual)
        y = F.silu(self(x if time is None else x + time[:, :, None, None]))
        return x + y if residual else y


class LayerNorm(nn.LayerNorm):
    """LayerNorm that always computes in fp32."""

    def forward(self, x):
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


class GaussianFourier(nn.Module):
    """t in [0, 1], [N] -> [N,32]: sin and cos of 2 pi t W, then a linear layer.

    W ~ N(0, scale^2) is drawn once and stored, not trained (Tancik et al. 2020; Song et al. 2021).
    """

    def __init__(self, dim=32, scale=30.0):
        super().__init__()
        self.register_buffer("W", torch.randn(dim // 2) * scale)
        self.proj = nn.Linear(dim, dim)

    def forward(self, t):
        turns = t.double()[:, None] * self.W.double()[None, :]
        angle = (2 * math.pi * (turns - turns.round())).float()
        return self.proj(torch.cat([angle.sin(), angle.cos()], dim=1))


class ResidualBlock(nn.Module):
    """[N,i,H,W] -> [N,o,H,W]: c = conv(x); c + SiLU(GroupNorm(c + time))."""

    def __init__(self, i, o, time_dim=32):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.time_lin = nn.Linear(time_dim, o)
        self.norm = GroupNorm(o)

    def forward(self, x, temb):
        c = self.conv(x)
        return self.norm.silu(c, self.time_lin(temb), residual=True)


class Attention(nn.Module):
    """Multi-head attention [N,T,C] on a context [N,S,E]; no bias, no output projection."""

    def __init__(self, channels, context_dim, heads=8):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(channels, channels, bias=False)
        self.k_proj = nn.Linear(context_dim, channels, bias=False)
        self.v_proj = nn.Linear(context_dim, channels, bias=False)

    def forward(self, x, context):
        n, t, c = x.shape
        d = c // self.heads
        q = self.q_proj(x).view(n, t, self.heads, d).transpose(1, 2)
        k = self.k_proj(context).view(n, -1, self.heads, d).transpose(1, 2)
        v = self.v_proj(context).view(n, -1, self.heads, d).transpose(1, 2)
        weights = (q @ k.transpose(-1, -2) * d**-0.5).float().softmax(dim=-1)
        return (weights.to(v.dtype) @ v).transpose(1, 2).reshape(n, t, c)


class TransformerBlock(nn.Module):
    """Pre-norm block on tokens [N,T,C]: self-attention, cross-attention on the label, MLP."""

    def __init__(self, channels, context_dim):
        super().__init__()
        self.norm1 = LayerNorm(channels)
        self.self_attn = Attention(channels, channels)
        self.norm2 = LayerNorm(channels)
        self.cross_attn = Attention(channels, context_dim)
        self.norm3 = LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(),
                                 nn.Linear(channels, channels))

    def forward(self, x, context):
        y = self.norm1(x)
        x = x + self.self_attn(y, y)
        x = x + self.cross_attn(self.norm2(x), context)
        return x + self.mlp(self.norm3(x))


class SpatialTransformer(nn.Module):
    """[N,C,H,W] -> tokens [N,H*W,C] -> transformer blocks -> x + 1x1 conv."""

    def __init__(self, channels, context_dim, depth=1):
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(channels, context_dim) for _ in range(depth))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens.transpose(1, 2).reshape(n, c, h, w))


class MidBlock(nn.Module):
    def __init__(self, i, o, context_dim):
        super().__init__()
        self.res1 = ResidualBlock(i, o)
        self.res2 = ResidualBlock(o, o)
        self.st = SpatialTransformer(o, context_dim)

    def forward(self, x, temb, context):
        return self.st(self.res2(self.res1(x, temb), temb), context)


class EncoderLevel(nn.Module):
    """Two residual blocks (their output is the skip), then a stride-2 convolution."""

    def __init__(self, i, o):
        super().__init__()
        self.res_blocks = nn.ModuleList([ResidualBlock(i, o), ResidualBlock(o, o)])
        self.downsampling = nn.Conv2d(o, o, 3, stride=2, padding=1, bias=False)

    def forward(self, x, temb):
        for block in self.res_blocks:
            x = block(x, temb)
        return self.downsampling(x), x


class Upsampling(nn.ConvTranspose2d):
    """ConvTranspose 3x3, stride 2, pad 1, output_padding 1, no bias: [N,i,H,W] -> [N,o,2H,2W].

    Computed as one 2x2 convolution to 4o channels and a pixel shuffle, which is the same sum (even
    outputs see tap 1, odd ones taps 2 and 0) and trains five times faster on a CPU, where PyTorch
    has no oneDNN path for the transposed form.
    """

    def __init__(self, i, o):
        super().__init__(i, o, 3, stride=2, padding=1, output_padding=1, bias=False)

    def forward(self, x):
        w = self.weight.transpose(0, 1)  # [o,i,3,3]
        zero = torch.zeros_like(w[:, :, 0, 0])
        row = ((1, None), (2, 0))  # taps of an even and of an odd output
        phases = []
        for ys in row:
            for xs in row:
                taps = [w[:, :, ky, kx] if ky is not None and kx is not None else zero
                        for ky in ys for kx in xs]
                phases.append(torch.stack(taps, dim=-1).unflatten(-1, (2, 2)))
        kernel = torch.stack(phases, dim=1).flatten(0, 1)  # [4o,i,2,2]
        return F.pixel_shuffle(F.conv2d(F.pad(x, (0, 1, 0, 1)), kernel), 2)


class DecoderLevel(nn.Module):
    """Transposed convolution to twice the size, concat(skip, up), two residual blocks."""

    def __init__(self, i, o):
        super().__init__()
        self.upsampling = Upsampling(i, o)
        self.res_blocks = nn.ModuleList([ResidualBlock(2 * o, o), ResidualBlock(o, o)])

    def forward(self, x, skip, temb):
        x = torch.cat([skip, self.upsampling(x)], dim=1)
        for block in self.res_blocks:
            x = block(x, temb)
        return x


class Head(nn.Sequential):
    """[N,i,H,W] -> [N,o,H,W]: GroupNorm, SiLU, 3x3 convolution."""

    def __init__(self, i, o):
        super().__init__(GroupNorm(i), nn.SiLU(), LastConvolution(i, o, 3, padding=1))

    def forward(self, x):
        norm, _, conv = self
        return conv(norm.silu(x))


class UNet(nn.Module):
    """x [N,1,28,28], t [N] in [0, 1], label [N] (classes = the null label) -> v [N,1,28,28]."""

    def __init__(self, classes=10, image_channels=1, channels=(32, 64, 128), context_dim=256):
        super().__init__()
        self.classes = classes
        self.context_embed = nn.Embedding(classes + 1, context_dim)
        self.time_embed = GaussianFourier()
        io = list(zip((image_channels,) + channels[:-2], channels[:-1]))
        self.encoder = nn.ModuleList(EncoderLevel(i, o) for i, o in io)
        self.mid_block = MidBlock(channels[-2], channels[-1], context_dim)
        oi = list(zip(channels[:0:-1], channels[-2::-1]))
        self.decoder = nn.ModuleList(DecoderLevel(i, o) for i, o in oi)
        self.proj = Head(channels[0], image_channels)

    def forward(self, x, t, label):
        temb = self.time_embed(t)
        context = self.context_embed(label)[:, None, :]
        skips = []
        for level in self.encoder:
            x, skip = level(x, temb)
            skips.append(skip)
        x = self.mid_block(x, temb, context)
        for level in self.decoder:
            x = level(x, skips.pop(), temb)
        return self.proj(x)
