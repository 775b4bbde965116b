"""What is trained: pictures and their augmentation, the network of improved-diffusion, the learned variance."""

import math

import pytest

import torch

from tools import tiles
from tools.train import adm, diffusion
from tools.train.recipes import Tiles, hue_rotation

PROCESS = diffusion.TILES


class Few(Tiles):
    """Three of each class, drawn from noise."""

    def __init__(self):
        g = torch.Generator().manual_seed(1)
        self.images = torch.rand(30, 3, 32, 32, generator=g) * 2 - 1
        self.labels = torch.arange(10).repeat_interleave(3)
        self.weights = torch.ones(30)


def small():
    torch.manual_seed(3)
    return adm.UNet(3, 6, classes=10, channels=32, multipliers=(1, 2), res_blocks=1, attention_at=(2,)).eval()


def test_cosine_schedule():
    """The formula of the paper at a few timesteps, and the end near pure noise."""
    alphas = diffusion.cosine_alphas()
    for k in (0, 250, 499, 900):
        f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, k + 1)]
        assert alphas[k].item() == pytest.approx(f[1] / f[0], rel=1e-9)
    assert 0 < alphas[999] < 1e-6 and (alphas[1:] < alphas[:-1]).all()


def test_network_begins_as_zero_and_has_the_source_s_names():
    net = small()
    x, t, label = torch.randn(2, 3, 32, 32), torch.tensor([3.0, 900.0]), torch.tensor([1, 10])
    assert net(x, t, label).shape == (2, 6, 32, 32)
    assert not net(x, t, label).any()  # the last convolution is 0
    names = set(net.state_dict())
    for name in ("time_embed.0.weight", "label_emb.weight", "input_blocks.0.0.weight", "input_blocks.1.0.in_layers.2.weight",
                 "input_blocks.1.0.emb_layers.1.bias", "input_blocks.1.0.out_layers.3.weight", "input_blocks.2.0.op.weight",
                 "input_blocks.3.1.qkv.weight", "input_blocks.3.1.proj_out.bias", "middle_block.1.norm.weight",
                 "output_blocks.1.2.conv.weight", "output_blocks.0.0.skip_connection.weight", "out.2.bias"):
        assert name in names, name


def test_timestep_and_label_reach_the_output():
    net = small()
    with torch.no_grad():
        for p in net.parameters():  # the zeros hide everything
            if not p.any():
                p.normal_(std=0.1)
        x = torch.randn(1, 3, 32, 32)
        base = net(x, torch.tensor([10.0]), torch.tensor([1]))
        assert (net(x, torch.tensor([11.0]), torch.tensor([1])) - base).abs().max() > 1e-4
        assert (net(x, torch.tensor([10.0]), torch.tensor([2])) - base).abs().max() > 1e-4


def test_variational_bound_is_least_at_the_true_variance():
    """With the true x0 as the guess the best variance is the posterior's: fraction -1, where all but the last step is 0."""
    g = torch.Generator().manual_seed(2)
    x0 = torch.rand(4, 3, 8, 8, generator=g) * 2 - 1
    k = torch.tensor([1, 100, 500, 998])
    a, s = PROCESS.levels(k, "cpu")
    x = a * x0 + s * torch.randn(x0.shape, generator=g)
    at = {f: PROCESS.variational_bound(x0, x, x0, torch.full_like(x0, f), k).item() for f in (-1.0, -0.9, -0.5, 1.0)}
    assert abs(at[-1.0]) < 1e-5 < at[-0.9] < at[-0.5] < at[1.0]


def test_last_step_counts_the_probability_of_a_level():
    """A guess that is right and sure costs next to nothing, a wrong one many bits."""
    x0 = torch.full((1, 3, 8, 8), 127 / 127.5 - 1)
    k = torch.tensor([0])
    fraction = torch.full_like(x0, -1.0)
    right = PROCESS.variational_bound(x0, x0, x0, fraction, k).item()
    wrong = PROCESS.variational_bound(x0, x0, x0 + 0.5, fraction, k).item()
    assert 0 <= right < 3 < 8 < wrong


def test_batches_are_functions_of_their_generator():
    few, index = Few(), torch.arange(30)
    x, label = few.batch(index, torch.Generator().manual_seed(5))
    again, _ = few.batch(index, torch.Generator().manual_seed(5))
    other, _ = few.batch(index, torch.Generator().manual_seed(6))
    assert torch.equal(x, again) and not torch.equal(x, other)
    assert torch.equal(label, few.labels) and x.shape == few.images.shape
    assert x.abs().max() <= 1


def test_grounds_go_on_where_they_are_moved():
    """Every pixel of a ground is one of its own; what lies on the background brings background in."""
    few = Few()
    wall, monster = tiles.CLASSES.index("wall"), tiles.CLASSES.index("monster")
    shade = tiles.BACKGROUND[0] / 127.5 - 1
    saw = False
    for seed in range(8):
        x, label = few.batch(torch.arange(30), torch.Generator().manual_seed(seed))
        for i in torch.where(label == wall)[0]:
            assert torch.equal(x[i].flatten().sort().values, few.images[i].flatten().sort().values)
        saw |= any(torch.isclose(x[i], torch.tensor(shade)).any() for i in torch.where(label == monster)[0])
    assert saw


def test_hue_rotation_leaves_grey_and_brightness():
    turn = hue_rotation(torch.tensor([0.0, 1.0, math.pi]))
    assert torch.allclose(turn[0], torch.eye(3), atol=1e-6)
    assert torch.allclose(turn @ torch.ones(3), torch.ones(3, 3), atol=1e-6)
    assert torch.allclose(turn.sum(1), torch.ones(3, 3), atol=1e-6)  # the sum of the channels stays
    assert not torch.allclose(turn[1], turn[2], atol=0.1)
