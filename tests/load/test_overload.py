"""The verdicts on overload and soak: each can be a bad one."""

import pytest

from tools.bench.load.overload import breaches
from tools.soak.__main__ import medians
from tools.soak.clients import Client, Unexpected

GOOD = {"errors": 0, "unanswered": 0, "never_sent": 0, "refused": {"503": 10}, "goodput": 0.95,
        "without_retry_after": 0, "last_retry_after_s": 3, "worked_off_after_s": 2.5,
        "latency_ms": {"max": 2600}, "timeout_ms": 10000, "memory_growth": 1.01}


def test_a_good_run():
    assert not list(breaches(GOOD))


@pytest.mark.parametrize("change", [
    {"errors": 1}, {"unanswered": 1}, {"never_sent": 1}, {"refused": {}},
    {"refused": {"503": 10, "504": 1}}, {"goodput": 0.89}, {"without_retry_after": 1},
    {"last_retry_after_s": 6}, {"last_retry_after_s": 1}, {"latency_ms": {"max": 10001}},
    {"memory_growth": 1.2}], ids=str)
def test_a_bad_run(change):
    assert len(list(breaches({**GOOD, **change}))) == 1


def test_medians_of_the_middle_and_the_end():
    samples = [(second, 100 if second < 8 else 200, 5) for second in range(10)]
    assert medians(samples, 1) == (100, 200) and medians(samples, 2) == (5, 5)


def test_other_pixels_are_unexpected():
    client = Client(1, 1, {})
    client.compare("model", 7, 1, "sha256:a")
    client.compare("model", 7, 1, "sha256:a")
    client.compare("other", 7, 1, "sha256:b")
    with pytest.raises(Unexpected):
        client.compare("model", 7, 1, "sha256:b")
