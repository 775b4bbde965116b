"""Ratios, targets and operations of a made-up run."""

import pytest

from tools.bench import figures
from tools.bench.figures import Figure, Timings


def test_ratio_is_of_pairs(run):
    t = Timings(run["timings"])
    found = figures.ratio(t.cell("torch", 8), t.cell("fp32", 8))
    # The slow round slowed both, so it is no spread of the ratio, though it is one of the times.
    assert found == Figure(4, 4, 4)
    assert t.figure("torch", 8).p90 > 6


def test_ratio_wants_rounds_of_both():
    assert figures.ratio({0: 3.0, 1: 8.0}, {1: 2.0, 2: 5.0}) == Figure(4, 4, 4)
    assert figures.ratio({0: 3.0}, {1: 2.0}) is None
    assert figures.ratio({}, {}) is None


def test_best_is_of_each_round(run):
    assert Timings(run["timings"]).best("ort") == {0: 3.0, 1: 6.0, 2: 3.0}


def test_targets(run):
    found = {t.text: (round(t.value.median, 3), t.verdict()) for t in figures.targets(run) if t.value}
    assert found["fp32, batch 1: ONNX Runtime's best batch takes x times as long"] == (3, "met")
    assert found["fp32, batch 8: x times oneDNN's fp32 convolutions alone"] == (1.25, "met")
    text = "bf16, batch {}: ONNX Runtime's best batch (fp32) takes x times as long"
    assert found[text.format(1)] == (12, "met")
    assert found["AVX2, batch 8: ONNX Runtime's best batch on AVX2 takes x times as long"] == (1.2, "met")
    assert found["fp32, 16 images: two workers do x times the work of one"] == (1.9, "met")


@pytest.mark.parametrize("engine, factor, wanted", [("fp32", 1.3, "not met"), ("fp32", 1.0, "met")])
def test_a_target_can_be_missed(run, engine, factor, wanted):
    for r in run["timings"]:
        if r["engine"] == engine:
            r["ms"] = [ms * factor for ms in r["ms"]]
    verdicts = {t.text: t.verdict() for t in figures.targets(run)}
    assert verdicts["fp32, batch 8: x times oneDNN's fp32 convolutions alone"] == wanted


def test_what_was_not_timed_is_not_met(run):
    run["timings"] = [r for r in run["timings"] if r["engine"] != "ort"]
    verdicts = {t.text: t.verdict() for t in figures.targets(run)}
    assert verdicts["fp32, batch 1: ONNX Runtime's best batch takes x times as long"] == "not measured"


def test_operations_of_one_name_are_one(run):
    up, norm = figures.operations(run["profiles"]["fp32"])
    assert (up["name"], up["ms"], up["gflops"]) == ("up", 0.04, pytest.approx(100))
    # Two parts of 2 MFLOP, each with 100 bytes of maps and a batch's eighth of 800 of weights.
    assert up["flops_per_byte"] == 4e6 / 400
    assert norm["gflops"] == 0
    assert figures.share_of_peak(run, "fp32", "avx512") == pytest.approx(0.5)
    assert figures.share_of_peak(run, "bf16", "avx512") is None
