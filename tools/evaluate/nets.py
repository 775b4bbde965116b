"""The evaluators in PyTorch, as they are trained; network.py runs the folded weights without it."""

import torch
from torch import nn
from torch.nn import functional as F


def _fold(layer, norm):
    """Weight and bias of a layer with the batch norm behind it folded in."""
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shape = (-1,) + (1,) * (layer.weight.dim() - 1)
    return (layer.weight.double() * gain.reshape(shape),
            norm.bias.double() - norm.running_mean.double() * gain)


def _plain(tensors):
    return {k: v.detach().float().cpu().numpy() for k, v in tensors.items()}


class Cnn(nn.Module):
    """As network.py says, with batch norm after each convolution and dropout before fc."""

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
            out[f"conv{i}.weight"], out[f"conv{i}.bias"] = _fold(conv, norm)
        for name in ("fc", "head"):
            layer = getattr(self, name)
            out[f"{name}.weight"], out[f"{name}.bias"] = layer.weight, layer.bias
        return _plain(out)


class Mlp(nn.Module):
    """Nothing of a picture's two dimensions: linear layers with batch norm, and dropout behind."""

    def __init__(self, dropout):
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in ((784, 512), (512, 256)))
        self.norm = nn.ModuleList(nn.BatchNorm1d(o) for o in (512, 256))
        self.head = nn.Linear(256, 10)
        self.dropout = dropout

    def forward(self, x):
        x = x.flatten(1)
        for fc, norm in zip(self.fc, self.norm):
            x = F.dropout(F.relu(norm(fc(x).float())), self.dropout, self.training)
        return self.head(x)

    def folded(self):
        out = {}
        for i, (fc, norm) in enumerate(zip(self.fc, self.norm)):
            out[f"fc{i}.weight"], out[f"fc{i}.bias"] = _fold(fc, norm)
        out["head.weight"], out["head.bias"] = self.head.weight, self.head.bias
        return _plain(out)


NETS = {"cnn": Cnn, "mlp": Mlp}


def shifted(images, generator, most=2):
    """Each image of [N,1,28,28] moved by up to `most` pixels each way, filled with black."""
    n = len(images)
    padded = F.pad(images, (most,) * 4)
    dy, dx = torch.randint(0, 2 * most + 1, (2, n), generator=generator).to(images.device)
    span = torch.arange(28, device=images.device)
    index = torch.arange(n, device=images.device)
    return padded[index[:, None, None], 0, (dy[:, None] + span)[:, :, None],
                  (dx[:, None] + span)[:, None, :]][:, None]
