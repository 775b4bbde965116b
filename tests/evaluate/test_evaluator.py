"""The evaluator networks, the reference figures, and the shipped model's images judged."""

import numpy as np
import pytest

from tools.evaluate import network, reference
from tools.evaluate.metrics import accuracy, frechet_distance, moments
from tools.evaluate.network import Evaluator


def test_convolution():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 5, 4, 3)).astype(np.float32)
    weight = rng.standard_normal((6, 3, 3, 3)).astype(np.float32)
    bias = rng.standard_normal(6).astype(np.float32)
    want = np.zeros((2, 5, 4, 6))
    for n, y, xx, o in np.ndindex(want.shape):
        total = float(bias[o])
        for i, dy, dx in np.ndindex(3, 3, 3):
            v, u = y + dy - 1, xx + dx - 1
            if 0 <= v < 5 and 0 <= u < 4:
                total += float(x[n, v, u, i]) * float(weight[o, i, dy, dx])
        want[n, y, xx, o] = max(total, 0)
    # 27 products of float32 values of order 1.
    np.testing.assert_allclose(network.conv3x3_relu(x, weight, bias), want, atol=1e-5)


def test_pooling():
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    want = np.maximum.reduce([x[:, a::2, b::2] for a in (0, 1) for b in (0, 1)])
    np.testing.assert_array_equal(network.max_pool2(x), want)


def test_mlp():
    rng = np.random.default_rng(2)
    weights = {"fc0.weight": rng.standard_normal((6, 784)), "fc0.bias": rng.standard_normal(6),
               "fc1.weight": rng.standard_normal((4, 6)), "fc1.bias": rng.standard_normal(4),
               "head.weight": rng.standard_normal((3, 4)), "head.bias": rng.standard_normal(3)}
    image = rng.integers(0, 256, (28, 28), np.uint8)
    x = [v / 255 for row in image.tolist() for v in row]
    for i in range(2):
        w, b = weights[f"fc{i}.weight"], weights[f"fc{i}.bias"]
        x = [max(0, sum(w[o, j] * x[j] for j in range(len(x))) + b[o]) for o in range(len(b))]
    features, logits = Evaluator.of(weights).forward(image[None])
    np.testing.assert_allclose(features[0], x, atol=1e-4)
    want = weights["head.weight"] @ x + weights["head.bias"]
    np.testing.assert_allclose(logits[0], want, atol=1e-4)


def test_shipped_weights(evaluator, mlp):
    shapes = {name: w.shape for name, w in evaluator.weights.items()}
    assert shapes == {"conv0.weight": (32, 1, 3, 3), "conv0.bias": (32,),
                      "conv1.weight": (32, 32, 3, 3), "conv1.bias": (32,),
                      "conv2.weight": (64, 32, 3, 3), "conv2.bias": (64,),
                      "conv3.weight": (64, 64, 3, 3), "conv3.bias": (64,),
                      "fc.weight": (64, 3136), "fc.bias": (64,),
                      "head.weight": (10, 64), "head.bias": (10,)}
    shapes = {name: w.shape for name, w in mlp.weights.items()}
    assert shapes == {"fc0.weight": (512, 784), "fc0.bias": (512,),
                      "fc1.weight": (256, 512), "fc1.bias": (256,),
                      "head.weight": (10, 256), "head.bias": (10,)}


@pytest.mark.parametrize("name", ["SHIPPED", "SHIPPED_MLP"])
def test_changed_weights_are_refused(name, tmp_path, monkeypatch):
    changed = bytearray(getattr(network, name).read_bytes())
    changed[-1] ^= 1
    copy = tmp_path / "evaluator.safetensors"
    copy.write_bytes(changed)
    monkeypatch.setattr(network, name, copy)
    with pytest.raises(ValueError, match="SHA-256"):
        Evaluator(copy)


def test_blocks_do_not_matter(evaluator, drawn):
    images = drawn[0][:30]
    whole, predicted = evaluator.run(images, batch=30)
    parts, again = evaluator.run(images, batch=7)
    # The matrix product may order its sums by its size.
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(again, predicted)


@pytest.mark.parametrize("bad", [np.zeros((2, 28, 28), np.float32), np.zeros((2, 28, 27), np.uint8),
                                 np.zeros((2, 28, 28, 1), np.uint8)])
def test_bad_images_are_refused(evaluator, bad):
    with pytest.raises(ValueError, match="uint8 images"):
        evaluator.run(bad)


def test_the_model_draws_what_it_is_asked_for(evaluator, mlp, drawn):
    """A gate on quality: full figures take 10,000 images and stand in the model's card."""
    images, labels = drawn
    noise = np.random.default_rng(1).integers(0, 256, images.shape, np.uint8)
    for one in (evaluator, mlp):
        _, predicted = one.run(images)
        assert accuracy(predicted, labels) >= 0.94
        # The gate can fail: noise is not digits, nor is any digit all of them.
        assert accuracy(one.run(noise)[1], labels) < 0.5
        assert accuracy(predicted, (labels + 1) % 10) < 0.1


def test_features_tell_digits_from_noise(evaluator, drawn):
    images = drawn[0]
    one, other = (moments(evaluator.run(half)[0]) for half in (images[::2], images[1::2]))
    noisy = images // 2 + np.random.default_rng(1).integers(0, 128, images.shape, np.uint8)
    assert frechet_distance(one, other) < frechet_distance(one, moments(evaluator.run(noisy)[0])) / 3


@pytest.fixture
def small_reference(evaluator, small_digits):
    return reference.load(evaluator)


def test_reference_is_kept(evaluator, small_reference, monkeypatch):
    monkeypatch.setattr(evaluator, "forward", None)
    again = reference.load(evaluator)
    np.testing.assert_array_equal(again.train.mean, small_reference.train.mean)
    assert again.test_accuracy == small_reference.test_accuracy
    assert (again.train.n, again.test.n) == (50, 50)
    np.testing.assert_array_equal(again.standard.scale, small_reference.standard.scale)
    # Standardised: each feature that fires has unit variance (of 50, not 49) in the training set.
    np.testing.assert_allclose(np.diag(again.train.covariance) * 49 / 50, 1, atol=1e-6)


def test_judge(evaluator, small_reference, drawn):
    images, labels = drawn
    found = reference.judge(evaluator, small_reference, images[1::2], labels[1::2])
    floor = frechet_distance(small_reference.test, small_reference.train)
    assert found["fd_train"] == pytest.approx(floor, rel=1e-9) and floor > 0
    assert found["fd_test"] == pytest.approx(0, abs=1e-6)
    assert found["ca"] == small_reference.test_accuracy
    assert set(found["ca_by_label"]) == set("0123456789")
