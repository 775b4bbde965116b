"""The whole protocol: every figure of generated images, and what real digits score at the same.

The real row is the 10,000 test digits in the place of generated ones, for FD test as many training
digits: a generator cannot be asked for more than that. FD is not divided by the real row's, which
is nearly nothing, and in good part what FD finds between any two samples of one distribution: the
ratio would tell of the number of images.
"""

import dataclasses
import functools

import numpy as np
from tqdm import tqdm

from tools import mnist
from tools.evaluate import neighbours, reference
from tools.evaluate.metrics import accuracy, expected_coverage, kernel_distance
from tools.evaluate.network import SHIPPED, SHIPPED_MLP, Evaluator
from tools.evaluate.pieces import digest, keep, keep_json

BALLS = 5  # the k of density and coverage
NEAR = 0.01  # of the real test digits are nearer to a training digit than what counts as near
MOST = 10000  # images of one piece: as many as there are real test digits

# What a result has one number of for each seed, and how a table heads it.
FIGURES = {
    "ca": "CA %", "ca_mlp": "CA mlp %", "fd_train": "FD train", "fd_test": "FD test",
    "kid": "KID x1000", "density": "density", "coverage": "coverage",
    "memory_pixels": "MEM pixels", "memory_features": "MEM features", "near": "near %",
}
QUICK = ("ca", "fd_train", "fd_test", "density", "coverage")


class Protocol:
    """quick: no more than the figures of QUICK."""

    def __init__(self, evaluator=SHIPPED, second=SHIPPED_MLP, quick=False):
        self.cnn, self.mlp, self.quick = Evaluator(evaluator), Evaluator(second), quick
        self.reference = reference.load(self.cnn)
        self.train_images, self.train_labels = mnist.load("train")
        self.test_images, self.test_labels = mnist.load("t10k")
        # What the figures depend on of the evaluator and of the real digits.
        self._real = {"features": digest(self.reference.train_features),
                      "train": digest(self.train_images), "test": digest(self.test_images)}
        self._asked = {**self._real, "evaluators": [e.sha256 for e in (self.cnn, self.mlp)],
                       "quick": quick}

    def _sample(self, features, count):
        """`count` of the real features, always the same."""
        if count > len(features):
            raise ValueError(f"{count} images: there are {len(features)} real ones to compare with")
        return features[np.random.default_rng(1).permutation(len(features))[:count]]

    def _density_coverage(self, features):
        key = {"features": self._real["features"], "k": BALLS, "count": len(features)}
        real = self._sample(self.reference.train_features, len(features))
        r = keep("radii", key, lambda: {"r": neighbours.radii(real, BALLS, progress=tqdm)})["r"]
        return neighbours.density_coverage(real, r, features, BALLS, progress=tqdm)

    def nearest_training(self, images):
        """Index [N] of the training image nearest to each in pixels of 0..1, and how far [N]."""
        def make():
            flat = [x.reshape(len(x), -1) for x in (images, self.train_images)]
            index, far = neighbours.nearest(*flat, progress=tqdm)
            return {"index": index, "far": far / 255}

        found = keep("nearest", {"train": self._real["train"], "images": digest(images)}, make)
        return found["index"], found["far"]

    def _far(self, images, features):
        """Distances [N] to the nearest training image: in pixels, in features."""
        _, far = neighbours.nearest(features, self.reference.train_features, progress=tqdm)
        return self.nearest_training(images)[1], far

    @functools.cached_property
    def real_far(self):
        """Of the real test digits the median distances in pixels and in features, and the distance
        in pixels below which NEAR of them are."""
        def make():
            pixels, features = self._far(self.test_images, self.reference.test_features)
            return {"far": [np.median(pixels), np.median(features), np.quantile(pixels, NEAR)]}

        return keep("real-far", {**self._real, "near": NEAR}, make)["far"]

    def _slow_figures(self, images, labels, features):
        kid, kid_error = kernel_distance(features, self.reference.train_features)
        pixels, far = self._far(images, features)
        medians = np.array([np.median(pixels), np.median(far)])
        ratio = medians / self.real_far[:2]
        return {"ca_mlp": accuracy(reference.seen(self.mlp, images)[1], labels),
                "kid": 1000 * kid, "kid_standard_error": 1000 * kid_error,
                "far_pixels": float(medians[0]), "far_features": float(medians[1]),
                "memory_pixels": float(ratio[0]), "memory_features": float(ratio[1]),
                "near": float((pixels < self.real_far[2]).mean())}

    def figures(self, images, labels):
        """Every figure of FIGURES of up to MOST images, CA by label, and CA's interval."""
        def make():
            raw, predicted = reference.seen(self.cnn, images)
            features = self.reference.standard(raw)
            density, coverage = self._density_coverage(features)
            return {**reference.agreement(predicted, labels),
                    **reference.distances(features, self.reference),
                    "density": density, "coverage": coverage,
                    **({} if self.quick else self._slow_figures(images, labels, features))}

        key = {**self._asked, "images": digest(images), "labels": digest(labels)}
        return keep_json("figures", key, make)

    def real(self, count):
        """The floor of each figure: the test digits measured like `count` generated ones. What
        depends on how many there are is of as many test digits, the rest of all."""
        def make():
            test = self.reference.test_features
            some = test if count == len(test) else self._sample(test, count)
            density, coverage = self._density_coverage(some)
            other = self._sample(self.reference.train_features, count)  # test to test is 0
            found = {"count": count, "ca": self.reference.test_accuracy,
                     "fd_train": reference.distances(some, self.reference)["fd_train"],
                     "fd_test": reference.distances(other, self.reference)["fd_test"],
                     "density": density, "coverage": coverage,
                     "expected_coverage": expected_coverage(count, count, BALLS)}
            if not self.quick:
                found |= self._slow_figures(self.test_images, self.test_labels, test)
            return found

        return keep_json("real", {**self._asked, "count": count}, make)

    def together(self, pieces):
        """CA and FD of the images of all seeds as one set: [(images, labels), ...]."""
        predicted, features = [], []
        for images, _ in pieces:
            f, p = reference.seen(self.cnn, images)
            features.append(f)
            predicted.append(p)
        return {**reference.agreement(np.concatenate(predicted),
                                      np.concatenate([labels for _, labels in pieces])),
                **reference.distances(self.reference.standard(np.concatenate(features)),
                                      self.reference)}


@dataclasses.dataclass
class Result:
    """Of one setting: a dict of figures for each seed, mean and spread over the seeds, and all
    images together."""

    name: str
    seeds: list
    each: list
    together: dict
    evaluations: int | None = None
    drawing: dict | None = None
    cas: list = dataclasses.field(default_factory=list)  # accuracies, one a training
    cas_count: int = 0  # the images trained on

    def figures(self):
        return [f for f in FIGURES if f in self.each[0]]

    def mean(self, figure):
        return float(np.mean([f[figure] for f in self.each]))

    def spread(self, figure):
        """Standard deviation over the seeds; None of one seed."""
        values = [f[figure] for f in self.each]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def as_json(self):
        return {**dataclasses.asdict(self), "mean": {f: self.mean(f) for f in self.figures()},
                "spread": {f: self.spread(f) for f in self.figures()}}


def measure(protocol, pieces, seeds, drawing=None, name=None):
    """The Result of a Drawing, or of images called `name`: [(images, labels), ...], one a seed."""
    result = Result(name, seeds, [protocol.figures(*piece) for piece in pieces],
                    protocol.together(pieces))
    if drawing:
        result.name, result.evaluations = drawing.name(), drawing.evaluations
        result.drawing = dataclasses.asdict(drawing)
    return result
