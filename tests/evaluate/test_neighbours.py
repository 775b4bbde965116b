"""Nearest neighbours, density and coverage against loops over single points."""

import numpy as np
import pytest

from tools.evaluate import neighbours
from tools.evaluate.metrics import expected_coverage


def points(n, d=5, seed=1, shift=0.0):
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def distances(a, b):
    return np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a])


@pytest.mark.parametrize("k", [1, 3])
def test_radii(k):
    x = points(40)
    want = [np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(distances(x, x))]
    for block in (40, 7):
        np.testing.assert_allclose(neighbours.radii(x, k, block=block), want, rtol=1e-9)


def test_radii_of_two_equal_points_are_zero():
    x = points(5)
    x[3] = x[1]
    r = neighbours.radii(x, 1)
    # |a|^2 + |b|^2 - 2ab rounds at 1e-15, its square root at 3e-8.
    assert r[1] < 1e-6 and r[3] < 1e-6 and r[0] > 0.1


@pytest.mark.parametrize("k", [0, 5])
def test_radii_refuse(k):
    with pytest.raises(ValueError, match="k from 1 to 4"):
        neighbours.radii(points(5), k)


def test_density_and_coverage():
    real, fake, k = points(50), points(30, seed=2, shift=0.5), 3
    r = neighbours.radii(real, k)
    inside = distances(real, fake) < r[:, None]
    want = inside.sum() / (k * 30), np.mean([row.any() for row in inside])
    assert 0 < want[1] < 1, "both answers are there"
    for block in (50, 8):
        assert neighbours.density_coverage(real, r, fake, k, block=block) == pytest.approx(want)
    assert neighbours.density_coverage(real, r, fake + 100, k) == (0, 0)


def test_coverage_of_the_same_distribution():
    """Both are free of the distribution: 1, and the lemma's value; here of 1,000 points, whose
    standard errors are some 0.02 and 0.008."""
    real, fake = points(1000), points(1000, seed=3)
    density, coverage = neighbours.density_coverage(real, neighbours.radii(real, 5), fake, 5)
    assert density == pytest.approx(1, abs=0.08)
    assert coverage == pytest.approx(expected_coverage(1000, 1000, 5), abs=0.03)


def test_expected_coverage():
    assert expected_coverage(10000, 10000, 5) == pytest.approx(0.969, abs=5e-4)
    # One ball reaching to the nearest of 2 others, one fake point: 1/2 by symmetry.
    assert expected_coverage(2, 1, 1) == pytest.approx(0.5)


def test_nearest():
    base, asked = points(70, d=9), points(25, d=9, seed=4)
    asked[3] = base[55]
    d = distances(asked, base)
    index, far = neighbours.nearest(asked, base, block=10, base_block=30)
    np.testing.assert_array_equal(index, d.argmin(axis=1))
    np.testing.assert_allclose(far, d.min(axis=1), rtol=1e-12)
    assert far[3] == 0 and index[3] == 55


def test_nearest_of_pictures():
    """Integers whose squares are too large for fp32 to add exactly."""
    rng = np.random.default_rng(5)
    base = rng.integers(0, 256, (40, 784), np.uint8)
    asked = base[::3].astype(int)
    asked[:, :7] = 255 - asked[:, :7]
    index, far = neighbours.nearest(asked.astype(np.uint8), base)
    np.testing.assert_array_equal(index, np.arange(0, 40, 3))
    want = np.sqrt(((asked - base[::3]) ** 2).sum(axis=1))
    np.testing.assert_allclose(far, want, rtol=1e-12)
