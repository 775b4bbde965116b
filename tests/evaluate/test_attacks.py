"""Each figure attacked: by features that hardly fire, by copies, images all alike, wrong ones.

300 digits of the few-step model stand for real test digits and 600 for training digits. What a
figure does not see is asserted as well, so that the text beside the tables stays true.
"""

import numpy as np
import pytest

from tests.cli.conftest import MODEL
from tools import mnist
from tools.evaluate import reference
from tools.evaluate.generate import Settings
from tools.evaluate.metrics import frechet_distance, moments
from tools.evaluate.protocol import Protocol

N = 300
STUDENT = str(MODEL.with_name("mnist-fast.safetensors"))


@pytest.fixture(scope="module")
def sets(program, tmp_path_factory):
    """Stand-ins of the real digits; what the evaluators see of them is kept for this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENOISED_CACHE", str(tmp_path_factory.mktemp("attacks")))
        images, labels = program.draw(Settings(model=STUDENT, steps=1), 3 * N, 1)
        order = np.random.default_rng(1).permutation(3 * N)
        sets = {"t10k": (images[order[:N]], labels[order[:N]]),
                "train": (images[order[N:]], labels[order[N:]])}
        patch.setattr(mnist, "load", sets.__getitem__)
        yield sets


@pytest.fixture(scope="module")
def protocol(sets):
    return Protocol()


@pytest.fixture(scope="module")
def real(protocol):
    return protocol.real(N)


# ---- the spectrum of the features ----------------------------------------------------------------

def features(n, seed=1):
    """After a ReLU, three that fire often."""
    return np.maximum(np.random.default_rng(seed).standard_normal((n, 3)), 0).astype(np.float32)


def with_one(n, firing, value=0.875):
    """features(n), and a fourth that fires on `firing` of them."""
    extra = np.zeros((n, 1), np.float32)
    extra[:firing] = value
    return np.hstack([features(n), extra])


@pytest.mark.parametrize("firing, kept", [(0, 3), (1, 3), (19, 3), (20, 4), (2000, 4)])
def test_what_fires_on_less_than_one_in_a_hundred_is_left_out(firing, kept):
    raw = with_one(2000, firing)
    raw[:, 3] *= np.linspace(0.9, 1, 2000)  # not constant where it always fires
    counted = reference.standard(raw)
    assert counted.kept.tolist() == [0, 1, 2, 3][:kept]
    np.testing.assert_allclose(counted(raw).std(axis=0), 1, rtol=1e-6)
    assert abs(counted(raw) - counted(raw).mean(axis=0)).max() < 12


@pytest.mark.parametrize("spoil", [
    lambda raw: raw[0].__setitem__(3, 1e4),  # it fires often, and one digit outweighs the rest
    lambda raw: raw.__setitem__((slice(None), 3), 0.5),  # a constant
    lambda raw: raw[0].__setitem__(3, np.nan)])
def test_a_spectrum_that_is_not_sane_is_refused(spoil):
    raw = with_one(2000, 1000)
    reference.standard(raw)
    spoil(raw)
    with pytest.raises(ValueError, match="feature 3: .* 30 are sane"):
        reference.standard(raw)


def test_no_feature_is_an_error():
    with pytest.raises(ValueError, match="no feature"):
        reference.standard(np.zeros((2000, 3), np.float32))


class Planted:
    """An evaluator with one feature more, which fires on one image alone."""

    def __init__(self, evaluator, image):
        self.evaluator, self.image, self.sha256 = evaluator, image, "planted"

    def run(self, images, **options):
        raw, predicted = self.evaluator.run(images, **options)
        fires = (images == self.image).all(axis=(1, 2))
        return np.hstack([raw, 0.875 * fires[:, None].astype(np.float32)]), predicted


def test_a_feature_that_fires_once_counts_for_nothing(sets, evaluator):
    """Neither where no generated image fires it nor where one does."""
    (train, _), (images, labels) = sets["train"], sets["t10k"]
    planted = Planted(evaluator, train[5])
    firing = np.concatenate([images[1:], train[5:6]])
    for some in (images, firing):
        want = reference.judge(evaluator, reference.load(evaluator), some, labels)
        assert reference.judge(planted, reference.load(planted), some, labels) == want


def test_without_that_the_distance_is_bent():
    """What the rule is for: standardised, the feature alone adds the 1 of its own variance, and far
    more where it fires."""
    raw, generated = with_one(2000, 1), features(2000, 2)
    scale = 1 / raw.std(axis=0)

    def distance(fourth):
        found = np.hstack([generated, fourth]) * scale
        return frechet_distance(moments(found), moments(raw * scale))

    plain = frechet_distance(moments(generated * scale[:3]), moments((raw * scale)[:, :3]))
    assert distance(np.zeros((2000, 1))) == pytest.approx(plain + 1, abs=0.01)
    fourth = np.zeros((2000, 1))
    fourth[:2] = 2
    assert distance(fourth) > plain + 3


# ---- the figures ---------------------------------------------------------------------------------

def copies(sets, share, shift=0):
    """Test digits with a share of training digits in their place, moved by some pixels."""
    images, labels = (x.copy() for x in sets["t10k"])
    n = int(share * N)
    images[:n], labels[:n] = np.roll(sets["train"][0][:n], shift, axis=2), sets["train"][1][:n]
    return images, labels


def test_copies(protocol, real, sets):
    """They beat real digits in all that compares distributions; these two tell them."""
    found = protocol.figures(*copies(sets, 1))
    assert found["fd_train"] < real["fd_train"] and found["coverage"] > real["coverage"]
    assert found["memory_pixels"] == found["memory_features"] == 0 and found["near"] == 1


def test_a_fifth_of_copies(protocol, real, sets):
    """A median does not see so few."""
    assert real["near"] == pytest.approx(0.01, abs=0.005)
    found = protocol.figures(*copies(sets, 0.2))
    assert found["memory_pixels"] > 0.85 and found["near"] == pytest.approx(0.21, abs=0.02)


def test_copies_moved_by_a_pixel(protocol, real, sets):
    """Pixels do not see them, features do."""
    moved = protocol.figures(*copies(sets, 1, shift=1))
    same = protocol.figures(np.roll(sets["t10k"][0], 1, axis=2), sets["t10k"][1])
    assert moved["near"] < 0.05 and moved["memory_pixels"] > 0.85
    assert moved["memory_features"] < 0.85 < same["memory_features"]


def test_digits_moved_by_a_pixel(protocol, real, sets):
    found = protocol.figures(np.roll(sets["t10k"][0], 1, axis=2), sets["t10k"][1])
    assert found["ca"] > 0.95 and found["ca_mlp"] > 0.95
    assert found["fd_train"] > real["fd_train"] and found["coverage"] < real["coverage"]


def test_wrong_labels(protocol, real, sets):
    """CA alone sees labels."""
    images, labels = sets["t10k"]
    found, right = (protocol.figures(images, x) for x in ((labels + 1) % 10, labels))
    assert max(found["ca"], found["ca_mlp"]) < 0.05 < 0.95 < min(right["ca"], right["ca_mlp"])
    for figure in ("fd_train", "fd_test", "kid", "density", "coverage", "memory_pixels", "near"):
        assert found[figure] == right[figure]


def alike(sets, each):
    """`each` test digits of every class, again and again."""
    images, labels = sets["t10k"]
    chosen = np.concatenate([np.flatnonzero(labels == c)[:each] for c in range(10)])
    index = np.resize(chosen, N)
    return images[index], labels[index]


def test_one_image_of_each_class(protocol, real, sets):
    found = protocol.figures(*alike(sets, 1))
    assert found["ca"] == 1, "CA sees nothing of it"
    assert found["fd_train"] > 3 * real["fd_train"] and found["coverage"] < real["coverage"] / 4
    assert found["kid"] > real["kid"] + 3 * real["kid_standard_error"]


def test_few_images_of_each_class(protocol, real, sets):
    """Density cannot tell, coverage can."""
    found = protocol.figures(*alike(sets, 5))
    assert found["density"] > 0.7 * real["density"] and found["coverage"] < 0.8 * real["coverage"]
    assert found["fd_train"] > real["fd_train"]


def test_one_class(protocol, real, sets):
    images, labels = sets["t10k"]
    index = np.resize(np.flatnonzero(labels == 1), N)
    found = protocol.figures(images[index], labels[index])
    assert found["ca"] > 0.95, "nor of that"
    assert found["fd_train"] > 5 * real["fd_train"] and found["coverage"] < real["coverage"] / 4


@pytest.mark.parametrize("value", [0, 255])
def test_one_constant_image(protocol, real, sets, value):
    found = protocol.figures(np.full((N, 28, 28), value, np.uint8), sets["t10k"][1])
    assert found["fd_train"] > 5 * real["fd_train"]
    assert found["kid"] > real["kid"] + 10 * real["kid_standard_error"]
    assert found["density"] < real["density"] / 2 and found["coverage"] < 0.02
    assert max(found["ca"], found["ca_mlp"]) < 0.25


def test_a_twentieth_of_noise(protocol, real, sets):
    images, labels = (x.copy() for x in sets["t10k"])
    images[:N // 20] = np.random.default_rng(1).integers(0, 256, (N // 20, 28, 28), np.uint8)
    found = protocol.figures(images, labels)
    assert found["ca"] < real["ca"] - 0.03 and found["fd_train"] > 3 * real["fd_train"]
    # The others look at the middle of a set, or at what is covered.
    assert found["coverage"] > 0.9 * real["coverage"] and found["memory_pixels"] < 1.1
