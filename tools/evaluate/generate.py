"""Images made by the program itself: `denoised sample` into a NumPy array."""

import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile
import time

import numpy as np

DEFAULT_BINARY = os.environ.get("DENOISED_BINARY", "build/denoised")


@dataclasses.dataclass(frozen=True)
class Settings:
    sampler: str | None = None  # None: the model's default
    steps: int | None = None
    guidance_scale: float | None = None
    eta: float | None = None

    def flags(self):
        pairs = (("--sampler", self.sampler), ("--steps", self.steps),
                 ("--guidance-scale", self.guidance_scale), ("--eta", self.eta))
        return [text for flag, value in pairs if value is not None for text in (flag, str(value))]


def generate(settings, count, seed, binary=DEFAULT_BINARY, model=None, extra=()):
    """`count` images, as many of each digit: uint8 [N,28,28], labels [N], seconds, and what the
    program resolved the settings to: {"sampler", "steps", "guidance_scale"}."""
    if count < 20 or count % 10 != 0:
        raise ValueError(f"--count {count}: a multiple of 10 expected, at least 20")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "images.npy"
        command = [binary, "sample", "--label", "all", "-n", str(count // 10), "--seed", str(seed),
                   "-o", str(path), *settings.flags(), *extra]
        if model:
            command += ["--model", str(model)]
        began = time.monotonic()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.monotonic() - began
        images = np.load(path)
    # "...: 20 images of mnist, seed 1, ddim 20 steps, guidance 1.5, eta 0, fp32-native-1, 1.00 s"
    found = re.search(r", (\S+) (\d+) steps, guidance ([^,]+)(?:, eta ([^,]+))?, ([^,]+), \S+ s$",
                      done.stdout.strip())
    if not found:
        raise ValueError(f"{binary} sample: not understood: {done.stdout!r}")
    sampler, steps, scale, eta, kernels = found.groups()
    resolved = {"sampler": sampler, "steps": int(steps), "guidance_scale": float(scale),
                "eta": float(eta or 0), "kernels": kernels}
    return images, np.repeat(np.arange(10), count // 10), seconds, resolved
