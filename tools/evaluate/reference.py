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
from tools.evaluate.pieces import digest, keep


@dataclasses.dataclass(frozen=True)
class Reference:
    scale: np.ndarray  # [D]
    train_features: np.ndarray  # [60000,D], standardised, as the test set's are
    test_features: np.ndarray
    train: Moments
    test: Moments
    test_accuracy: float

    @property
    def floor(self):
        return frechet_distance(self.test, self.train)


def seen(evaluator, images):
    """Features [N,D] and predictions [N] of images, kept."""
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
    spread = train.astype(np.float64).std(axis=0)
    scale = 1 / np.where(spread > 0, spread, 1)  # a feature that never fires stays 0
    train, test = train * scale, test * scale
    return Reference(scale, train, test, moments(train), moments(test),
                     accuracy(predicted, test_labels))


def judge(evaluator, reference, images, labels):
    """CA and FD of generated images uint8 [N,28,28] with the labels [N] that they were asked for."""
    features, predicted = evaluator.run(images, progress=tqdm)
    return agreement(predicted, labels) | distances(features * reference.scale, reference)


def agreement(predicted, labels):
    """How many of the images the evaluator reads as the digits that they were to be."""
    ca = accuracy(predicted, labels)
    return {"count": len(labels), "ca": ca, "ca_half_width_95": half_width_95(ca, len(labels)),
            "ca_by_label": {str(c): round(accuracy(predicted[labels == c], labels[labels == c]), 6)
                            for c in np.unique(labels)}}


def distances(features, reference):
    """FD of standardised features [N,D] to both sets of real digits."""
    generated = moments(features)
    fd_train = frechet_distance(generated, reference.train)
    return {"fd_train": fd_train, "fd_test": frechet_distance(generated, reference.test),
            "rfd": fd_train / reference.floor}
