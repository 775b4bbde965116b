"""The fused elementwise pass gives what PyTorch gives, forward and backward."""

import pytest

import torch
F = torch.nn.functional

from tools.train import fused
from tools.train.unet import UNet

pytestmark = pytest.mark.skipif(fused.compiled() is None, reason="no gcc")

# [N,C,H,W] and whether a time is added: one channel a group, several, a plane that fills no vector
CASES = [((2, 32, 28, 28), False), ((3, 64, 14, 14), True), ((2, 128, 7, 7), True),
         ((1, 64, 3, 5), True)]


def reference(c, time, weight, bias, residual):
    h = c if time is None else c + time[:, :, None, None]
    y = F.silu(F.group_norm(h, 32, weight, bias, 1e-5))
    return c + y if residual else y


def gradients(function, c, time, weight, bias, up):
    leaves = [t.clone().requires_grad_() for t in (c, time, weight, bias) if t is not None]
    where = iter(leaves)
    y = function(*(None if t is None else next(where) for t in (c, time, weight, bias)))
    y.backward(up.to(y.dtype))
    return [y.detach()] + [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape,timed", CASES)
def test_like_pytorch(shape, timed, residual):
    g = torch.Generator().manual_seed(3)
    c = torch.randn(shape, generator=g).bfloat16()
    time = torch.randn(shape[:2], generator=g) if timed else None
    weight, bias = torch.randn(2, shape[1], generator=g)
    up = torch.randn(shape, generator=g).bfloat16()
    got = gradients(lambda *a: fused.NormSilu.apply(*a, 32, 1e-5, residual),
                    c, time, weight, bias, up)
    want = gradients(lambda *a: reference(*a, residual), c.double(),
                     None if time is None else time.double(), weight.double(), bias.double(), up)
    for a, b in zip(got, want):
        # bfloat16 has 8 bits: half a unit in the last place is 2^-9 of a value
        tolerance = 2**-8 if a.dtype == torch.bfloat16 else 1e-4
        assert (a.double() - b).abs().max() <= tolerance * b.abs().max()


def test_maps_it_cannot_take():
    c = torch.zeros(1, 32, 28, 28)
    assert not fused.usable(c, 32)  # fp32
    assert fused.usable(c.bfloat16(), 32)
    assert not fused.usable(torch.zeros(1, 32, 65, 65).bfloat16(), 32)  # more than its buffer holds


def test_network_trains_alike():
    """The network's gradients under autocast are as near to fp32's as bfloat16 allows."""
    torch.manual_seed(5)
    net = UNet()
    x, up = torch.randn(2, 4, 1, 28, 28)
    t, label = torch.rand(4), torch.arange(4)

    def gradient(enabled):
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            v = net(x, t, label)
        (v.float() * up).sum().backward()
        return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])

    fp32, bf16 = gradient(False), gradient(True)
    assert (bf16 - fp32).norm() <= 0.05 * fp32.norm()
    assert not torch.equal(bf16, fp32)
