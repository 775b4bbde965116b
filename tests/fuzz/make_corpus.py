"""Seeds of the fuzz corpora: small good files and texts, and some that are broken in one way each.

    /usr/bin/python3 -m tests.fuzz.make_corpus
"""

import gzip
import hashlib
import json
import pathlib
import pickle
import struct
import zlib

from tests.fuzz import seeds

CORPUS = pathlib.Path(__file__).parent / "corpus"
CONFIG = {
    "format_version": 1,
    "architecture": {"type": "unet_st", "channels": [2, 2], "context_dim": 2, "time_dim": 2,
                     "heads": 1, "depth": 1, "groups": 2, "time_embedding": "gaussian_fourier"},
    "image": {"channels": 1, "height": 4, "width": 4, "range": [-1, 1]},
    "classes": ["a", "b"],
    "null_label": True,
    "diffusion": {"prediction": "v_prediction", "timesteps": 4, "beta_schedule": "linear",
                  "beta_start": 0.1, "beta_end": 0.2, "time_divisor": 4, "time_offset": 1,
                  "clip_sample": True},
    "sampling": {"samplers": ["ddim"],
                 "default": {"sampler": "ddim", "steps": 2, "guidance_scale": 1},
                 "presets": {"fast": {"sampler": "ddim", "steps": 1, "guidance_scale": 1, "eta": 1}}},
    "training": {},
}


def shapes(c=2, e=2, t=2):
    """The tensors of unet_st with channels [c, c]."""
    def res(name, i, o):
        return {f"{name}.conv.weight": [o, i, 3, 3], f"{name}.conv.bias": [o],
                f"{name}.time_lin.weight": [o, t], f"{name}.time_lin.bias": [o],
                f"{name}.norm.weight": [o], f"{name}.norm.bias": [o]}

    out = {"context_embed.weight": [3, e], "time_embed.W": [t // 2],
           "time_embed.proj.weight": [t, t], "time_embed.proj.bias": [t]}
    out.update(res("encoder.0.res_blocks.0", 1, c))
    out.update(res("encoder.0.res_blocks.1", c, c))
    out["encoder.0.downsampling.weight"] = [c, c, 3, 3]
    out.update(res("mid_block.res1", c, c))
    out.update(res("mid_block.res2", c, c))
    b = "mid_block.st.blocks.0"
    for n in (1, 2, 3):
        out[f"{b}.norm{n}.weight"] = [c]
        out[f"{b}.norm{n}.bias"] = [c]
    for p in "qkv":
        out[f"{b}.self_attn.{p}_proj.weight"] = [c, c]
        out[f"{b}.cross_attn.{p}_proj.weight"] = [c, c if p == "q" else e]
    for n in (0, 2):
        out[f"{b}.mlp.{n}.weight"] = [c, c]
        out[f"{b}.mlp.{n}.bias"] = [c]
    out["mid_block.st.proj_out.weight"] = [c, c, 1, 1]
    out["mid_block.st.proj_out.bias"] = [c]
    out["decoder.0.upsampling.weight"] = [c, c, 3, 3]
    out.update(res("decoder.0.res_blocks.0", 2 * c, c))
    out.update(res("decoder.0.res_blocks.1", c, c))
    out.update({"proj.0.weight": [c], "proj.0.bias": [c], "proj.2.weight": [1, c, 3, 3],
                "proj.2.bias": [1]})
    return out


QUARTER = {"F32": b"\x00\x00\x80\x3e", "F16": b"\x00\x34", "BF16": b"\x80\x3e"}  # 0.25


def model(config=None, change=None, dtype="F32", remainder=0):
    """A whole model file, its header as many bytes above a multiple of 8; change(header, data) may
    spoil it."""
    header = {"__metadata__": {"denoised.config": json.dumps(config or CONFIG)}}
    at = 0
    for name, shape in shapes().items():
        size = len(QUARTER[dtype])
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    data = bytearray(QUARTER[dtype] * (at // len(QUARTER[dtype])))
    if change:
        change(header, data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((remainder - len(text)) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


def without(name):
    return lambda header, data: header.pop(name)


def spoil(name, field, value):
    return lambda header, data: header[name].update({field: value})


def nan(header, data):
    data[0:4] = struct.pack("<f", float("nan"))


def config_with(path, value):
    config = json.loads(json.dumps(CONFIG))
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


def write(name, files):
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    print(f"{len(files)} files in {name}")


def chunk(kind, data, crc=None):
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width=4, height=4, depth=8, color=0, interlace=0, lines=None, texts=(b"{}",), extra=b"",
        end=b""):
    """A PNG file; `texts` are iTXt chunks denoised, `extra` goes before the pixels, `end` last."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    if lines is None:
        lines = (b"\0" + bytes(width * channels * depth // 8)) * height
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + b"".join(chunk(b"iTXt", b"denoised\0\0\0\0\0" + text) for text in texts)
            + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"") + end)


def png_files():
    good = png()
    bomb = zlib.compress(bytes(1 << 20))
    return {
        "good": good,
        "rgb": png(color=2),
        "empty": b"",
        "truncated": good[:-20],
        "wrong-crc": good.replace(b"IDAT", b"IDAU"),
        "wrong-text-crc": png(texts=(), extra=chunk(b"iTXt", b"denoised\0\0\0\0\0{}", 7)),
        "no-text": png(texts=()),
        "two-texts": png(texts=(b"{}", b"{}")),
        "old-text": png(texts=(), extra=chunk(b"tEXt", b"denoised\0{}")),
        "compressed-text": png(texts=(), extra=chunk(
            b"iTXt", b"denoised\0\1\0\0\0" + zlib.compress(b"{}"))),
        "text-bomb": png(texts=(), extra=chunk(b"iTXt", b"denoised\0\1\0\0\0" + bomb)),
        "long-text": png(texts=(b"{" * 70000,)),
        "many-chunks": png(texts=(b"{}",) + (b"x",) * 80),
        "pixel-bomb": png(width=60000, height=60000, lines=bytes(1 << 16)),
        "no-pixels": png(width=0, height=0),
        "few-lines": png(lines=b"\0\0"),
        "many-lines": png(lines=bytes(5 * 40)),
        "bad-filter": png(lines=b"\7\0\0\0\0" * 4),
        "interlace": png(interlace=1),
        "deep": png(depth=16),
        "alpha": png(color=6),
        "palette": png(color=3, extra=chunk(b"PLTE", bytes(6))),
        "transparent": png(extra=chunk(b"tRNS", b"\0\0")),
        "critical": png(extra=chunk(b"ABCD", b"x")),
        "after-the-end": png(end=b"x"),
    }


def model_files():
    good = model()
    return {
        "good": good,
        "empty": b"",
        "truncated-length": good[:5],
        "truncated-header": good[:100],
        "truncated-data": good[:-4],
        "surplus-bytes": good + b"\0\0\0\0",
        "huge-header": b"\xff" * 8 + good[8:],
        "missing-tensor": model(change=without("proj.2.bias")),
        "wrong-dtype": model(change=spoil("proj.2.bias", "dtype", "I32")),
        "wrong-dtype-size": model(change=spoil("proj.2.bias", "dtype", "F16")),
        "unaligned": model(remainder=3),
        "f16": model(dtype="F16", remainder=1),
        "bf16": model(dtype="BF16"),
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
                   + hashlib.sha256(good).hexdigest().encode() + b"\nsize %d\n" % len(good),
        "html": b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
        "json-index": b'{"metadata": {"total_size": 8}, "weight_map": {}}',
        "zip": b"PK\x03\x04" + bytes(4) + b"\x08\x08" + bytes(18) + b"archive/data.pkl",
        "pickle": pickle.dumps({"proj.2.bias": [0.25]}, protocol=2),
        "gzip": gzip.compress(good[:64], mtime=0),
        "tar": bytes(257) + b"ustar\x00" + bytes(249),
        "zeros": bytes(64),
        "wrong-shape": model(change=spoil("mid_block.res1.conv.bias", "shape", [1, 2])),
        "huge-shape": model(change=spoil("proj.2.bias", "shape", [2**40, 2**40])),
        "overlap": model(change=spoil("time_embed.W", "data_offsets", [0, 4])),
        "nan": model(change=nan),
        "not-utf8": good.replace(b"proj.2.bias", b"proj.2.b\xff\xfes"),
        "bad-json": good.replace(b'"dtype"', b'"dtype', 1),
        "duplicate": good.replace(b'"proj.0.weight"', b'"proj.0.bias\\u0020"').replace(
            b'"proj.0.bias\\u0020"', b'"proj.0.bias"'),
        "deep": struct.pack("<Q", 4000) + b"[" * 4000,
        "no-null-label": model(config_with(["null_label"], False)),
        "no-architecture": model(config_with(["architecture", "type"], "none")),
        "many-levels": model(config_with(["architecture", "channels"], [2] * 6)),
        "odd-size": model(config_with(["image", "height"], 5)),
        "no-heads": model(config_with(["architecture", "heads"], 3)),
        "big-class-list": model(config_with(["classes"], [str(i) for i in range(1001)])),
    }


def main():
    write("safetensors", model_files())
    write("png", png_files())
    write("json", seeds.json_files("sha256:" + hashlib.sha256(model()).hexdigest()))
    write("url", seeds.url_files())
    write("headers", seeds.header_files())
    write("keys", seeds.key_files())
    write("options", seeds.option_files())


if __name__ == "__main__":
    main()
