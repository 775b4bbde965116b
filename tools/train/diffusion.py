"""The forward process, the losses and the samplers that training needs.

Timesteps are k = 0 .. T-1, from nearly clean to nearly noise.
"""

import math

import torch

T = 1000
BETA_START, BETA_END = 1e-4, 0.02
WEIGHTINGS = ("v", "min-snr")


def linear_alphas():
    """alpha-bar [T], fp64, of the linear schedule of Ho et al. 2020."""
    return torch.cumprod(1 - torch.linspace(BETA_START, BETA_END, T, dtype=torch.float64), 0)


def cosine_alphas():
    """alpha-bar [T], fp64, of the cosine schedule of Nichol & Dhariwal 2021: betas of at most 0.999."""
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return torch.cumprod(1 - (1 - f[1:] / f[:-1]).clamp(max=0.999), 0)


def expand(v):
    """[N] -> fp32 [N,1,1,1]"""
    return v.float()[:, None, None, None]


class Process:
    """A schedule and what its networks predict: v = a eps - s x0 (Salimans & Ho 2022) in the first channels."""

    def __init__(self, alphas, network_time, null_label):
        """alphas: alpha-bar fp64 [T]; network_time: timesteps int64 [N] -> the t that the network sees."""
        self.alphas, self.network_time, self.null_label = alphas, network_time, null_label

    def level(self, k):
        """(a, s) of timestep k: x_t = a x0 + s noise."""
        abar = self.alphas[k].item()
        return abar**0.5, (1 - abar)**0.5

    def levels(self, k, device):
        """The same of timesteps [N], each fp32 [N,1,1,1]."""
        abar = self.alphas[k].to(device)
        return expand(abar.sqrt()), expand((1 - abar).sqrt())

    def v_loss(self, net, x0, label, k, noise, autocast, weighting="v"):
        """Mean squared error of v at timesteps k [N]. On x0 that is a weight of SNR + 1; "min-snr" makes it
        min(SNR, 5) (Hang et al. 2023). A network with twice the image's channels learns its variance, too."""
        a, s = self.levels(k, x0.device)
        x = a * x0 + s * noise
        with autocast:
            out = net(x, self.network_time(k).to(x0.device), label).float()
        v, *rest = out.split(x0.shape[1], dim=1)
        error = (v - (a * noise - s * x0)).square()
        if weighting == "min-snr":
            error = error * torch.minimum(a**2, 5 * s**2)  # min(SNR, 5) / (SNR + 1)
        if not rest:
            return error.mean()
        return error.mean() + self.variational_bound(x0, x, a * x - s * v.detach(), rest[0], k)

    def variational_bound(self, x0, x, guess, fraction, k):
        """The bound in bits a pixel, times T / 1000, that teaches the variance (Nichol & Dhariwal 2021, 3.1): log variance =
        between the posterior's (fraction -1) and beta's (fraction 1), with the mean of `guess`, an estimate of x0."""
        before = torch.cat([torch.ones(1, dtype=torch.float64), self.alphas[:-1]])
        beta = 1 - self.alphas / before
        posterior = beta * (1 - before) / (1 - self.alphas)
        posterior[0] = posterior[1]  # at the last step it is 0; its logarithm is not
        log_posterior, log_beta = (expand(t.log()[k].to(x.device)) for t in (posterior, beta))
        from_x0 = expand((before.sqrt() * beta / (1 - self.alphas))[k].to(x.device))
        from_x = expand(((1 - beta).sqrt() * (1 - before) / (1 - self.alphas))[k].to(x.device))
        mean, target = from_x0 * guess + from_x * x, from_x0 * x0 + from_x * x
        u = (fraction + 1) / 2
        log_variance = u * log_beta + (1 - u) * log_posterior
        kl = 0.5 * (log_variance - log_posterior - 1 + torch.exp(log_posterior - log_variance) +
                    (target - mean).square() * torch.exp(-log_variance))
        # The last step: the probability of each of the 256 levels, the outer two with all beyond them.
        half, deviation = 1 / 255, torch.exp(0.5 * log_variance)
        above = torch.where(x0 > 0.999, torch.ones_like(x0), gaussian_cdf((x0 + half - mean) / deviation))
        below = torch.where(x0 < -0.999, torch.zeros_like(x0), gaussian_cdf((x0 - half - mean) / deviation))
        nats = torch.where(expand(k.to(x.device)) == 0, -(above - below).clamp(min=1e-12).log(), kl)
        return nats.mean() / math.log(2) * T / 1000

    def guided_v(self, net, x, label, k, guidance):
        """v at timestep k of all of x, extrapolated from the null label's (Ho & Salimans 2022)."""
        def v_of(x, label):
            t = self.network_time(torch.full((len(x),), k)).to(x.device)
            return net(x, t, label).float()[:, :x.shape[1]]

        if guidance == 1:
            return v_of(x, label)
        v, u = v_of(torch.cat([x, x]), torch.cat([label, torch.full_like(label, self.null_label)])).chunk(2)
        return u + guidance * (v - u)

    @torch.no_grad()
    def dpmpp_2m_states(self, net, x, label, ks, guidance):
        """DPM-Solver++(2M) (Lu et al. 2022) from x at timestep ks[0] through all of ks, final sigma 0.
        Yields x at each of ks, then x0; every estimate of x0 is clamped to the images' range."""
        prev, prev_h = None, None
        for k, following in zip(ks, ks[1:] + [None]):
            yield x
            a, s = self.level(k)
            x0 = (a * x - s * self.guided_v(net, x, label, k, guidance)).clamp(-1, 1)
            if following is None:
                yield x0
                return
            a2, s2 = self.level(following)
            h = math.log(a2 / s2 * s / a)
            d = x0 if prev is None else x0 + (x0 - prev) * (h / (2 * prev_h))
            x = (s2 / s) * x - a2 * math.expm1(-h) * d
            prev, prev_h = x0, h

    def dpmpp_2m(self, net, noise, label, steps, guidance):
        """x0 [N,C,H,W] from noise, trailing spacing."""
        *_, x0 = self.dpmpp_2m_states(net, noise, label, trailing(steps), guidance)
        return x0

    def denoised(self, net, x, k, label):
        """The network's estimate of x0 [N,C,H,W], not clamped, at timesteps k [N]. At k = -1, the clean
        image, it would be x itself: what makes a consistency function of a v-predicting network."""
        a, s = self.levels(k, x.device)
        return a * x - s * net(x, self.network_time(k).to(x.device), label).float()

    @torch.no_grad()
    def consistency(self, net, noise, label, ks, generator):
        """Multistep consistency sampling (Song et al. 2023, algorithm 1): estimate x0 at ks[0]; for
        each further timestep add fresh noise up to it and estimate again."""
        x = noise
        for i, k in enumerate(ks):
            if i > 0:
                a, s = self.level(k)
                x = a * x + s * torch.randn(x.shape, generator=generator).to(x.device)
            x = self.denoised(net, x, torch.full((len(x),), k), label).clamp(-1, 1)
        return x


def gaussian_cdf(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def trailing(steps):
    """The `steps` timesteps of trailing spacing, from T - 1 down."""
    return [round(T - i * T / steps) - 1 for i in range(steps)]


# t = (k + 1) / T, so that t = 0 is the clean image.
MNIST = Process(linear_alphas(), lambda k: (k.double() + 1).div(T).float(), null_label=10)
# As openai/improved-diffusion has it: t is the timestep's index.
TILES = Process(cosine_alphas(), lambda k: k.float(), null_label=10)
