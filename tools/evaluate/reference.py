"""The real digits as the evaluator sees them: what generated ones are measured against.

Features are divided by their standard deviation over the 60,000 training digits, so that no feature
outweighs another by its scale alone. The floor, FD(real test 10k, real train 60k), is what a perfect
generator would score.
"""

import dataclasses

import numpy as np
from tqdm import tqdm

from tools import mnist
from tools.evaluate.metrics import Moments, accuracy, frechet_distance, half_width_95, moments


@dataclasses.dataclass(frozen=True)
class Reference:
    scale: np.ndarray  # [D]
    train: Moments
    test: Moments
    test_accuracy: float

    @property
    def floor(self):
        return frechet_distance(self.test, self.train)


def _measure(evaluator):
    train_images, _ = mnist.load("train")
    test_images, test_labels = mnist.load("t10k")
    train, _ = evaluator.run(train_images, progress=tqdm)
    test, predicted = evaluator.run(test_images, progress=tqdm)
    spread = train.astype(np.float64).std(axis=0)
    scale = 1 / np.where(spread > 0, spread, 1)  # a feature that never fires stays 0
    return Reference(scale, moments(train * scale), moments(test * scale),
                     accuracy(predicted, test_labels))


def load(evaluator):
    """The reference of this evaluator, from the cache or measured now (a minute or two)."""
    path = mnist.cache_dir() / "evaluator" / f"reference-{evaluator.sha256[:16]}.npz"
    if path.is_file():
        with np.load(path) as f:
            return Reference(f["scale"], Moments(f["train_mean"], f["train_cov"], int(f["train_n"])),
                             Moments(f["test_mean"], f["test_cov"], int(f["test_n"])),
                             float(f["test_accuracy"]))
    r = _measure(evaluator)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, scale=r.scale, test_accuracy=r.test_accuracy,
             train_mean=r.train.mean, train_cov=r.train.covariance, train_n=r.train.n,
             test_mean=r.test.mean, test_cov=r.test.covariance, test_n=r.test.n)
    part.replace(path)
    return r


def judge(evaluator, reference, images, labels):
    """Figures of generated images uint8 [N,28,28] with the labels [N] that they were asked for."""
    features, predicted = evaluator.run(images, progress=tqdm)
    generated = moments(features * reference.scale)
    fd_train = frechet_distance(generated, reference.train)
    ca = accuracy(predicted, labels)
    by_label = {str(c): round(accuracy(predicted[labels == c], labels[labels == c]), 6)
                for c in np.unique(labels)}
    return {"count": len(images), "ca": ca, "ca_half_width_95": half_width_95(ca, len(images)),
            "ca_by_label": by_label, "fd_train": fd_train,
            "fd_test": frechet_distance(generated, reference.test),
            "rfd": fd_train / reference.floor}
