"""Images made by the program itself: `denoised sample` into a NumPy array, kept once drawn."""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import struct
import subprocess
import tempfile

import numpy as np

from tools.evaluate.pieces import keep

DEFAULT_BINARY = os.environ.get("DENOISED_BINARY", "build/denoised")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was asked for; None is the default of the program or of the model."""

    model: str | None = None
    sampler: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    eta: float | None = None

    def of_model(self, model):
        return dataclasses.replace(self, model=model)

    def flags(self):
        pairs = dataclasses.asdict(self).items()
        return [text for name, value in pairs if value is not None
                for text in ("--" + name.replace("_", "-"),
                             ",".join(map(str, value)) if isinstance(value, tuple) else str(value))]


def interval(text):
    start, end = map(float, text.split(":"))
    return start, end


TYPES = {"model": str, "sampler": str, "steps": int, "guidance_scale": float,
         "guidance_interval": interval, "eta": float}


def parse_settings(text):
    """"sampler=ddim,ddpm steps=10,20" -> all four of them; an interval is guidance_interval=0.2:0.8.
    Raises ValueError."""
    lists = {}
    for word in text.split():
        name, equals, values = word.partition("=")
        if name not in TYPES or not equals or name in lists:
            raise ValueError(f"{word!r}: NAME=VALUE,... expected, each of {', '.join(TYPES)} once")
        try:
            lists[name] = [TYPES[name](value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"{word!r}: numbers expected") from None
    return [Settings(**dict(zip(lists, one))) for one in itertools.product(*lists.values())]


@functools.cache
def essence(path):
    """SHA-256 of what of a model file the pixels depend on: its tensors, and of its config neither
    the training nor what is allowed and named. So a new export of the same weights is known."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    config = json.loads(header.pop("__metadata__")["denoised.config"])
    timesteps = config.pop("sampling").get("timesteps")
    config.pop("training", None)
    text = json.dumps([header, config, timesteps], sort_keys=True).encode()
    return hashlib.sha256(text + b"\n" + data[8 + length:]).hexdigest()


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What the program makes of settings: everything that the pixels depend on but the seed."""

    model: str  # its id
    digest: str
    kernels: str  # the determinism domain
    sampler: str
    steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] | None  # None: all steps
    eta: float
    evaluations: int  # of the network, for one image

    def name(self):
        eta = f", eta {self.eta:g}" if self.eta else ""
        within = self.guidance_interval
        within = f" in {within[0]:g}..{within[1]:g}" if within else ""
        return (f"{self.model}: {self.sampler}, {self.steps} step{'s'[:self.steps > 1]}, "
                f"guidance {self.guidance_scale:g}{within}{eta}")


class Program:
    def __init__(self, binary=DEFAULT_BINARY, flags=()):
        self.binary, self.flags = str(binary), list(flags)
        self._described = {}

    def _run(self, *arguments):
        return subprocess.run([self.binary, *arguments], check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def describe(self, model=None):
        """The model's entry in `denoised info --json`."""
        if model not in self._described:
            flags = ["--model", model] if model else []
            self._described[model] = json.loads(self._run("info", "--json", *flags))["models"][0]
        return self._described[model]

    def resolve(self, settings):
        info = self.describe(settings.model)
        default = info["default"]
        steps = settings.steps or default["steps"]
        scale = default["guidance_scale"]
        if settings.guidance_scale is not None:
            scale = settings.guidance_scale
        # A fixed scale is trained in: it costs nothing.
        guided = scale != 1 and "fixed_guidance_scale" not in info["config"]["sampling"]
        start, end = settings.guidance_interval or default["guidance_interval"]
        twice = sum(start <= i / steps < end for i in range(steps)) if guided else 0
        return Drawing(info["id"], info["digest"], info["kernels"],
                       settings.sampler or default["sampler"], steps, float(scale),
                       (start, end) if guided and (start, end) != (0, 1) else None,
                       float(settings.eta or 0), steps + twice)

    def draw(self, settings, count, seed):
        """`count` images, as many of each of the ten digits: uint8 [N,28,28], labels [N]."""
        if count < 20 or count % 10 != 0:
            raise ValueError(f"{count} images: a multiple of 10 expected, at least 20")

        def make():
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "images.npy"
                self._run("sample", "--label", "all", "-n", str(count // 10), "--seed", str(seed),
                          "-o", str(path), *settings.flags(), *self.flags)
                return {"images": np.load(path)}

        key = {k: v for k, v in dataclasses.asdict(self.resolve(settings)).items()
               if v is not None and k != "model"} | {"count": count, "seed": seed}
        key["digest"] = essence(self.describe(settings.model)["file"])
        images = keep("images", key, make)["images"]
        return images, np.repeat(np.arange(10), count // 10)
