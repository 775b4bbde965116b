"""The real digits as the evaluator sees them: what generated ones are measured against.

Features are divided by their standard deviation over the 60,000 training digits, so that no feature
outweighs another by its scale alone. That blows up a feature that hardly ever fires: one that does
on a single digit of 60,000 adds 1 to every Frechet distance, and several where a generated image
fires it too. So features that fire on less than RARE of the training digits are left out.
"""

import dataclasses

import numpy as np
from tqdm import tqdm

from tools import mnist
from tools.evaluate.metrics import Moments, accuracy, frechet_distance, half_width_95, moments
from tools.evaluate.pieces import digest, keep

RARE = 0.01  # of the training digits
# The most that one training digit may have of a feature, in standard deviations. A feature that is
# on or off has 10 if it fires on RARE of them.
MOST_DEVIATIONS = 30


@dataclasses.dataclass(frozen=True)
class Standard:
    """Which features count, and what each of them is multiplied by."""

    kept: np.ndarray  # [K], indices into the evaluator's features
    scale: np.ndarray  # [K]

    def __call__(self, raw):
        """Features [N,D] as the evaluator gives them -> [N,K], float64."""
        return raw[:, self.kept] * self.scale


def standard(train):
    """The Standard of training features [N,D] after ReLU. Raises ValueError where it would make a
    feature of a few digits outweigh the others."""
    kept = np.flatnonzero((train > 0).mean(axis=0) >= RARE)
    if len(kept) == 0:
        raise ValueError(f"no feature fires on {RARE:.0%} of the training digits")
    found = train[:, kept].astype(np.float64)
    spread = found.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.abs(found - found.mean(axis=0)).max(axis=0) / spread
    for feature, deviations in zip(kept, most):
        if not deviations <= MOST_DEVIATIONS:
            raise ValueError(f"feature {feature}: a training digit is {deviations:.1f} standard "
                             f"deviations from the mean, {MOST_DEVIATIONS} are sane")
    return Standard(kept, 1 / spread)


@dataclasses.dataclass(frozen=True)
class Reference:
    standard: Standard
    train_features: np.ndarray  # [60000,K], standardised, as the test set's are
    test_features: np.ndarray
    train: Moments
    test: Moments
    test_accuracy: float


def seen(evaluator, images):
    """Features [N,D] and predictions [N] of images, kept. They depend on no metric."""
    def make():
        features, predicted = evaluator.run(images, progress=tqdm)
        return {"features": features, "predicted": predicted}

    found = keep("features", {"evaluator": evaluator.sha256, "images": digest(images)}, make)
    return found["features"], found["predicted"]


def load(evaluator):
    """The reference of this evaluator: a minute or two the first time, then kept."""
    train, _ = seen(evaluator, mnist.load("train")[0])
    test_images, test_labels = mnist.load("t10k")
    test, predicted = seen(evaluator, test_images)
    counted = standard(train)
    train, test = counted(train), counted(test)
    return Reference(counted, train, test, moments(train), moments(test),
                     accuracy(predicted, test_labels))


def judge(evaluator, reference, images, labels):
    """CA and FD of generated images uint8 [N,28,28] with the labels [N] that they were asked for."""
    features, predicted = evaluator.run(images, progress=tqdm)
    return agreement(predicted, labels) | distances(reference.standard(features), reference)


def agreement(predicted, labels):
    """How many of the images the evaluator reads as the digits that they were to be."""
    ca = accuracy(predicted, labels)
    return {"count": len(labels), "ca": ca, "ca_half_width_95": half_width_95(ca, len(labels)),
            "ca_by_label": {str(c): round(accuracy(predicted[labels == c], labels[labels == c]), 6)
                            for c in np.unique(labels)}}


def distances(features, reference):
    """FD of standardised features [N,K] to both sets of real digits."""
    generated = moments(features)
    return {"fd_train": frechet_distance(generated, reference.train),
            "fd_test": frechet_distance(generated, reference.test)}
