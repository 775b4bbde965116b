"""The few-step trainer: trajectories, sampling, and a run that is killed and resumed."""

import csv
import json
import struct
import types

import pytest

import torch

from tools.train import consistency, diffusion, quality, trajectories
from tools.train.trajectories import LEVELS, Pool, make_shard, shard_start
from tools.train.unet import UNet

N = 4  # trajectories in a shard of these tests


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(trajectories, "SHARD", N)


@pytest.fixture(scope="module")
def digits():
    g = torch.Generator().manual_seed(1)
    return torch.rand(20, 1, 28, 28, generator=g) * 2 - 1, torch.arange(20) % 10


def velocity(x, t, label):
    """A teacher whose ODE is known: v of the distribution that is one image, grey by label."""
    k = (t.double() * diffusion.T).round().long() - 1
    a = diffusion.MNIST.alphas[k].sqrt().float()[:, None, None, None]
    s = (1 - a * a).sqrt()
    grey = (label.float() / 10)[:, None, None, None].expand_as(x)
    return a * (x - a * grey) / s - s * grey


def shard(digits, number, teacher=velocity, guidance=1.5):
    return make_shard(teacher, *digits, guidance, seed=1, number=number)


def test_trajectories_end_where_the_ode_does(digits):
    made = shard(digits, 0, guidance=1)
    assert made.states.shape == (N, len(LEVELS) + 1, 1, 28, 28)
    grey = (made.label.float() / 10)[:, None, None, None].expand_as(made.states[:, -1])
    assert torch.allclose(made.states[:, -1].float(), grey, atol=1e-3)
    noise = made.states[:, 0].float()
    for j, k in enumerate(LEVELS):  # of one image the ODE keeps the noise
        a, s = diffusion.MNIST.level(k)
        assert torch.allclose(made.states[:, j].float(), a * grey + s * noise, atol=0.02)


def test_guidance_reaches_the_teacher(digits):
    """Label 2 against the null label 10: 1.0 + 1.5 (0.2 - 1.0) = -0.2."""
    made = shard(digits, 0)
    grey = (1 + 1.5 * (made.label.float() / 10 - 1)).clamp(-1, 1)
    end = made.states[:, -1].float()
    assert torch.allclose(end, grey[:, None, None, None].expand_as(end), atol=1e-3)


def test_shards_begin_at_every_level(digits):
    starts = [shard_start(number) for number in range(2 * len(LEVELS))]
    assert starts[::2] == [0] * len(LEVELS)
    assert set(starts) == set(range(len(LEVELS)))
    for number in (1, 5):
        made = shard(digits, number)
        assert made.states.shape[1] == len(LEVELS) - shard_start(number) + 1


def test_pool_keeps_and_finds(digits, tmp_path):
    made = []

    def make(number):
        made.append(number)
        return shard(digits, number)

    pool = Pool(tmp_path, make)
    pool.grow(4)
    again = Pool(tmp_path, make)
    again.grow(5)
    assert made == [0, 1, 2, 3, 4]
    j = torch.arange(len(LEVELS)).repeat(5)
    batch = again.batch(j, torch.Generator().manual_seed(2))
    for index, here, image, label in zip(j.tolist(), *batch):
        found = [(s, i) for s in again.shards for i in range(N)
                 if s.start <= index and torch.equal(s.states[i, index - s.start].float(), here)]
        (s, i), = found
        assert torch.equal(s.states[i, -1].float(), image)
        assert s.label[i] == label


def test_levels_are_drawn_by_weight():
    weights = [3, 0, 1] + [0] * (len(LEVELS) - 3)
    j = consistency.level_indices(400, weights, torch.Generator().manual_seed(1))
    assert j.bincount(minlength=3).tolist() == [300, 0, 100]


def test_sampling_adds_fresh_noise():
    seen = []

    def net(x, t, label):
        seen.append(x)
        return velocity(x, t, label)

    noise = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([2, 7])
    x = diffusion.MNIST.consistency(net, noise, label, [999, 399], torch.Generator().manual_seed(2))
    assert torch.allclose(x[:, 0, 0, 0], label / 10, atol=1e-3)
    a, s = diffusion.MNIST.level(399)
    fresh = (seen[1] - a * label[:, None, None, None] / 10) / s
    assert abs(fresh.std().item() - 1) < 0.1  # 1568 values: three deviations are 0.05
    assert abs((fresh * noise).mean().item()) < 0.1


def test_learning_rate():
    args = consistency.parse(["--steps", "1000", "--warmup", "10", "--decay", "0.3", "--lr", "1"])
    rates = [consistency.learning_rate(step, args) for step in range(1000)]
    assert rates[0] == 0.1 and rates[10] == rates[699] == 1
    assert rates[850] == pytest.approx(0.5) and 0 < rates[999] < 0.01
    longer = consistency.parse(["--steps", "2000", "--warmup", "10", "--decay", "0.3", "--lr", "1"])
    assert all(consistency.learning_rate(step, longer) == rate
               for step, rate in enumerate(rates[:700]))


def test_every_sampling_timestep_is_trained():
    for n, ks in consistency.SCHEDULES.items():
        assert len(ks) == n and ks[0] == diffusion.T - 1
        assert ks == sorted(ks, reverse=True) and set(ks) <= set(LEVELS)


class Judge:
    """Instead of the evaluator, which wants the real digits."""

    def __init__(self, _count, _device):
        pass

    def student(self, _net, ks):
        row = ["consistency", len(ks), "999", 100, "0.9", "5"]
        return row, torch.zeros(100, 28, 28, dtype=torch.uint8).numpy()

    def teacher(self, *_):
        return ["dpmpp_2m", 20, "999", 100, "0.99", "2"], None


def test_a_resumed_run_is_the_run(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(consistency, "Digits",
                        lambda device: types.SimpleNamespace(images=digits[0], labels=digits[1]))
    monkeypatch.setattr(quality, "Judge", Judge)
    torch.manual_seed(1)
    torch.save({"ema": UNet().state_dict(), "step": 1}, tmp_path / "base.pt")

    def run(name, *options):
        args = consistency.parse([
            "--run", str(tmp_path / name), "--base", str(tmp_path / "base.pt"),
            "--trajectories", str(tmp_path / "trajectories"), "--shards", "2", "--shard-every", "2",
            "--steps", "4", "--batch", "4", "--warmup", "1", "--quality-count", "100",
            "--threads", "1", *options])
        consistency.run(args)
        return torch.load(tmp_path / name / "checkpoint.pt")

    whole = run("whole")
    part = run("parts", "--max-steps", "2")
    assert part["step"] == 2
    resumed = run("parts", "--resume", "--lr", "2e-3", "--max-steps", "2")  # nothing left to do
    assert resumed["step"] == 2
    parts = run("parts", "--resume")
    assert parts["step"] == whole["step"] == 4
    for kind in ("model", "ema"):
        for name, value in whole[kind].items():
            assert torch.equal(value, parts[kind][name]), (kind, name)
    base = torch.load(tmp_path / "base.pt")["ema"]
    assert any(not torch.equal(base[name], value) for name, value in whole["ema"].items())
    with pytest.raises(SystemExit, match="--resume"):
        run("whole")
    rows = list(csv.DictReader(open(tmp_path / "parts" / "quality.csv")))
    assert [(r["step"], r["evaluations"]) for r in rows] == [
        ("0", "20")] + [(step, n) for step in ("2", "4") for n in ("1", "2", "4")]
    assert (tmp_path / "parts" / "quality.png").exists()
    run("parts", "--export", str(tmp_path / "fast.safetensors"))
    length, = struct.unpack("<Q", (tmp_path / "fast.safetensors").read_bytes()[:8])
    header = json.loads((tmp_path / "fast.safetensors").read_bytes()[8:8 + length])
    sampling = json.loads(header["__metadata__"]["denoised.config"])["sampling"]
    assert sampling["timesteps"] == {str(n): ks for n, ks in consistency.SCHEDULES.items()}
    assert set(header) - {"__metadata__"} == set(whole["ema"])
