"""The plots show every point where it belongs, and a run's snapshots become one."""

import io

import pytest
from PIL import Image


from matplotlib import pyplot as plt

from tests.cli.conftest import BINARY
from tests.evaluate.conftest import shipped_model_with
from tools.evaluate import history, plots
from tools.evaluate.protocol import Result

REAL = {"ca": 0.996, "fd_train": 1.1}


def result(sampler, steps, fd, ca, eta=0.0, seeds=1, interval=None):
    each = [{"fd_train": fd + i, "ca": ca, "count": 100, "ca_half_width_95": 0.01} for i in range(seeds)]
    return Result(f"m: {sampler}", list(range(seeds)), each, each[0], 2 * steps,
                  {"model": "m", "sampler": sampler, "guidance_scale": 1.5, "eta": eta,
                   "guidance_interval": interval})


@pytest.fixture
def drawn_axes(monkeypatch):
    """What a plot drew, by label: [(x, y), ...] of each of its axes."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)

    def read(png):
        with Image.open(io.BytesIO(png)) as image:
            assert image.size[0] > 500
        found = []
        for axes in figures.pop().axes:
            found.append({bars.get_label(): [tuple(p) for p in bars.lines[0].get_xydata()]
                          for bars in axes.containers})
            low, high = sorted(axes.get_ylim())
            for points in found[-1].values():
                assert all(low < y < high or y in (0, 1) for _, y in points)
        return found

    yield read
    plt.close("all")


def test_a_line_for_each_sampler_and_eta(drawn_axes):
    results = [result("ddim", 10, 3.0, 0.97), result("ddim", 5, 9.0, 0.5),
               result("unipc", 5, 2, 1.0), result("ddim", 5, 40.0, 0.0, eta=1.0, seeds=2),
               result("unipc", 8, 1.5, 0.99, interval=[0.25, 0.75])]
    fd, ca = drawn_axes(plots.evaluations(results, REAL))
    assert fd == {"m: ddim, guidance 1.5": [(10, 9.0), (20, 3.0)],
                  "m: unipc, guidance 1.5": [(10, 2.0)],
                  "m: ddim, eta 1, guidance 1.5": [(10, 40.5)],
                  "m: unipc, guidance 1.5 in 0.25..0.75": [(16, 1.5)]}
    assert ca["m: ddim, guidance 1.5"] == [(10, 0.5), (20, 0.97)]
    assert plots.evaluations(results[:1], REAL) is None


def test_a_start_belongs_to_every_line(drawn_axes):
    points = [("EMA 0.9", 2.0, result("ddim", 5, 2.5, 0.99)),
              (None, 1.0, result("ddim", 5, 3.0, 0.98)),
              ("EMA 0.99", 2.0, result("ddim", 5, 2.0, 0.995))]
    fd, ca = drawn_axes(plots.training(points, REAL))
    assert fd == {"EMA 0.9": [(1.0, 3.0), (2.0, 2.5)], "EMA 0.99": [(1.0, 3.0), (2.0, 2.0)]}
    assert ca["EMA 0.9"] == [(1.0, 0.98), (2.0, 0.99)]


def snapshot(path, epochs):
    """The shipped model as if it had been written after so many epochs."""
    shipped_model_with(path, lambda config: config["training"].update(epochs=epochs,
                                                                      hours=epochs / 20))


def test_history_of_a_run(small_digits, tmp_path, monkeypatch, capsys, drawn_axes):
    run = tmp_path / "run"
    run.mkdir()
    snapshot(tmp_path / "start.safetensors", 30)
    arguments = ["history", str(run), "--start", str(tmp_path / "start.safetensors"), "--settings",
                 "steps=2 guidance_scale=1,2", "--count", "20", "--binary", str(BINARY),
                 "--plot", str(tmp_path / "a.png"), "--markdown", str(tmp_path / "a.md")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="no snapshots"):
        history.main()
    for epochs, decay in ((40, "0.9995"), (44, "0.9995"), (44, "0.9999")):
        snapshot(run / f"epoch-{epochs:03d}-ema-{decay}.safetensors", epochs)
    (run / "loss.csv").write_text("")
    history.main()
    out = capsys.readouterr().out
    assert out == (tmp_path / "a.md").read_text()
    assert [line.split(" | ")[1] for line in out.splitlines()[4:-1]] == [
        "40", "40", "44", "44", "44", "44"]
    assert out.count("guidance 2") == 4
    fd, _ = drawn_axes((tmp_path / "a.png").read_bytes())
    assert {name: [round(x, 2) for x, _ in line][1:] for name, line in fd.items()} == {
        "EMA 0.9995": [2.0, 2.2], "EMA 0.9999": [2.2]}


@pytest.mark.parametrize("bad", [["--count", "25"], ["--settings", "model=x"], ["--settings", "x"]])
def test_history_refuses(bad, capsys):
    with pytest.raises(SystemExit):
        history.parse(bad)
    assert "error:" in capsys.readouterr().err
