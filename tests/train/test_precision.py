"""What a run trains in: the faster of bf16 autocast and fp32 by a clock of the test's own, or as told."""

import pytest

import torch

from tools.train import consistency, precision

CPU = torch.device("cpu")


class Machine:
    """A step takes seconds[precision]; the first of each ten times as long, and one is disturbed."""

    def __init__(self, bf16, fp32):
        self.seconds, self.now, self.steps = {"bf16": bf16, "fp32": fp32}, 0.0, []

    def trial(self, autocast):
        with autocast:
            name = "bf16" if torch.is_autocast_cpu_enabled() else "fp32"
        slow = {0: 10, 2: 50}.get(self.steps.count(name), 1)
        self.steps.append(name)
        self.now += self.seconds[name] * slow

    def choose(self, wanted="auto", recipes=()):
        return precision.choose(wanted, recipes, CPU, self.trial, clock=lambda: self.now)


@pytest.mark.parametrize("bf16, fp32, faster", [(1, 2, "bf16"), (3.7, 0.9, "fp32")])
def test_the_faster_one_is_taken_and_said(bf16, fp32, faster, capsys):
    machine = Machine(bf16, fp32)
    assert machine.choose() == faster
    assert machine.steps == ["bf16", "fp32"] * (1 + precision.TRIALS)  # in turn
    said = capsys.readouterr().out
    assert f"precision {faster}: " in said
    assert f"{bf16 * 1e3:.0f} ms in bf16, {fp32 * 1e3:.0f} ms in fp32" in said


@pytest.mark.parametrize("wanted", ["bf16", "fp32"])
def test_it_can_be_forced(wanted):
    machine = Machine(1, 1)
    assert machine.choose(wanted, [{"recipe": {"precision": "bf16"}}]) == wanted
    assert machine.steps == []


def test_a_resumed_run_goes_on_as_it_was():
    machine = Machine(1, 2)
    assert machine.choose(recipes=[{"recipe": {"precision": "fp32"}}]) == "fp32"
    assert machine.steps == []
    assert machine.choose(recipes=[{"recipe": {"fp32": False}}]) == "bf16"  # of an older trainer
    assert machine.steps


def test_both_trainers_have_the_option():
    assert consistency.parse([]).precision == "auto"
    assert consistency.parse(["--precision", "fp32"]).precision == "fp32"
    with pytest.raises(SystemExit):
        consistency.parse(["--precision", "fp16"])


def test_the_last_convolution_is_right_under_autocast():
    """It rounds nothing: some versions of oneDNN are wrong by as much as the values are large."""
    torch.manual_seed(1)
    layer, x = precision.LastConvolution(32, 1, 3, padding=1), torch.randn(2, 32, 28, 28).bfloat16()
    with torch.no_grad():
        wanted = layer(x.float())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), wanted)
