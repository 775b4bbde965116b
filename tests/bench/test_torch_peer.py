"""PyTorch as a peer, the process itself: what it computes in fp32 and in bf16."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="make train installs it")

from tools.bench import __main__ as bench
from tools.bench import engines


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
            assert difference <= bench.OUTPUT_DIFFERENCE_MAX, variant
        else:  # and it does round: a process that forgot its autocast would be 1e-6 away
            assert 1e-3 < difference <= bench.BF16_DIFFERENCE_MAX, variant


def test_it_draws():
    peer = engines.torch_peer()
    [pixels] = peer.ask("sample", rows=[[7, 42, 0]], steps=2)["pixels"]
    peer.close()
    assert len(pixels) == 784 and 0 <= min(pixels) < 100 < max(pixels) <= 255
