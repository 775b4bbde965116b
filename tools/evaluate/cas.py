"""Classification accuracy score (Ravuri & Vinyals 2019): a network that learns from generated
digits alone reads the real test digits. What the generator leaves out or gets wrong, it cannot
learn.
"""

import dataclasses

from tqdm import tqdm

from tools import mnist
from tools.evaluate.metrics import accuracy
from tools.evaluate.network import Evaluator
from tools.evaluate.pieces import digest, keep

COUNT = 60000  # as many as there are real ones to learn from


def scores(images, labels, trainings, recipe=None):
    """Accuracies on the real test digits of `trainings` networks, each from another seed; minutes
    to an hour each, and kept. By default they are trained as the evaluator was."""
    from tools.evaluate.train import RECIPES, fit  # PyTorch

    recipe = recipe or RECIPES["cnn"]
    test_images, test_labels = mnist.load("t10k")

    def score(one):
        weights = fit(one, images, labels, f"CAS, seed {one.seed}")
        return {"accuracy": accuracy(Evaluator.of(weights).run(test_images, progress=tqdm)[1],
                                     test_labels)}

    found = []
    for seed in range(1, trainings + 1):
        one = dataclasses.replace(recipe, seed=seed)
        key = {"recipe": dataclasses.asdict(one), "images": digest(images),
               "labels": digest(labels), "test": digest(test_images)}
        found.append(float(keep("cas", key, lambda: score(one))["accuracy"]))
    return found
