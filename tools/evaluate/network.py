"""The evaluators: small networks that know the real digits and nothing of the generator.

cnn: two 3x3 convolutions of 32 channels, pool, two of 64, pool, fully connected 64 (the features),
10.
mlp: fully connected 512, 256 (the features), 10; a second opinion on what digit an image is, by a
network that makes other mistakes.

Trained by `tools/evaluate/train.py`; batch norm is folded, so a file holds weights and biases:
conv{0..3}.weight [o,i,3,3], .bias [o]; fc.weight [64,3136], .bias; head.weight [10,64], .bias; or
fc{0,1}.weight [o,i], .bias; head.weight [10,256], .bias.

Plain NumPy, so that figures can be made where there is no PyTorch. N images, H W, C channels.
"""

import hashlib
import json
import pathlib
import struct

import numpy as np

SHIPPED = pathlib.Path(__file__).with_name("evaluator.safetensors")
SHIPPED_MLP = pathlib.Path(__file__).with_name("evaluator-mlp.safetensors")
# Of the shipped weights: every published figure was measured with exactly these.
SHIPPED_SHA256 = "cbc13a2cc794bbd2863353b991cb9de85850d3433f52fcf5d0ec5f51458fa1a9"
SHIPPED_MLP_SHA256 = "9f91f31a24abf752a219f89185ea1fbc80b9fdb647704e582349767aa98b6cc4"


def read_safetensors(path):
    """Name -> float32 array of a file as tools.train.export writes it."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


def conv3x3_relu(x, weight, bias):
    """[N,H,W,i] -> [N,H,W,o], padding 1: patches as rows, then one matrix product."""
    n, h, w, i = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = np.empty((n, h, w, 9, i), x.dtype)
    for tap in range(9):
        dy, dx = divmod(tap, 3)
        rows[..., tap, :] = padded[:, dy:dy + h, dx:dx + w]
    y = rows.reshape(-1, 9 * i) @ weight.transpose(2, 3, 1, 0).reshape(9 * i, -1)
    y += bias
    return np.maximum(y, 0, out=y).reshape(n, h, w, -1)


def max_pool2(x):
    """[N,H,W,C] -> [N,H/2,W/2,C]"""
    rows = np.maximum(x[:, ::2], x[:, 1::2])
    return np.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def _cnn_features(w, x):
    """[N,28,28] -> [N,64]"""
    x = x[..., None]
    for i in range(4):
        x = conv3x3_relu(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"])
        if i % 2 == 1:
            x = max_pool2(x)
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # [N,C*H*W]
    return np.maximum(x @ w["fc.weight"].T + w["fc.bias"], 0)


def _mlp_features(w, x):
    """[N,28,28] -> [N,256]"""
    x = x.reshape(len(x), -1)
    for i in range(2):
        x = np.maximum(x @ w[f"fc{i}.weight"].T + w[f"fc{i}.bias"], 0)
    return x


class Evaluator:
    def __init__(self, path=SHIPPED):
        self.path = pathlib.Path(path)
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        shipped = {SHIPPED: SHIPPED_SHA256, SHIPPED_MLP: SHIPPED_MLP_SHA256}
        want = shipped.get(self.path, self.sha256)
        if self.sha256 != want:
            raise ValueError(f"{path}: SHA-256 {want} expected, {self.sha256} found")
        self._take(read_safetensors(self.path))

    @classmethod
    def of(cls, weights):
        """One that was just trained: name -> array."""
        self = cls.__new__(cls)
        self.path = self.sha256 = None
        self._take(weights)
        return self

    def _take(self, weights):
        self.weights = weights
        self._features = _cnn_features if "conv0.weight" in weights else _mlp_features
        self.n_features = weights["head.weight"].shape[1]

    def forward(self, images):
        """uint8 [N,28,28] -> features [N,D] (after ReLU), logits [N,10]; float32."""
        features = self._features(self.weights, images.astype(np.float32) / np.float32(255))
        return features, features @ self.weights["head.weight"].T + self.weights["head.bias"]

    def run(self, images, batch=10, progress=lambda blocks, **_: blocks):
        """Features [N,D] and predictions [N] of any number of images, in blocks that fit into a
        core's cache; `progress` wraps the iteration (tqdm)."""
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(f"uint8 images [N,28,28] expected, {images.dtype} {images.shape} found")
        features = np.empty((len(images), self.n_features), np.float32)
        predicted = np.empty(len(images), np.int64)
        for at in progress(range(0, len(images), batch), desc="evaluator", leave=False):
            f, logits = self.forward(images[at:at + batch])
            features[at:at + batch] = f
            predicted[at:at + batch] = logits.argmax(axis=1)
        return features, predicted
