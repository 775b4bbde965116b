"""The forward process, the v-prediction loss and the samplers that training needs.

Timesteps are k = 0 .. T-1; the network sees t = (k + 1) / T, so that t = 0 is the clean image.
"""

import math

import torch

T = 1000
BETA_START, BETA_END = 1e-4, 0.02


def alphas_cumprod():
    """alpha-bar [T], fp64, of the linear schedule of Ho et al. 2020."""
    return torch.cumprod(1 - torch.linspace(BETA_START, BETA_END, T, dtype=torch.float64), 0)


def network_time(k):
    """Timestep indices [N] -> the t in (0, 1] that the network sees."""
    return (k.double() + 1).div(T).float()


WEIGHTINGS = ("v", "min-snr")


def v_loss(net, x0, label, k, noise, autocast, weighting="v"):
    """Mean squared error of v = a eps - s x0 (Salimans & Ho 2022) at timesteps k [N]. On x0 that is
    a weight of SNR + 1; "min-snr" makes it min(SNR, 5) (Hang et al. 2023)."""
    abar = alphas_cumprod()[k].to(x0.device)
    a = abar.sqrt().float()[:, None, None, None]
    s = (1 - abar).sqrt().float()[:, None, None, None]
    with autocast:
        v = net(a * x0 + s * noise, network_time(k).to(x0.device), label)
    error = (v.float() - (a * noise - s * x0)).square()
    if weighting == "min-snr":
        error = error * torch.minimum(a**2, 5 * s**2)  # min(SNR, 5) / (SNR + 1)
    return error.mean()


def level(k):
    """(a, s) of timestep k: x_t = a x0 + s noise."""
    abar = alphas_cumprod()[k].item()
    return abar**0.5, (1 - abar)**0.5


def trailing(steps):
    """The `steps` timesteps of trailing spacing, from T - 1 down."""
    return [round(T - i * T / steps) - 1 for i in range(steps)]


def guided_v(net, x, label, k, guidance, null_label):
    """v at timestep k of all of x, extrapolated from the null label's (Ho & Salimans 2022)."""
    if guidance == 1:
        return net(x, network_time(torch.full((len(x),), k)).to(x.device), label).float()
    both = torch.cat([label, torch.full_like(label, null_label)])
    t = network_time(torch.full((len(both),), k)).to(x.device)
    v, u = net(torch.cat([x, x]), t, both).float().chunk(2)
    return u + guidance * (v - u)


@torch.no_grad()
def dpmpp_2m_states(net, x, label, ks, guidance, null_label):
    """DPM-Solver++(2M) (Lu et al. 2022) from x at timestep ks[0] through all of ks, final sigma 0.
    Yields x at each of ks, then x0; every estimate of x0 is clamped to the images' range."""
    prev, prev_h = None, None
    for k, following in zip(ks, ks[1:] + [None]):
        yield x
        a, s = level(k)
        x0 = (a * x - s * guided_v(net, x, label, k, guidance, null_label)).clamp(-1, 1)
        if following is None:
            yield x0
            return
        a2, s2 = level(following)
        h = math.log(a2 / s2 * s / a)
        d = x0 if prev is None else x0 + (x0 - prev) * (h / (2 * prev_h))
        x = (s2 / s) * x - a2 * math.expm1(-h) * d
        prev, prev_h = x0, h


def dpmpp_2m(net, noise, label, steps, guidance, null_label):
    """x0 [N,C,H,W] from noise, trailing spacing."""
    *_, x0 = dpmpp_2m_states(net, noise, label, trailing(steps), guidance, null_label)
    return x0


def denoised(net, x, k, label):
    """The network's estimate of x0 [N,C,H,W], not clamped, at timesteps k [N]. At k = -1, the clean
    image, it would be x itself: what makes a consistency function of a v-predicting network."""
    abar = alphas_cumprod()[k].to(x.device)
    a = abar.sqrt().float()[:, None, None, None]
    s = (1 - abar).sqrt().float()[:, None, None, None]
    return a * x - s * net(x, network_time(k).to(x.device), label).float()


@torch.no_grad()
def consistency(net, noise, label, ks, generator):
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): estimate x0 at ks[0]; for
    each further timestep add fresh noise up to it and estimate again."""
    x = noise
    for i, k in enumerate(ks):
        if i > 0:
            a, s = level(k)
            x = a * x + s * torch.randn(x.shape, generator=generator).to(x.device)
        x = denoised(net, x, torch.full((len(x),), k), label).clamp(-1, 1)
    return x
