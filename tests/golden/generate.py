"""Golden values from PyTorch for the network and for whole trajectories.

    make golden        writes tests/golden/{unet_st,mnist-fast}.safetensors

Run it again after a new models/mnist.safetensors or models/mnist-fast.safetensors. A file's metadata
says the versions, the seed and the model's digest; tests/golden/test_golden.c reads it. Every tensor
is [H,W,C] fp32.

  row{i}.x, row{i}.{value}   input of evaluation i and every block's output
  trajectory.{name}          the final image of a whole reverse process
"""

import hashlib
import json
import pathlib
import sys
import types

import numpy as np
import torch

from tools.train import diffusion
from tools.train.export import write_safetensors
from tools.train.unet import UNet

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent.parent / "models"
SEED = 1234
ROWS = [(999, 7), (500, 10), (20, 3)]  # timestep, label; 10 is the null label

# name, sampler, steps, guidance scale and interval, eta, label, seed, index
TRAJECTORIES = [
    ("dpmpp_2m", "dpmpp_2m", 20, 1.5, (0, 1), 0.0, 7, 42, 0),
    ("ddim", "ddim", 25, 1.0, (0, 1), 0.0, 2, 43, 1),
    ("ddim_eta", "ddim", 12, 2.0, (0, 1), 1.0, 5, 44, 2),
    ("ddpm", "ddpm", 30, 1.0, (0, 1), 0.0, 8, 45, 3),
    ("interval", "dpmpp_2m", 20, 3.0, (0.2, 0.65), 0.0, 3, 46, 4),
    ("unipc", "unipc", 14, 1.5, (0, 1), 0.0, 4, 47, 5),
    ("heun", "heun", 13, 1.5, (0, 1), 0.0, 8, 52, 7),
    ("heun_even", "heun", 8, 1.0, (0, 1), 0.0, 6, 53, 8),
    ("ipndm", "ipndm", 10, 1.5, (0, 1), 0.0, 9, 48, 6),
]
# Of the few-step model, whose guidance is in its weights.
FAST_TRAJECTORIES = [
    ("steps1", "consistency", 1, 1.0, (0, 1), 0.0, 6, 49, 0),
    ("steps2", "consistency", 2, 1.0, (0, 1), 0.0, 1, 50, 1),
    ("steps4", "consistency", 4, 1.0, (0, 1), 0.0, 0, 51, 2),
]


def read_model(name):
    """The network with its weights, its config, and the file's digest."""
    raw = (MODELS / f"{name}.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    config = json.loads(header.pop("__metadata__")["denoised.config"])
    state = {}
    for key, t in header.items():
        begin, end = t["data_offsets"]
        array = np.frombuffer(raw[8 + size + begin:8 + size + end], "<f4").reshape(t["shape"])
        state[key] = torch.from_numpy(array.copy())
    net = UNet()
    net.load_state_dict(state)
    return net.eval(), config, "sha256:" + hashlib.sha256(raw).hexdigest()


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


# ---- the samplers, once more: straight from the papers, coefficients in fp64 --------------------
#
# s has x, x0 (clipped where the model says so), eps (the network's own), i (the step), abar (of the
# steps' levels and, last, of the clean image), eta, noise(), and `past` for what a sampler keeps.

def half_log_snr(abar):
    return 0.5 * np.log(abar / (1 - abar))


def ddpm(s):
    ab, to = s.abar[s.i:s.i + 2]
    beta = 1 - ab / to
    mean = to**0.5 * beta / (1 - ab) * s.x0 + (ab / to)**0.5 * (1 - to) / (1 - ab) * s.x
    variance = (1 - to) / (1 - ab) * beta
    return mean + variance**0.5 * s.noise() if variance > 0 else mean


def ddim(s):
    ab, to = s.abar[s.i:s.i + 2]
    variance = s.eta**2 * (1 - to) / (1 - ab) * (1 - ab / to)
    x = to**0.5 * s.x0 + max(0.0, 1 - to - variance)**0.5 * s.eps
    return x + variance**0.5 * s.noise() if variance > 0 else x


def dpmpp_2m(s):
    ab, to = s.abar[s.i:s.i + 2]
    s.past.append(s.x0)
    if to == 1:
        return s.x0
    h = half_log_snr(to) - half_log_snr(ab)
    d = s.x0
    if s.i > 0:
        r = (half_log_snr(ab) - half_log_snr(s.abar[s.i - 1])) / h
        d = s.x0 + (s.x0 - s.past[-2]) / (2 * r)
    return ((1 - to) / (1 - ab))**0.5 * s.x - to**0.5 * np.expm1(-h) * d


def unipc(s):
    """Algorithms 5 to 8 with order 2 and B2(h): the coefficients as a linear system's solution."""
    def first_order(x, x0, i):
        (ab, to), lam = s.abar[i:i + 2], half_log_snr(np.array(s.abar[i:i + 2]))
        bh = np.expm1(lam[0] - lam[1])
        return ((1 - to) / (1 - ab))**0.5 * x - to**0.5 * bh * x0, to**0.5 * bh, lam[1] - lam[0]

    def difference(i, h):
        """(x0 of step i - 1, minus that of step i) / r, and r."""
        r = (half_log_snr(s.abar[i - 1]) - half_log_snr(s.abar[i])) / h
        return (s.past[i - 1][1] - s.past[i][1]) / r, r

    x = s.x
    if s.i > 0:
        before, x0_before = s.past[-1]
        x, scale, h = first_order(before, x0_before, s.i - 1)
        hh, bh = -h, np.expm1(-h)
        if s.i > 1:
            older, r = difference(s.i - 1, h)
            phi = bh / hh - 1
            rho = np.linalg.solve([[1, 1], [r, 1]], [phi / bh, 2 * (phi / hh - 0.5) / bh])
            x = x - scale * rho[0] * older
        else:
            rho = [0.5]
        x = x - scale * rho[-1] * (s.x0 - x0_before)
    s.past.append((x, s.x0))
    if s.abar[s.i + 1] == 1:
        return s.x0
    found, scale, h = first_order(x, s.x0, s.i)
    return found - scale * 0.5 * difference(s.i, h)[0] if s.i > 0 else found


def ipndm(s):
    """Adams-Bashforth in x / a against sigma = s / a."""
    ab, to = s.abar[s.i:s.i + 2]
    s.past.insert(0, (s.x - ab**0.5 * s.x0) / (1 - ab)**0.5)
    if to == 1:
        return s.x0
    weights = ([1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12],
               [55 / 24, -59 / 24, 37 / 24, -9 / 24])[min(s.i, 3)]
    slope = sum(w * eps for w, eps in zip(weights, s.past))
    stride = ((1 - to) / to)**0.5 - ((1 - ab) / ab)**0.5
    return to**0.5 * (s.x / ab**0.5 + stride * slope)


def heun(s):
    """In x / a against sigma = s / a; every other step is the second half of the one before."""
    ab, to = s.abar[s.i:s.i + 2]
    slope = (s.x - ab**0.5 * s.x0) / (1 - ab)**0.5
    if to == 1:
        return s.x0
    if s.i % 2 == 0:
        s.past = [(s.x / ab**0.5, ((1 - ab) / ab)**0.5, slope)]
        y, sigma, _ = s.past[0]
        return to**0.5 * (y + (((1 - to) / to)**0.5 - sigma) * slope)
    y, sigma, first = s.past[0]
    return ab**0.5 * (y + (((1 - ab) / ab)**0.5 - sigma) * (first + slope) / 2)


def consistency(s):
    to = s.abar[s.i + 1]
    return s.x0 if to == 1 else to**0.5 * s.x0 + (1 - to)**0.5 * s.noise()


SAMPLERS = {f.__name__: f for f in (ddpm, ddim, dpmpp_2m, unipc, ipndm, heun, consistency)}


def trajectory(net, config, sampler, steps, guidance, interval, eta, label, seed, index):
    """The final image [1,1,28,28] of one reverse process."""
    ks = config["sampling"].get("timesteps", {}).get(str(steps)) or diffusion.trailing(steps)
    if sampler == "heun":  # a trailing list of half as many, each but the first twice
        ks = [k for k in diffusion.trailing(steps // 2 + 1) for _ in range(2)][1:steps + 1]
    levels = diffusion.MNIST.alphas
    s = types.SimpleNamespace(x=noise(784, seed, index, 0), eta=eta, past=[],
                              abar=[levels[k].item() for k in ks] + [1.0],
                              noise=lambda: noise(784, seed, index, s.i + 1))
    for s.i, k in enumerate(ks):
        a, sigma = s.abar[s.i]**0.5, (1 - s.abar[s.i])**0.5
        t = diffusion.MNIST.network_time(torch.tensor([k]))
        v = net(s.x, t, torch.tensor([label]))
        if guidance != 1 and interval[0] <= s.i / steps < interval[1]:
            u = net(s.x, t, torch.tensor([10]))
            v = u + guidance * (v - u)
        s.x0, s.eps = a * s.x - sigma * v, a * v + sigma * s.x
        if config["diffusion"]["clip_sample"]:
            s.x0 = s.x0.clamp(-1, 1)
        s.x = SAMPLERS[sampler](s)
    return s.x


def trajectories(net, config, settings):
    return {f"trajectory.{name}": trajectory(net, config, *rest)[0].permute(1, 2, 0)
            for name, *rest in settings}


def blocks(net):
    """The inputs of ROWS and every block's output."""
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
    net(x, diffusion.MNIST.network_time(k), label)
    for i in range(len(ROWS)):
        tensors[f"row{i}.x"] = x[i].permute(1, 2, 0)
        for name, value in taps.items():
            v = value[i]  # [C,H,W], or tokens [T,C]
            tensors[f"row{i}.{name}"] = v.permute(1, 2, 0) if v.dim() == 3 else v.reshape(7, 7, -1)
    return tensors


def write(name, tensors, digest):
    versions = f"python {sys.version.split()[0]}, torch {torch.__version__}, numpy {np.__version__}"
    metadata = {"denoised.config": json.dumps({"model": digest}), "versions": versions,
                "generator": "tests/golden/generate.py", "seed": str(SEED)}
    path = HERE / f"{name}.safetensors"
    write_safetensors(path, {n: t.numpy() for n, t in tensors.items()}, metadata)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes, model {digest}")


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    net, config, digest = read_model("mnist")
    write("unet_st", trajectories(net, config, TRAJECTORIES) | blocks(net), digest)
    net, config, digest = read_model("mnist-fast")
    write("mnist-fast", trajectories(net, config, FAST_TRAJECTORIES), digest)


if __name__ == "__main__":
    main()
