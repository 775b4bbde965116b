"""Golden values from PyTorch for the network and for whole trajectories.

    /usr/bin/python3 -m tests.golden.generate        writes tests/golden/unet_st.safetensors

Run it again after a new models/mnist.safetensors. The file's metadata says the versions, the seed and
the model's digest; tests/golden/test_golden.c reads it. Every tensor is [H,W,C] fp32.

  row{i}.x, row{i}.{value}   input of evaluation i and every block's output
  trajectory.{name}          the final image of a whole reverse process
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import torch

from tools.train import diffusion
from tools.train.export import write_safetensors
from tools.train.unet import UNet

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "models" / "mnist.safetensors"
SEED = 1234
ROWS = [(999, 7), (500, 10), (20, 3)]  # timestep, label; 10 is the null label

# name, sampler, steps, guidance scale and interval, eta, label, seed, index
TRAJECTORIES = [
    ("dpmpp_2m", "dpmpp_2m", 20, 1.5, (0, 1), 0.0, 7, 42, 0),
    ("ddim", "ddim", 25, 1.0, (0, 1), 0.0, 2, 43, 1),
    ("ddim_eta", "ddim", 12, 2.0, (0, 1), 1.0, 5, 44, 2),
    ("ddpm", "ddpm", 30, 1.0, (0, 1), 0.0, 8, 45, 3),
    ("interval", "dpmpp_2m", 20, 3.0, (0.2, 0.65), 0.0, 3, 46, 4),
]


def read_model(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__")
    state = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        array = np.frombuffer(raw[8 + size + begin:8 + size + end], "<f4").reshape(t["shape"])
        state[name] = torch.from_numpy(array.copy())
    net = UNet()
    net.load_state_dict(state)
    return net.eval(), "sha256:" + hashlib.sha256(raw).hexdigest()


def philox(counter, key):
    """Philox 4x32-10 of uint32 arrays counter [n,4] and key (2 ints): [n,4]."""
    c = counter.astype(np.uint64)
    k0, k1 = key
    for _ in range(10):
        p0 = c[:, 0] * np.uint64(0xD2511F53)
        p1 = c[:, 2] * np.uint64(0xCD9E8D57)
        c = np.stack([(p1 >> np.uint64(32)) ^ c[:, 1] ^ np.uint64(k0), p1 & np.uint64(0xFFFFFFFF),
                      (p0 >> np.uint64(32)) ^ c[:, 3] ^ np.uint64(k1), p0 & np.uint64(0xFFFFFFFF)], 1)
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def noise(n, seed, index, step):
    """The engine's noise (core/base/rng.h) in double precision, rounded to fp32."""
    blocks = np.arange(-(-n // 4))
    counter = np.stack([blocks, np.full_like(blocks, step), np.full_like(blocks, index),
                        np.zeros_like(blocks)], 1)
    words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    u = ((words >> np.uint64(9)).astype(np.float64) + 0.5) * 2.0**-23
    out = np.empty((len(blocks), 4))
    for a in (0, 2):
        radius = np.sqrt(-2 * np.log(u[:, a]))
        out[:, a] = radius * np.cos(2 * np.pi * u[:, a + 1])
        out[:, a + 1] = radius * np.sin(2 * np.pi * u[:, a + 1])
    return torch.from_numpy(out.reshape(-1)[:n].astype(np.float32)).view(1, 1, 28, 28)


def trajectory(net, sampler, steps, guidance, interval, eta, label, seed, index):
    """One reverse process, written straight from the papers' formulas in fp64 coefficients."""
    abar = diffusion.alphas_cumprod().tolist() + [1.0]
    ks = [round(diffusion.T - i * diffusion.T / steps) - 1 for i in range(steps)] + [diffusion.T]
    x = noise(784, seed, index, 0)
    x0_before = None
    for i in range(steps):
        ab, to = abar[ks[i]], abar[ks[i + 1]]
        a, s = ab**0.5, (1 - ab)**0.5
        t = diffusion.network_time(torch.tensor([ks[i]]))
        v = net(x, t, torch.tensor([label]))
        if guidance != 1 and interval[0] <= i / steps < interval[1]:
            u = net(x, t, torch.tensor([10]))
            v = u + guidance * (v - u)
        x0 = (a * x - s * v).clamp(-1, 1)
        eps = a * v + s * x
        if sampler == "ddpm":
            beta = 1 - ab / to
            x = to**0.5 * beta / (1 - ab) * x0 + (ab / to)**0.5 * (1 - to) / (1 - ab) * x
            variance = (1 - to) / (1 - ab) * beta
            if variance > 0:
                x = x + variance**0.5 * noise(784, seed, index, i + 1)
        elif sampler == "ddim":
            variance = eta**2 * (1 - to) / (1 - ab) * (1 - ab / to)
            x = to**0.5 * x0 + max(0.0, 1 - to - variance)**0.5 * eps
            if variance > 0:
                x = x + variance**0.5 * noise(784, seed, index, i + 1)
        elif to == 1.0:
            x = x0
        else:
            lam = [0.5 * np.log(q / (1 - q)) for q in (ab, to)]
            h = lam[1] - lam[0]
            d = x0
            if x0_before is not None:
                before = abar[ks[i - 1]]
                r = (lam[0] - 0.5 * np.log(before / (1 - before))) / h
                d = x0 + (x0 - x0_before) / (2 * r)
            x = ((1 - to) / (1 - ab))**0.5 * x - to**0.5 * np.expm1(-h) * d
        x0_before = x0
    return x


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    net, digest = read_model(MODEL)
    tensors, taps = {}, {}

    def tap(name):
        def hook(_module, _inputs, output):
            taps[name] = output[0] if isinstance(output, tuple) else output
        return hook

    for name, module in net.named_modules():
        kind = type(module).__name__
        if kind in ("ResidualBlock", "TransformerBlock", "SpatialTransformer", "Upsampling"):
            module.register_forward_hook(tap(name))
        elif name.endswith("downsampling") or name == "proj":
            module.register_forward_hook(tap(name))

    g = torch.Generator().manual_seed(SEED)
    x = torch.randn(len(ROWS), 1, 28, 28, generator=g)
    k = torch.tensor([r[0] for r in ROWS])
    label = torch.tensor([r[1] for r in ROWS])
    net(x, diffusion.network_time(k), label)
    for i in range(len(ROWS)):
        tensors[f"row{i}.x"] = x[i].permute(1, 2, 0)
        for name, value in taps.items():
            v = value[i]  # [C,H,W], or tokens [T,C]
            tensors[f"row{i}.{name}"] = v.permute(1, 2, 0) if v.dim() == 3 else v.reshape(7, 7, -1)
    for name, *settings in TRAJECTORIES:
        tensors[f"trajectory.{name}"] = trajectory(net, *settings)[0].permute(1, 2, 0)

    metadata = {
        "denoised.config": "{}",
        "generator": "tests/golden/generate.py",
        "versions": f"python {sys.version.split()[0]}, torch {torch.__version__}, numpy {np.__version__}",
        "seed": str(SEED),
        "model": digest,
    }
    path = HERE / "unet_st.safetensors"
    write_safetensors(path, {n: t.numpy() for n, t in tensors.items()}, metadata)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes, model {digest}")


if __name__ == "__main__":
    main()
