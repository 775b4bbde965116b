"""The forward process, the v-prediction loss and a small sampler for pictures during training.

Timesteps are k = 0 .. T-1; the network sees t = (k + 1) / T, so that t = 0 is the clean image.
"""

import torch

T = 1000
BETA_START, BETA_END = 1e-4, 0.02


def alphas_cumprod():
    """alpha-bar [T], fp64, of the linear schedule of Ho et al. 2020."""
    return torch.cumprod(1 - torch.linspace(BETA_START, BETA_END, T, dtype=torch.float64), 0)


def network_time(k):
    """Timestep indices [N] -> the t in (0, 1] that the network sees."""
    return (k.double() + 1).div(T).float()


def v_loss(net, x0, label, k, noise, autocast):
    """Mean squared error of v = a eps - s x0 (Salimans & Ho 2022) at timesteps k [N]."""
    abar = alphas_cumprod()[k].to(x0.device)
    a = abar.sqrt().float()[:, None, None, None]
    s = (1 - abar).sqrt().float()[:, None, None, None]
    with autocast:
        v = net(a * x0 + s * noise, network_time(k).to(x0.device), label)
    return (v.float() - (a * noise - s * x0)).square().mean()


@torch.no_grad()
def dpmpp_2m(net, noise, label, steps, guidance, null_label):
    """DPM-Solver++(2M) (Lu et al. 2022), trailing spacing, final sigma 0. Returns x0 [N,C,H,W]."""
    abar = alphas_cumprod()
    ks = [round(T - i * T / steps) - 1 for i in range(steps)]
    x, prev, prev_h = noise, None, None
    for i, k in enumerate(ks):
        a, s = abar[k].sqrt().item(), (1 - abar[k]).sqrt().item()
        t = network_time(torch.full((len(x),), k)).to(x.device)
        v = net(x, t, label).float()
        if guidance != 1:
            u = net(x, t, torch.full_like(label, null_label)).float()
            v = u + guidance * (v - u)
        x0 = (a * x - s * v).clamp(-1, 1)
        if i + 1 == len(ks):
            return x0
        a2, s2 = abar[ks[i + 1]].sqrt().item(), (1 - abar[ks[i + 1]]).sqrt().item()
        h = torch.log(torch.tensor(a2 / s2 * s / a)).item()
        d = x0 if prev is None else x0 + (x0 - prev) * (h / (2 * prev_h))
        x = (s2 / s) * x - a2 * (torch.expm1(torch.tensor(-h)).item()) * d
        prev, prev_h = x0, h
    return x
