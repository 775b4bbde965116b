"""The shipped network in PyTorch as the peers run it: same weights, same function as
tools/train/unet.py, with what depends on weights alone computed once, so that no peer pays for it
in every call.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.golden.generate import read_model
from tools.train import diffusion


class FoldedUpsampling(nn.Module):
    """Upsampling as the one convolution and pixel shuffle that it is."""

    def __init__(self, module):
        super().__init__()
        self.conv = nn.Conv2d(module.in_channels, 4 * module.out_channels, 2, bias=False)
        # Input pixel and its neighbour (dy) see these taps for an even and for an odd output row;
        # 3 is the zero that pads the kernel. Columns alike.
        taps = torch.tensor([[1, 3], [2, 0]])
        weight = F.pad(module.weight.detach().transpose(0, 1), (0, 1, 0, 1))  # [o,i,4,4]
        weight = weight[:, :, taps][..., taps]  # [o,i,y,dy,x,dx]
        weight = weight.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # [4o,i,dy,dx], y and x in 4o
        self.conv.weight = nn.Parameter(weight.contiguous())

    def forward(self, x):
        return F.pixel_shuffle(self.conv(F.pad(x, (0, 1, 0, 1))), 2)


def transposed(module):
    """Upsampling as the transposed convolution that its weights are written for."""
    conv = nn.ConvTranspose2d(module.in_channels, module.out_channels, 3, stride=2, padding=1,
                              output_padding=1, bias=False)
    conv.weight = module.weight
    return conv


def load(upsampling=FoldedUpsampling):
    """The network with the shipped weights and that form of its upsampling."""
    net, _config, _digest = read_model("mnist")
    for level in net.decoder:
        level.upsampling = upsampling(level.upsampling)
    return net.eval().requires_grad_(False)


def inputs(batch, seed=1):
    """x [N,1,28,28], t [N] and label [N]: each row its own, the null label among them."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 1, 28, 28, generator=g)
    t = diffusion.MNIST.network_time(torch.randint(0, diffusion.T, (batch,), generator=g))
    label = torch.arange(batch) % 11
    return x, t, label


def convolutions():
    """Its convolutions for onednn_convs, a line each. An upsampling is listed in both its forms,
    under one name: whoever is faster counts."""
    net, lines = load(transposed), []

    def see(name, module):
        def hook(_module, arguments, _output):
            c = module
            size = arguments[0].shape[-1]
            has_bias = int(c.bias is not None)
            if isinstance(c, nn.ConvTranspose2d):
                lines.append(f"deconv {name} {c.in_channels} {c.out_channels} {size} 3 2 1 1 0")
                lines.append(f"conv {name} {c.in_channels} {4 * c.out_channels} {size} 2 1 0 1 0")
            else:
                lines.append(f"conv {name} {c.in_channels} {c.out_channels} {size} "
                             f"{c.kernel_size[0]} {c.stride[0]} {c.padding[0]} 0 {has_bias}")
        return hook

    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(see(name, module))
    net(*inputs(1))
    return "\n".join(lines) + "\n"


def export_onnx(path, net):
    """Write the network as ONNX with a free batch dimension."""
    names = ["x", "t", "label"]
    torch.onnx.export(net, inputs(2), path, input_names=names, output_names=["v"],
                      opset_version=16, dynamic_axes={n: {0: "N"} for n in names + ["v"]})


class Nothing(nn.Module):
    def forward(self, x):
        return x + 1


def export_nothing(path):
    """Write a network of one addition: what a call costs by itself."""
    torch.onnx.export(Nothing(), (torch.zeros(1),), path, input_names=["x"], output_names=["v"])
