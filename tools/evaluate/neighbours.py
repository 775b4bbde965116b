"""Nearest neighbours by brute force, in blocks that fit into memory. N M points, D features."""

import numpy as np


def _whole(blocks, **_):
    return blocks


def _squares(x):
    return np.einsum("nd,nd->n", x, x)


def squared_distances(a, b):
    """[N,D], [M,D] -> [N,M]: |a|^2 + |b|^2 - 2ab, which may round to just below 0."""
    return _squares(a)[:, None] + _squares(b) - 2 * (a @ b.T)


def radii(points, k, block=500, progress=_whole):
    """Distance [N] of each point to its k-th nearest other one."""
    points = np.asarray(points, np.float64)
    if not 1 <= k < len(points):
        raise ValueError(f"k from 1 to {len(points) - 1} expected, {k} found")
    out = np.empty(len(points))
    for at in progress(range(0, len(points), block), desc="radii", leave=False):
        d = squared_distances(points[at:at + block], points)
        rows = np.arange(len(d))
        d[rows, at + rows] = np.inf
        out[at:at + block] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return np.sqrt(np.maximum(out, 0))


def density_coverage(real, real_radii, fake, k, block=500, progress=_whole):
    """Density and coverage (Naeem et al. 2020) of fake [M,D] around real [N,D]; real_radii [N] are
    radii(real, k). Density: how many of the real points' balls hold a fake one, over k, on average
    (1 where both are of one distribution). Coverage: the share of balls that hold one at all."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    inside, covered = 0, 0
    for at in progress(range(0, len(real), block), desc="coverage", leave=False):
        d = squared_distances(real[at:at + block], fake)
        hits = d < real_radii[at:at + block, None] ** 2
        inside += np.count_nonzero(hits)
        covered += np.count_nonzero(hits.any(axis=1))
    return inside / (k * len(fake)), covered / len(real)


def nearest(points, base, block=1000, base_block=10000, progress=_whole):
    """Index [N] of the point of base [M,D] nearest to each of points [N,D], and how far [N].

    Looked for in fp32, which is what makes 60,000 pictures quick; of those that are equally near
    within its rounding any may be found. The distance to the one found is computed in float64.
    """
    index, least = np.zeros(len(points), np.int64), np.full(len(points), np.inf, np.float32)
    # Differences do not change, but the squares that cancel become smaller.
    centre = np.mean(base, axis=0, dtype=np.float64)
    for begin in progress(range(0, len(base), base_block), desc="neighbours", leave=False):
        part = (base[begin:begin + base_block] - centre).astype(np.float32)
        squares = _squares(part)
        for at in range(0, len(points), block):
            rows = slice(at, at + block)
            d = squares - 2 * ((points[rows] - centre).astype(np.float32) @ part.T)
            found = d.argmin(axis=1)
            value = d[np.arange(len(d)), found]
            nearer = value < least[rows]
            least[rows] = np.where(nearer, value, least[rows])
            index[rows] = np.where(nearer, begin + found, index[rows])
    far = np.asarray(points, np.float64) - np.asarray(base, np.float64)[index]
    return index, np.sqrt(_squares(far))
