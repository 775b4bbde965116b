"""The network with convolutions in int8, as ONNX Runtime takes it: QuantizeLinear and DequantizeLinear
around each (QDQ), static ranges. Weights have a range an output channel, maps one a map, each from
the least to the most of what it was on some inputs.
"""

import torch
from torch import nn

from tools.bench import network

CALIBRATION_BATCHES = 4  # of 32


class Range:
    """The least and the most of a map's values so far; 0 is always among them."""

    def __init__(self):
        self.least = self.most = torch.zeros(())

    def see(self, x):
        self.least, self.most = torch.minimum(self.least, x.min()), torch.maximum(self.most, x.max())

    def quantise(self, x):
        """x by 256 values, which become uint8 in ONNX."""
        scale = max(float(self.most - self.least) / 255, 1e-8)
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-float(self.least) / scale), 0, 255)


class Convolution(nn.Module):
    """A convolution that watches its maps, and from quantise() on computes in int8. The bias is added
    behind it, in fp32."""

    def __init__(self, module):
        super().__init__()
        self.module, self.input, self.output, self.is_int8 = module, Range(), Range(), False

    def quantise(self):
        weight = self.module.weight.detach()
        most = weight.abs().flatten(1).max(1).values.clamp(min=1e-8)
        self.scale, self.zero = most / 127, torch.zeros(len(most), dtype=torch.int32)
        self.is_int8 = True

    def forward(self, x):
        c = self.module
        if not self.is_int8:
            self.input.see(x)
            y = nn.functional.conv2d(x, c.weight, None, c.stride, c.padding)
            self.output.see(y)
        else:
            weight = torch.fake_quantize_per_channel_affine(c.weight, self.scale, self.zero, 0, -128, 127)
            y = nn.functional.conv2d(self.input.quantise(x), weight, None, c.stride, c.padding)
            y = self.output.quantise(y)
        return y if c.bias is None else y + c.bias[:, None, None]


def quantised():
    """The network with int8 convolutions, and in fp32 all else: norms, attention, linear layers."""
    net = network.load()
    parents = [(parent, name, child) for parent in net.modules() for name, child in parent.named_children()
               if isinstance(child, nn.Conv2d)]
    convolutions = [Convolution(child) for _, _, child in parents]
    for (parent, name, _), convolution in zip(parents, convolutions):
        setattr(parent, name, convolution)
    for seed in range(CALIBRATION_BATCHES):
        net(*network.inputs(32, seed=100 + seed))
    for convolution in convolutions:
        convolution.quantise()
    return net
