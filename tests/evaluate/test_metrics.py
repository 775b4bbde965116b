"""The evaluator's figures of merit against closed forms."""

import numpy as np
import pytest

from tools.evaluate.metrics import (Moments, accuracy, cubic_mmd2, frechet_distance, half_width_95,
                                    kernel_distance, moments)

# Float64 throughout; matrices of a few tens of rows and condition 1e4 lose some 1e-10 of the trace.
NEAR = 1e-9


def gaussian(mean, covariance):
    return Moments(np.asarray(mean, float), np.asarray(covariance, float), 0)


def random_covariance(rng, d, rank=None):
    a = rng.standard_normal((d, rank or d + 3))
    return a @ a.T


def test_same_gaussian_is_zero():
    rng = np.random.default_rng(1)
    g = gaussian(rng.standard_normal(20), random_covariance(rng, 20))
    assert frechet_distance(g, g) == pytest.approx(0, abs=NEAR * np.trace(g.covariance))


def test_commuting_covariances():
    """Diagonal: |m|^2 + sum (sqrt a - sqrt b)^2; the same after a rotation of both."""
    rng = np.random.default_rng(2)
    a, b = rng.uniform(0, 9, 12), rng.uniform(0, 9, 12)
    m = rng.standard_normal(12)
    want = m @ m + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    zero = np.zeros(12)
    assert frechet_distance(gaussian(m, np.diag(a)), gaussian(zero, np.diag(b))) == pytest.approx(
        want, rel=NEAR)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    turned = [gaussian(q @ mean, q @ np.diag(v) @ q.T) for mean, v in ((m, a), (zero, b))]
    assert frechet_distance(*turned) == pytest.approx(want, rel=NEAR)


def test_covariances_that_do_not_commute():
    """2 x 2: tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det A det B))."""
    a, b = np.array([[4, 1], [1, 2.0]]), np.array([[1, -0.8], [-0.8, 3.0]])
    assert not np.allclose(a @ b, b @ a)
    cross = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    want = np.trace(a) + np.trace(b) - 2 * cross + 25
    found = frechet_distance(gaussian([3, 4], a), gaussian([0, 0], b))
    assert found == pytest.approx(want, rel=NEAR)
    assert frechet_distance(gaussian([0, 0], b), gaussian([3, 4], a)) == pytest.approx(found, rel=NEAR)


def test_singular_covariance():
    """A feature that never fires, and one Gaussian on a line: |u| and |v| apart by their angle."""
    u, v = np.array([2.0, 0, 0]), np.array([1.0, 1, 0])
    want = u @ u + v @ v - 2 * abs(u @ v)
    found = frechet_distance(gaussian(np.zeros(3), np.outer(u, u)), gaussian(np.zeros(3),
                                                                             np.outer(v, v)))
    # The square root of a rounding error of 1e-16 is 1e-8.
    assert found == pytest.approx(want, abs=1e-7)


def test_moments_of_samples():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 7)) * 3 + 1
    found = moments(x.astype(np.float32))
    assert found.n == 500
    x = x.astype(np.float32).astype(np.float64)
    centred = x - x.sum(axis=0) / 500
    np.testing.assert_allclose(found.mean, x.sum(axis=0) / 500, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, centred.T @ centred / 499, rtol=1e-10, atol=1e-12)


def test_samples_approach_the_truth():
    """Two sets drawn from known Gaussians: the distance found is that of the Gaussians."""
    rng = np.random.default_rng(4)
    d, n = 8, 100000
    scale = np.linspace(0.5, 2, d)
    a, b = rng.standard_normal((n, d)), 1 + rng.standard_normal((n, d)) * scale
    want = d + ((1 - scale) ** 2).sum()
    # Standard error of |mean|^2 is 2 sqrt(sum var / n) = 0.023 here; four of them.
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(want, abs=0.09)


@pytest.mark.parametrize("bad", [np.zeros(5), np.zeros((1, 5)), np.zeros((2, 2, 2))])
def test_moments_refuse(bad):
    with pytest.raises(ValueError, match="N,D"):
        moments(bad)


def test_accuracy():
    assert accuracy([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75
    for predicted, labels in (([1], [1, 2]), ([], [])):
        with pytest.raises(ValueError):
            accuracy(predicted, labels)


def test_half_width():
    """Wilson's interval: 0.5 of 100 is +-0.0962; 1 of n is not +-0."""
    assert half_width_95(0.5, 100) == pytest.approx(0.0962, abs=5e-5)
    assert half_width_95(1.0, 1000) == pytest.approx(0.00191, abs=5e-5)


def test_mmd_by_loops():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((6, 4)), rng.standard_normal((9, 4)) + 0.5

    def mean(pairs):
        return np.mean([(a @ b / 4 + 1) ** 3 for a, b in pairs])

    def others(z):
        return [(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]

    want = mean(others(x)) + mean(others(y)) - 2 * mean([(a, b) for a in x for b in y])
    assert cubic_mmd2(x, y) == pytest.approx(want, rel=NEAR)


def test_kernel_distance():
    """Unbiased: around 0 for one distribution, whatever the size; the true value of another. For
    one feature N(0,1) against N(1,1), E(xy + 1)^3 is 1 + 3 m1 m1' + 3 m2 m2' + m3 m3' of the raw
    moments: 1 + 3 + 0, 1 + 3 + 12 + 16 and 1 + 0 + 6 + 0."""
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((20000, 1)), rng.standard_normal((20000, 1))
    same, error = kernel_distance(x, y, subsets=50, size=200)
    assert abs(same) < 5 * error
    found, error = kernel_distance(x, y + 1, subsets=50, size=500)
    assert found == pytest.approx(4 + 32 - 2 * 7, abs=6 * error) and error < 2
    assert kernel_distance(x, y, subsets=50, size=200) == (same, kernel_distance(
        x, y, subsets=50, size=200)[1]), "seeded"
    few, _ = kernel_distance(x[:30], y[:50], subsets=2, size=1000)
    assert abs(few) < 10, "no more than there are"
