"""Figures of merit in plain NumPy, all in float64. N images, D features."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Mean [D] and covariance [D,D] of features, and how many images they are of."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def moments(features):
    """Moments of features [N,D]; the covariance is the unbiased one."""
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features [N,D] with N >= 2 expected, {features.shape} found")
    return Moments(features.mean(axis=0), np.cov(features, rowvar=False).reshape(
        features.shape[1], features.shape[1]), len(features))


def _square_root(matrix):
    """Of a symmetric positive semi-definite matrix, by eigen-decomposition."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(a, b):
    """Squared Frechet distance of two Gaussians (Dowson and Landau 1982; Heusel et al. 2017, FID):
    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    (S_a S_b)^(1/2) has the trace of (S_a^(1/2) S_b S_a^(1/2))^(1/2), whose inside is symmetric, so
    that no complex square root is needed.
    """
    root = _square_root(a.covariance)
    inside = root @ b.covariance @ root
    eigenvalues = np.linalg.eigvalsh((inside + inside.T) / 2)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    return max(0.0, float(distance))  # which may round to just below


def accuracy(predicted, labels):
    """Share of predictions that equal the labels."""
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.shape != labels.shape or predicted.size == 0:
        raise ValueError(f"as many predictions as labels expected: {predicted.shape}, {labels.shape}")
    return float((predicted == labels).mean())


def half_width_95(share, n):
    """Half of the 95 % confidence interval of a share of n (Wilson)."""
    z = 1.959964
    return z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))


def cubic_mmd2(x, y):
    """Squared maximum mean discrepancy of samples [N,D] and [M,D], unbiased, with the kernel of
    KID: (x.y / D + 1)^3 (Binkowski et al. 2018)."""
    def kernel(a, b):
        base = a @ b.T / a.shape[1] + 1
        return base * base * base  # ** 3 calls pow()

    n, m = len(x), len(y)
    xx, yy = kernel(x, x), kernel(y, y)
    return float((xx.sum() - np.trace(xx)) / (n * (n - 1))
                 + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * kernel(x, y).mean())


def kernel_distance(x, y, subsets=100, size=1000, seed=1):
    """KID: the mean of cubic_mmd2() over random subsets of both, and the standard error of it."""
    size = min(size, len(x), len(y))
    rng = np.random.default_rng(seed)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    found = [cubic_mmd2(x[rng.choice(len(x), size, replace=False)],
                        y[rng.choice(len(y), size, replace=False)]) for _ in range(subsets)]
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(subsets))


def expected_coverage(n_real, n_fake, k):
    """Coverage of n_fake points by n_real of the same distribution, whichever it is (Naeem et al.
    2020, lemma 2)."""
    missed = 1.0
    for i in range(k):
        missed *= (n_real - 1 - i) / (n_real + n_fake - 1 - i)
    return 1 - missed
