"""Model files as other programs write them, and files that are no models."""

import gzip
import hashlib
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from tests.cli.conftest import MODEL

DRAW = ("--label", "7", "--seed", "3", "--steps", "2", "--sampler", "ddim", "--guidance-scale", "1",
        "--precision", "fp32")


def shipped():
    """The shipped file's header and its tensors."""
    raw = MODEL.read_bytes()
    length, = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    return header, {name: np.frombuffer(data[slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
                    for name, t in header.items() if name != "__metadata__"}


def halves(values):
    return values.astype("<f2").tobytes()


def bf16(values):
    """The upper half of each, rounded to the nearest, to even between two."""
    bits = values.view("<u4").astype(np.uint64)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def floats(values):
    return values.astype("<f4").tobytes()


def back(dtype, data):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")


def write(path, tensors, remainder=0):
    """tensors: {name: (dtype, shape, bytes)}. The header is `remainder` bytes above a multiple of 8."""
    header, at = {"__metadata__": shipped()[0]["__metadata__"]}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * ((remainder - len(text)) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(d for _, _, d in tensors.values()))
    return path


def drawn(sample, path):
    sample("--model", path, *DRAW, "-o", "x.npy")
    return np.load(path.parent / "x.npy")


@pytest.mark.parametrize("dtype, pack, remainder", [
    ("F32", floats, 1), ("F32", floats, 4), ("F32", floats, 6), ("F16", halves, 0), ("F16", halves, 3),
    ("BF16", bf16, 0), ("BF16", bf16, 5)])
def test_tensors_of_other_writers(run, sample, tmp_path, dtype, pack, remainder):
    """Unpadded headers as MLX's, half precision: the images of the same numbers in F32, padded."""
    _, tensors = shipped()
    packed = {name: (dtype, v.shape, pack(v)) for name, v in tensors.items()}
    path = write(tmp_path / "other.safetensors", packed, remainder)
    same = write(tmp_path / "same.safetensors",
                 {name: ("F32", shape, floats(back(dtype, data)))
                  for name, (_, shape, data) in packed.items()})
    pixels = drawn(sample, path)
    assert (pixels == drawn(sample, same)).all()
    assert pixels.min() < pixels.max()
    [model] = json.loads(run("info", "--json", "--model", path).stdout)["models"]
    assert model["digest"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert model["file_bytes"] == path.stat().st_size


def test_mixed_types(sample, tmp_path):
    """Norms and biases in F32 among halves: none of them aligned, in the end."""
    _, tensors = shipped()
    packed = {name: ("F32", v.shape, floats(v)) if v.ndim == 1 else ("F16", v.shape, halves(v))
              for name, v in tensors.items()}
    same = {name: ("F32", shape, floats(back(dtype, data)))
            for name, (dtype, shape, data) in packed.items()}
    assert (drawn(sample, write(tmp_path / "mixed.safetensors", packed, 7))
            == drawn(sample, write(tmp_path / "same.safetensors", same))).all()


def zip_file(path):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", pickle.dumps({}))


OTHERS = {
    "a Git LFS pointer, which stands for the model: run `git lfs pull`":
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
    "an HTML page": lambda p: p.write_text("<!doctype html><title>Sign in</title>"),
    "a ZIP archive, as PyTorch's .pt files are": zip_file,
    "a Python pickle": lambda p: p.write_bytes(pickle.dumps({"a": [1.5]})),
    "compressed with gzip": lambda p: p.write_bytes(gzip.compress(MODEL.read_bytes()[:4096])),
    "an empty file": lambda p: p.write_bytes(b""),
    "JSON text": lambda p: p.write_text('{"weight_map": {}}'),
    "text: was an error": lambda p: p.write_text("Entry not found"),
    "nothing but zeros": lambda p: p.write_bytes(bytes(4096)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_model_is_named(run, tmp_path, kind):
    path = tmp_path / "m.safetensors"
    OTHERS[kind](path)
    done = run("info", "--model", path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"load {path}: not a safetensors file but {kind}" in done.stderr


@pytest.mark.parametrize("size, text", [(5, "truncated: 5 bytes"), (1000, "truncated: a header of"),
                                        (-4, "is the file truncated?")])
def test_truncated(run, tmp_path, size, text):
    path = tmp_path / "m.safetensors"
    path.write_bytes(MODEL.read_bytes()[:size])
    done = run("info", "--model", path)
    assert done.returncode == 1 and text in done.stderr


CONTROLS = "\x1b]0;x\x07\x1b[2J\x9b1m\x7f\u202e"


def is_shown_safely(text):
    return not any(c != "\n" and (c < " " or "\x7f" <= c <= "\x9f" or c == "\u202e") for c in text)


def edited(path, edit, dump=json.dumps):
    """The shipped model after edit(config)."""
    raw = MODEL.read_bytes()
    length, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    config = json.loads(header["__metadata__"]["denoised.config"])
    edit(config)
    header["__metadata__"]["denoised.config"] = dump(config)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length:])
    return path


def pretty(config):
    return json.dumps(config, indent="\t", ensure_ascii=False)


def test_a_models_text_does_not_reach_a_terminal_as_it_is(run, tmp_path):
    """Class names and comments of a hostile model, in a config of many lines."""
    def edit(config):
        config["classes"][7] = CONTROLS
        config["training"] = {"comment": "\x9b2J\u202e"}

    path = edited(tmp_path / "m.safetensors", edit, pretty)
    done = run("info", "--model", path)
    assert done.returncode == 0 and is_shown_safely(done.stdout)
    assert r"7=\u001b]0;x\u0007\u001b[2J\u009b1m\u007f\u202e" in done.stdout
    config, = [line for line in done.stdout.splitlines() if line.startswith("config ")]
    assert json.loads(config[len("config "):])["training"] == {"comment": "\x9b2J\u202e"}
    done = run("info", "--json", "--model", path)
    assert is_shown_safely(done.stdout)
    [model] = json.loads(done.stdout)["models"]
    assert model["classes"][7] == model["config"]["classes"][7] == CONTROLS


@pytest.mark.parametrize("command", [["info"], ["bench"], ["sample", "--label", "1", "-o", "x.png"],
                                     ["serve", "--listen", "127.0.0.1:0"]])
@pytest.mark.parametrize("place", ["tensor", "field", "name"])
def test_nor_in_an_error(run, tmp_path, command, place):
    config = json.loads(shipped()[0]["__metadata__"]["denoised.config"])
    if place == "field":
        config[CONTROLS] = 1
    header = {"__metadata__": {"denoised.config": json.dumps(config)}}
    if place == "tensor":
        header[CONTROLS] = 1
    text = json.dumps(header).encode()
    path = tmp_path / (CONTROLS.replace("/", "") + ".safetensors" if place == "name" else "m.safetensors")
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    done = run(*command, "--model", path)
    assert done.returncode == 1 and is_shown_safely(done.stderr)
    assert r"\u001b[2J" in done.stderr


def test_strings_of_a_config_hold_no_raw_control(run, tmp_path):
    path = edited(tmp_path / "m.safetensors", lambda config: None,
                  lambda config: json.dumps({**config, "training": "@"}).replace("@", "\x1b"))
    done = run("info", "--model", path)
    assert done.returncode == 1 and "config: a control character in a string" in done.stderr
