"""Write trained weights as a model file: safetensors with the model's config in its metadata."""

import json
import struct

import numpy as np

from tools.train import diffusion

CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def config(sampling, training, clip_sample):
    """The config that goes with the weights; docs/model-file.md explains every field."""
    return {
        "format_version": 1,
        "architecture": {"type": "unet_st", "channels": [32, 64, 128], "context_dim": 256,
                         "time_dim": 32, "heads": 8, "depth": 1, "groups": 32,
                         "time_embedding": "gaussian_fourier"},
        "image": {"channels": 1, "height": 28, "width": 28, "range": [-1, 1]},
        "classes": CLASSES,
        "null_label": True,
        "diffusion": {"prediction": "v_prediction", "timesteps": diffusion.T,
                      "beta_schedule": "linear", "beta_start": diffusion.BETA_START,
                      "beta_end": diffusion.BETA_END, "time_divisor": diffusion.T, "time_offset": 1,
                      "clip_sample": clip_sample},
        "sampling": sampling,
        "training": training,
    }


# What requests may ask for by a name, from the plot of FD against evaluations in models/mnist.md: the
# student at one and two evaluations, the base at fourteen, and the reference process.
BASE_DEFAULT = {"sampler": "heun", "steps": 7, "guidance_scale": 1.4}
BASE_PRESETS = {
    "balanced": BASE_DEFAULT,
    "exact": {"sampler": "ddpm", "steps": diffusion.T, "guidance_scale": 1.4},
}
STUDENT_PRESETS = {  # at the guidance it was trained for
    "turbo": {"sampler": "consistency", "steps": 1},
    "fast": {"sampler": "consistency", "steps": 2},
}


def base_config(state):
    """Of a checkpoint of tools.train. Its x0 estimates are not clipped: DDIM loses up to a sixth of its
    digits by that, and the others gain nothing (models/mnist.md)."""
    return config({"samplers": ["ddpm", "ddim", "dpmpp_2m", "unipc", "ipndm", "heun"],
                   "default": BASE_DEFAULT, "presets": BASE_PRESETS},
                  {"data": "MNIST, 60000 training images", "step": state["step"],
                   "epochs": round(state["epoch"], 2), "hours": round(state["seconds"] / 3600, 2),
                   "commit": state["commit"], "recipes": state["recipes"]},
                  clip_sample=False)


def consistency_config(state, schedules):
    """Of a checkpoint of tools.train.consistency; schedules: steps -> timesteps, all it can do. It was
    trained on clipped x0 estimates."""
    guidance = state["recipes"][-1]["recipe"]["guidance"]
    return config({"samplers": ["consistency"],
                   "timesteps": {str(steps): ks for steps, ks in schedules.items()},
                   "fixed_guidance_scale": guidance,
                   "default": {"sampler": "consistency", "steps": 2, "guidance_scale": guidance},
                   "presets": {name: {**preset, "guidance_scale": guidance}
                               for name, preset in STUDENT_PRESETS.items()}},
                  {"data": "guided trajectories of mnist, from noise and from noised MNIST digits",
                   "base_step": state["base"], "step": state["step"],
                   "hours": round(state["seconds"] / 3600, 2), "commit": state["commit"],
                   "recipes": state["recipes"]},
                  clip_sample=True)


def write_safetensors(path, tensors, metadata):
    """tensors: name -> float32 array; metadata: str -> str. The file is byte-for-byte reproducible."""
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, array in tensors.items():
        blob = np.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64 + 56)  # the data begins on a 64-byte boundary
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            f.write(blob)


def export(state, path, described):
    """Checkpoint and its config -> model file with the EMA weights."""
    tensors = {name: t.cpu().numpy() for name, t in state["ema"].items()}
    write_safetensors(path, tensors, {"format": "pt", "denoised.config": json.dumps(described)})
    print(f"{path}: {len(tensors)} tensors, step {state['step']}")
