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
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance)
                 - 2 * cross)


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
