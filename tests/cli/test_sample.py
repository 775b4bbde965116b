"""`denoised sample`: labels, seeds, files, and the same pixels whatever the threads and batches."""

import json
import os
import pty
import re
import resource
import select
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import BINARY, DEADLINE_S, clean_environment, write_model

FAST = ("--sampler", "ddim", "--steps", 3, "--guidance-scale", 1)


def arrays(folder, name="x.npy"):
    array = np.load(folder / name)
    assert array.dtype == np.uint8
    return array


def test_array(sample, tmp_path):
    done = sample("--label", "3,seven,0", "-n", 2, "--seed", 5, *FAST, "-o", "x.npy")
    assert done.stderr == ""
    assert re.fullmatch(r"x\.npy: 6 images of mnist, seed 5, ddim 3 steps, guidance 1, eta 0, "
                        r"\S+, [\d.]+ s\n", done.stdout)
    images = arrays(tmp_path)
    assert images.shape == (6, 28, 28)
    assert len({i.tobytes() for i in images}) == 6
    assert images.min() < 30 and images.max() > 200
    assert os.listdir(tmp_path) == ["x.npy"]


@pytest.mark.parametrize("flags", [
    ("--sampler", "dpmpp_2m", "--steps", 4, "--guidance-scale", 1.5),
    ("--sampler", "ddpm", "--steps", 3, "--guidance-scale", 2),
    ("--sampler", "dpmpp_2m", "--steps", 5, "--guidance-scale", 2, "--guidance-interval", "0.2,0.7"),
    ("--sampler", "ddim", "--steps", 3, "--guidance-scale", 1, "--eta", 0.5),
], ids=lambda f: f[1])
def test_the_same_pixels_always(sample, tmp_path, flags):
    drawn = []
    for threads, batch in ((1, 2), (1, 16), (2, 3), (3, 8), (1, 2)):
        sample("--label", "all", "-n", 2, "--seed", 42, *flags, "--threads", threads,
               "--max-batch", batch, "-o", "x.npy")
        drawn.append((tmp_path / "x.npy").read_bytes())
    assert len(set(drawn)) == 1
    sample("--label", "all", "-n", 2, "--seed", 43, *flags, "-o", "x.npy")
    assert (tmp_path / "x.npy").read_bytes() != drawn[0]


def test_guidance_interval(sample, tmp_path):
    def drawn(*flags):
        done = sample("--label", "3,8", "--seed", 4, "--sampler", "dpmpp_2m", "--steps", 5, *flags,
                      "-o", "x.npy")
        return done.stdout, (tmp_path / "x.npy").read_bytes()

    said, some = drawn("--guidance-scale", 3, "--guidance-interval", "0.2,0.7")
    assert ", guidance 3 in 0.2..0.7, " in said
    said, all_steps = drawn("--guidance-scale", 3, "--guidance-interval", "0,1")
    assert ", guidance 3, " in said
    assert drawn("--guidance-scale", 3)[1] == all_steps
    _, unguided = drawn("--guidance-scale", 1)
    assert len({some, all_steps, unguided}) == 3
    assert drawn("--guidance-scale", 3, "--guidance-interval", "0.1,0.2")[1] == unguided


def test_files_agree(sample, tmp_path):
    """The same images as an array, a file each, and a grid, with what the PNGs say of themselves."""
    asked = ("--label", "4,2", "-n", 3, "--seed", 7, *FAST)
    sample(*asked, "-o", "x.npy")
    images = arrays(tmp_path)
    sample(*asked, "-o", "out-%03d.png")
    for i in range(6):
        with Image.open(tmp_path / f"out-{i:03d}.png") as png:
            assert png.mode == "L"
            np.testing.assert_array_equal(np.asarray(png), images[i])
            about = json.loads(png.text["denoised"])
        params = about["params"]
        assert params["label"] == (4, 2)[i // 3]
        assert (params["seed"], params["index"], params["steps"]) == (7, i, 3)
        assert params["sampler"] == "ddim" and params["guidance_scale"] == 1 and params["eta"] == 0
        assert about["model"]["digest"].startswith("sha256:")
        assert about["determinism"]["precision"] in ("fp32", "bf16")
    sample(*asked, "--scale", 2, "-o", "grid.png")
    with Image.open(tmp_path / "grid.png") as png:
        sheet = np.asarray(png)
        assert json.loads(png.text["denoised"])["params"]["labels"] == [4, 2]
    cells = images.reshape(2, 3, 28, 28).transpose(0, 2, 1, 3).reshape(56, 84)
    np.testing.assert_array_equal(sheet, cells.repeat(2, 0).repeat(2, 1))


def test_one_image(sample, tmp_path):
    sample("--label", 8, "--seed", 1, *FAST, "-o", "one.png", "--scale", 3)
    sample("--label", "eight", "--seed", 1, *FAST, "-o", "x.npy")
    with Image.open(tmp_path / "one.png") as png:
        np.testing.assert_array_equal(np.asarray(png)[1::3, 1::3], arrays(tmp_path)[0])


def test_grid_of_one_label(sample, tmp_path):
    """Nearly square, black where no image is."""
    sample("--label", 8, "-n", 5, "--seed", 1, *FAST, "-o", "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (2 * 28, 3 * 28)
    assert not sheet[28:, 2 * 28:].any() and sheet[28:, 28:2 * 28].any()


def test_drawn_seed_is_printed(sample, tmp_path):
    seeds = []
    for name in ("a.npy", "b.npy"):
        out = sample("--label", 1, *FAST, "-o", name).stdout
        seeds.append(int(re.search(r"seed (\d+)", out)[1]))
        assert 0 <= seeds[-1] < 2**53
    assert seeds[0] != seeds[1]
    sample("--label", 1, *FAST, "--seed", seeds[0], "-o", "c.npy")
    assert (tmp_path / "c.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
    assert (tmp_path / "b.npy").read_bytes() != (tmp_path / "a.npy").read_bytes()


@pytest.mark.parametrize("flag, value, word", [
    ("--label", "10", "'10'"),
    ("--label", "-1", "'-1'"),
    ("--label", "ten", "'ten'"),
    ("--label", "Seven", "'Seven'"),
    ("--label", "1,,2", "''"),
    ("--label", "1,", "''"),
    ("--label", "1 ,2", "'1 '"),
    ("--label", "99999999999999999999", "'99999999999999999999'"),
    ("--steps", "1001", "1..1000 expected"),
    ("--output", "x.jpg", ".png or .npy"),
    ("--output", "png", ".png or .npy"),
    ("--output", "x-%s.png", "%d"),
    ("--output", "x-%d-%d.png", "%d"),
    ("--output", "x-%n.png", "%d"),
    ("--output", "x-%0999999999999d.png", "%d"),
    ("--output", "x-%d.npy", "no %d"),
    ("--output", 5000 * "x" + ".png", "bytes"),
])
def test_refused(run, tmp_path, flag, value, word):
    flags = {"--label": "7", "--output": "x.png", flag: value}
    done = run("sample", *(f"{k}={v}" for k, v in flags.items()))
    assert done.returncode == 2
    assert done.stderr.startswith(f"denoised: {flag}:") and word in done.stderr
    assert done.stdout == "" and os.listdir(tmp_path) == []


def test_refused_together(run):
    for flags, name in ((("--sampler", "ddpm", "--eta", 0.5), "--eta"),
                        (("-o", "x.npy", "--scale", 2), "--scale"),
                        (("-n", 1000000, "--label", "all", "--scale", 32), "--output")):
        flags = list(map(str, flags))
        rest = [a for a, f in (("--label=7", "--label"), ("--output=x.png", "-o")) if f not in flags]
        done = run("sample", *flags, *rest)
        assert done.returncode == 2 and done.stderr.startswith(f"denoised: {name}:"), done.stderr


PRESETS = {"fast": {"sampler": "ddim", "steps": 3, "guidance_scale": 1},
           "lively": {"sampler": "ddim", "steps": 3, "guidance_scale": 1, "eta": 1}}


def test_presets(run, sample, tmp_path):
    write_model(tmp_path / "named.safetensors", presets=PRESETS)
    model = ("--model", "named.safetensors", "--label", 7, "--seed", 1)
    done = sample(*model, "--preset", "fast", "--eta", 0.5, "-o", "a.npy")
    assert "ddim 3 steps, guidance 1, eta 0.5," in done.stdout
    sample(*model, *FAST, "--eta", 0.5, "-o", "b.npy")
    sample(*model, "--preset", "lively", "-o", "c.npy")
    a, b, c = (arrays(tmp_path, f"{name}.npy").tobytes() for name in "abc")
    assert a == b != c
    for flags, name, word in ((("--preset=best",), "--preset", "model named has no preset"),
                              (("--preset=fast", "--steps=3"), "--steps", "preset fast sets it"),
                              (("--preset=fast", "--sampler=ddim"), "--sampler", "preset fast sets it"),
                              (("--preset=fast", "--guidance-scale=1"), "--guidance-scale", "preset fast"),
                              (("--preset=lively", "--eta=0"), "--eta", "preset lively sets it")):
        done = run("sample", *model, *flags, "-o", "x.npy")
        assert done.returncode == 2 and done.stderr.startswith(f"denoised: {name}:") and word in done.stderr
    text = run("info", "--model", "named.safetensors").stdout
    assert "\npresets     fast: ddim, 3 steps, guidance 1; lively: ddim, 3 steps, guidance 1, eta 1\n" in text


@pytest.mark.parametrize("field, value, text", [
    ("sampler", "consistency", "sampler: not among sampling.samplers"),
    ("sampler", "euler", "sampler: not among sampling.samplers"),
    ("steps", 1001, "steps: 1..1000 expected"),
    ("eta", 1, "eta: sampler dpmpp_2m has none"),
])
def test_presets_beyond_the_model_are_refused(run, tmp_path, field, value, text):
    preset = {"sampler": "dpmpp_2m", "steps": 3, "guidance_scale": 1, field: value}
    write_model(tmp_path / "named.safetensors", presets={"fast": preset})
    done = run("sample", "--model", "named.safetensors", "--label", 7, "-o", "x.npy")
    assert done.returncode == 1
    assert done.stderr == f"denoised: load named.safetensors: config: sampling.presets.fast.{text}\n"


def test_presets_keep_to_fixed_guidance(run, tmp_path):
    fast = {"sampler": "ddim", "steps": 3, "guidance_scale": 1}
    write_model(tmp_path / "named.safetensors", fixed_guidance_scale=1.5,
                default={**fast, "guidance_scale": 1.5}, presets={"fast": fast})
    done = run("sample", "--model", "named.safetensors", "--label", 7, "-o", "x.npy")
    assert "sampling.presets.fast.guidance_scale: 1.5 expected" in done.stderr


def test_no_such_folder(run):
    for name in ("none/x.png", "none/x-%d.png", "none/x.npy"):
        done = run("sample", "--label", 7, *FAST, "-o", name)
        assert done.returncode == 1 and "none/x" in done.stderr and done.stdout == ""


def test_a_full_disk_leaves_nothing_behind(run, tmp_path):
    for name in ("x.npy", "x.png", "x-%d.png"):
        done = run("sample", "--label", 7, "-n", 9, *FAST, "-o", name, restore_signals=False,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)))
        assert done.returncode == 1, done
        assert "denoised: write x" in done.stderr
        assert os.listdir(tmp_path) == []


def test_broken_model(run, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    for name in ("bad.safetensors", "none.safetensors"):
        done = run("sample", "--label", 7, "-o", "x.png", "--model", name)
        assert done.returncode == 1 and name in done.stderr and done.stderr.count("\n") == 1


def test_progress_on_a_terminal(tmp_path):
    ours, theirs = pty.openpty()
    with subprocess.Popen([BINARY, "sample", "--label", "all", "-n", "6", "--seed", "1", "--steps",
                           "10", "-o", "x.npy"], cwd=tmp_path, env=clean_environment(),
                          stdout=subprocess.DEVNULL, stderr=theirs) as program:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], DEADLINE_S)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal's other end is closed
                break
        assert program.wait(DEADLINE_S) == 0
    os.close(ours)
    assert re.search(rb"\r\[[#.]{30}\] +\d+ %  \d+/60 images  [\d.e+]+/s  \d+:\d\d to go", shown)
    assert shown.endswith(b"\r\x1b[K"), "the bar is wiped at the end"
