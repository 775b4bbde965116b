"""The plots of a made-up run, and how names are kept apart."""

import pytest

from tools.bench import __main__ as bench
from tools.bench import plots


def test_names_are_kept_apart():
    heights = plots.spread_labels([0, 0.01, 0.02, 1], 0.1)
    assert heights == pytest.approx([-0.09, 0.01, 0.11, 1])
    assert plots.spread_labels([0.5, 0.2], 0.1) == pytest.approx([0.2, 0.5])
    assert plots.spread_labels([], 0.1) == []


def test_draw_all(run, tmp_path):
    plots.draw_all(run, tmp_path)
    for name in ("batch.png", "roofline.png", "operations.png"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"\x89PNG") and 5_000 < len(data) < 200_000, name


def test_draw_what_there_is(run, tmp_path):
    run.update(profiles={}, peaks={})
    plots.draw_all(run, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["batch.png"]


@pytest.mark.parametrize("flags", [["--engines", "nonsense"], ["--batches", "3"], ["--batches", "0"],
                                   ["--rounds", "0"], ["--seconds", "0"], ["--threads", "x"]])
def test_flags_are_checked(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        bench.parse(flags)
    assert ended.value.code == 2 and flags[0] in capsys.readouterr().err
