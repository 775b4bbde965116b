"""The whole protocol on a hundred digits, the tool, and its page."""

import base64
import html.parser
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import BINARY
from tools.evaluate import __main__ as tool
from tools.evaluate import cas, network, page
from tools.evaluate.protocol import FIGURES, QUICK, Protocol, Result


@pytest.fixture
def protocol(small_digits):
    return Protocol()


def test_test_digits_score_the_floor(protocol, small_digits):
    real = protocol.real(50)
    found = protocol.figures(*small_digits["t10k"])
    assert found["fd_test"] == pytest.approx(0, abs=1e-6) and real["fd_test"] > 1, "no floor is 0"
    for figure in set(FIGURES) - {"fd_test"}:
        assert found[figure] == pytest.approx(real[figure], rel=1e-9, abs=1e-6), figure
    assert real["memory_pixels"] == 1 and 0 < real["coverage"] <= 1
    assert set(found["ca_by_label"]) == set("0123456789")


def test_floor_of_fewer_digits(protocol, small_digits):
    """FD grows as digits become fewer, so the floor does; what does not depend on it stays."""
    real, fewer = protocol.real(50), protocol.real(20)
    assert fewer["count"] == 20 and fewer["fd_train"] > real["fd_train"]
    assert fewer["ca"] == real["ca"] and fewer["kid"] == real["kid"]


def test_quick_figures_are_the_same(protocol, small_digits, monkeypatch):
    whole, real = protocol.figures(*small_digits["train"]), protocol.real(50)
    quick = Protocol(quick=True)
    monkeypatch.setattr(quick.mlp, "forward", None)
    monkeypatch.setattr(quick, "nearest_training", None)
    found = quick.figures(*small_digits["train"])
    assert [f for f in FIGURES if f in found] == list(QUICK)
    assert {f: whole[f] for f in QUICK} == {f: found[f] for f in QUICK}
    assert {f: real[f] for f in QUICK} == {f: quick.real(50)[f] for f in QUICK}
    header, rows = page.table([Result("quick", [1], [found], found)], quick.real(50))
    assert "KID x1000" not in header and "coverage" in header
    assert all(len(row) == len(header) for row in rows)


def test_copies_are_found(protocol, small_digits):
    images, labels = small_digits["train"]
    found = protocol.figures(images, labels)
    assert found["far_pixels"] == found["memory_pixels"] == found["memory_features"] == 0
    assert found["fd_train"] == pytest.approx(0, abs=1e-6) and found["coverage"] == 1
    index, far = protocol.nearest_training(images)
    np.testing.assert_array_equal(protocol.train_images[index], images)
    assert not far.any()


def test_noise_scores_badly(protocol, small_digits):
    real = protocol.real(50)
    noise = np.random.default_rng(1).integers(0, 256, (50, 28, 28), np.uint8)
    found = protocol.figures(noise, small_digits["t10k"][1])
    assert found["fd_train"] > 3 * real["fd_train"] and found["kid"] > real["kid"]
    assert found["coverage"] < real["coverage"] / 2 and found["density"] < real["density"] / 2
    assert found["memory_pixels"] > 1.2 and found["ca_mlp"] < 0.5


def test_figures_are_kept(protocol, small_digits, monkeypatch):
    first = protocol.figures(*small_digits["t10k"])
    for evaluator in (protocol.cnn, protocol.mlp):
        monkeypatch.setattr(evaluator, "forward", None)
    assert protocol.figures(*small_digits["t10k"]) == first
    with pytest.raises(TypeError):
        protocol.figures(small_digits["t10k"][0] // 2, small_digits["t10k"][1])


def test_seeds_together(protocol, small_digits):
    pieces = [small_digits["t10k"], small_digits["train"]]
    both = protocol.together(pieces)
    assert both["count"] == 100
    each = [protocol.figures(*piece) for piece in pieces]
    assert both["ca"] == pytest.approx(np.mean([f["ca"] for f in each]))
    result = Result("two", [1, 2], each, both)
    a, b = (f["density"] for f in each)
    assert result.mean("density") == pytest.approx((a + b) / 2)
    assert result.spread("density") == pytest.approx(abs(a - b) / 2 ** 0.5)
    assert Result("one", [1], each[:1], both).spread("density") is None


def run_tool(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["tools.evaluate", *map(str, arguments)])
    tool.main()
    return capsys.readouterr().out


def test_tool_on_files(small_digits, drawn, tmp_path, monkeypatch, capsys):
    images, labels = drawn
    np.save(tmp_path / "x.npy", images[:50])
    np.save(tmp_path / "labels.npy", labels[:50])
    one = run_tool(monkeypatch, capsys, "--images", tmp_path / "x.npy", "--labels",
                   tmp_path / "labels.npy", "--json", tmp_path / "a.json")
    assert one == run_tool(monkeypatch, capsys, "--images", tmp_path / "x.npy",
                           "--labels", "0,1,2,3,4")
    report = json.loads((tmp_path / "a.json").read_text())
    assert network.SHIPPED_SHA256 in report["facts"]["evaluator cnn"]
    assert network.SHIPPED_MLP_SHA256 in report["facts"]["evaluator mlp"]
    assert report["results"][0]["together"]["count"] == 50
    assert "real test digits" in one and f"{report['results'][0]['mean']['fd_train']:.3f}" in one
    for bad in ("0,1,2", "0,x", tmp_path / "x.npy"):
        with pytest.raises(SystemExit, match="--labels"):
            run_tool(monkeypatch, capsys, "--images", tmp_path / "x.npy", "--labels", bad)
    np.save(tmp_path / "x.npy", images[:50] / 255)
    with pytest.raises(SystemExit, match="--images"):
        run_tool(monkeypatch, capsys, "--images", tmp_path / "x.npy", "--labels", "1")


def test_files_of_many_images_are_cut(monkeypatch, tmp_path, drawn):
    images, labels = drawn
    monkeypatch.setattr(tool, "MOST", 40)
    np.save(tmp_path / "x.npy", images[:80])
    args = tool.parse(["--images", str(tmp_path / "x.npy"), "--labels", "0,1"])
    pieces = tool.read_images(args)
    assert [len(p) for p, _ in pieces] == [40, 40]
    got = {(image.tobytes(), label) for piece in pieces for image, label in zip(*piece)}
    assert got == {(image.tobytes(), i // 40) for i, image in enumerate(images[:80])}
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(SystemExit, match="a multiple"):
        tool.read_images(args)


class Pictures(html.parser.HTMLParser):
    """The PNGs of a page and its table cells; that nothing is asked of elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.cells, self.cell = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "iframe")
        self.cell = tag in ("td", "th")
        if tag == "img":
            kind, data = dict(attrs)["src"].split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_data(self, data):
        if self.cell:
            self.cells.append(data)


def test_tool_draws(small_digits, tmp_path, monkeypatch, capsys):
    out = run_tool(monkeypatch, capsys, "sampler=ddim,ddpm steps=2 guidance_scale=1",
                   "sampler=ddim steps=3", "--count", 20, "--seeds", 2, "--seed", 7,
                   "--binary", BINARY, "--json", tmp_path / "a.json", "--markdown", tmp_path / "a.md",
                   "--page", tmp_path / "a.html")
    results = json.loads((tmp_path / "a.json").read_text())["results"]
    assert [(r["drawing"]["sampler"], r["evaluations"], r["seeds"], r["together"]["count"])
            for r in results] == [("ddim", 2, [7, 8], 40), ("ddpm", 2, [7, 8], 40),
                                  ("ddim", 6, [7, 8], 40)]
    assert (tmp_path / "a.md").read_text() == out
    assert out.count("\n") == 2 + 3 + 1
    assert "2 x 20" in out and " \u00b1" in out
    shown = Pictures((tmp_path / "a.html").read_text())
    for line in out.splitlines()[2:]:
        assert set(filter(None, line.strip("| ").split(" | "))) <= set(shown.cells)
    # A plot; of each setting a grid (10 rows of 2 images) and two strips of pairs.
    assert len(shown.pictures) == 1 + 3 * 3
    assert shown.pictures[1].size == (2 * (2 * 29 + 1), 2 * (10 * 29 + 1))
    assert shown.pictures[2].size == (2 * (20 * 29 + 1), 2 * (2 * 29 + 1))


def test_quick_tool(small_digits, tmp_path, monkeypatch, capsys):
    out = run_tool(monkeypatch, capsys, "sampler=ddim steps=1,2", "--count", 20, "--quick",
                   "--binary", BINARY, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    report = json.loads((tmp_path / "a.json").read_text())
    assert set(report["results"][0]["mean"]) == set(QUICK)
    assert "evaluator cnn" in report["facts"] and "evaluator mlp" not in report["facts"]
    assert "KID" not in out and out.count("\n") == 2 + 2 + 1
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"


def test_sheet():
    a, b = np.full((2, 3, 4), 10, np.uint8), np.full((1, 3, 4), 20, np.uint8)
    with Image.open(io.BytesIO(page.sheet([a, b], scale=1))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (2 * 4 + 1, 2 * 5 + 1)
    assert (pixels[1:4, 1:5] == 10).all() and (pixels[1:4, 6:10] == 10).all()
    assert (pixels[5:8, 1:5] == 20).all() and (pixels[5:8, 6:10] == 96).all()


def test_nearest_of_each_class():
    images = np.arange(30, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    labels, far = np.arange(30) // 15, np.abs(np.arange(30) - 17.0)
    near, _ = page.nearest_sheets(images, labels, images + 100, np.arange(30)[::-1], far)
    with Image.open(io.BytesIO(near)) as image:
        pixels = np.asarray(image)[2::6, 2::6]
    assert pixels.tolist() == [[14, 13, 17, 16], [115, 116, 112, 113]]


@pytest.mark.parametrize("bad", [
    ["--images", "x.npy"], ["--labels", "1"], ["steps=x"], ["ddim"], ["--count", "ten"],
    ["--count", "25"], ["--count", "10010"], ["--seeds", "0"], ["--cas", "1", "--count", "7000"],
    ["--images", "x.npy", "--labels", "1", "steps=2"],
    ["--images", "x.npy", "--labels", "1", "--seeds", "2"]])
def test_tool_refuses(bad, capsys):
    with pytest.raises(SystemExit):
        tool.parse(bad)
    assert "error:" in capsys.readouterr().err


def test_classification_accuracy_score(small_digits, monkeypatch):
    """A network that learned from digits reads others; one that learned wrong labels does not."""
    from tools.evaluate import train

    recipe = train.Recipe("mlp", epochs=40, batch=25, dropout=0.0)
    images, labels = small_digits["train"]
    good = cas.scores(images, labels, 2, recipe)
    assert len(good) == 2 and min(good) > 0.3
    assert max(cas.scores(images, (labels + 5) % 10, 1, recipe)) < 0.2
    monkeypatch.setattr(train, "fit", None)
    assert cas.scores(images, labels, 2, recipe) == good
    with pytest.raises(TypeError):
        cas.scores(images, labels, 3, recipe)


@pytest.mark.parametrize("architecture", ["cnn", "mlp"])
def test_training_and_numpy_agree(architecture, drawn):
    """What is folded and run in NumPy is the network that was trained."""
    import torch  # pylint: disable=import-outside-toplevel
    from tools.evaluate.nets import NETS

    torch.manual_seed(1)
    net = NETS[architecture](0.3).train()
    images = drawn[0][::4]
    x = torch.from_numpy(images.astype(np.float32) / 255)[:, None]
    with torch.no_grad():
        for _ in range(20):  # batch norm's averages become something else than 0 and 1
            net(x)
        want = net.eval()(x).numpy()
    _, logits = network.Evaluator.of(net.folded()).forward(images)
    np.testing.assert_allclose(logits, want, atol=1e-4 * np.abs(want).max())
