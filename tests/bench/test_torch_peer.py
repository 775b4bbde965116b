"""PyTorch as a peer, the process itself: what it computes in fp32 and in bf16."""

import numpy as np
import pytest

import torch

from tools.bench import __main__ as bench
from tools.bench import engines, network, quantise


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """{(precision, variant): the network's output} of two images."""
    folder, found = tmp_path_factory.mktemp("peer"), {}
    for precision, make in (("fp32", engines.torch_peer), ("bf16", engines.torch_peer_in_bf16)):
        peer = make()
        for variant in peer.told["variants"]:
            peer.ask("evaluate", variant=variant, batch=2, into=str(folder / "output"))
            found[precision, variant] = np.fromfile(folder / "output", "<f4")
        peer.close()
    return found


def test_every_variant_is_the_network(outputs):
    wanted = outputs["fp32", "eager"]
    assert wanted.size == 2 * 784 and np.abs(wanted).max() > 0.5
    for (precision, variant), output in outputs.items():
        difference = np.abs(output - wanted).max()
        if precision == "fp32":
            assert difference <= bench.DIFFERENCE_MAX["fp32"], variant
        else:  # and it does round: a process that forgot its autocast would be 1e-6 away
            assert 1e-3 < difference <= bench.DIFFERENCE_MAX["bf16"], variant


def test_it_draws():
    peer = engines.torch_peer()
    [pixels] = peer.ask("sample", rows=[[7, 42, 0]], steps=2)["pixels"]
    peer.close()
    assert len(pixels) == 784 and 0 <= min(pixels) < 100 < max(pixels) <= 255


def test_int8_is_nearly_the_network():
    with torch.no_grad():
        net, inputs = quantise.quantised(), network.inputs(4)
        wanted, found = network.load()(*inputs), net(*inputs)
    convolutions = [m for m in net.modules() if isinstance(m, quantise.Convolution)]
    assert len(convolutions) == len([m for m in network.load().modules() if isinstance(m, torch.nn.Conv2d)])
    assert all(c.is_int8 and c.output.most > c.output.least for c in convolutions)
    error = (found - wanted).square().mean().sqrt() / wanted.std()
    assert 0.005 < error < 0.25  # 8 bits of each map and weight; without them it would be 1e-6


@pytest.mark.parametrize("least, most", [(-1.0, 3.0), (0.5, 2.0), (-2.0, -1.0)])
def test_a_range_holds_its_values(least, most):
    """256 values over the range, 0 exactly one of them: none is off by more than half a step."""
    seen = quantise.Range()
    values = torch.linspace(least, most, 1000)
    seen.see(values)
    step = (max(most, 0) - min(least, 0)) / 255
    assert (seen.quantise(values) - values).abs().max() <= 1.01 * step  # the ends give way for 0
    assert seen.quantise(torch.zeros(1)).item() == 0
