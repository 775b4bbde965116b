"""The evaluator: a small CNN that knows the real digits and nothing of the generator.

Two 3x3 convolutions of 32 channels, pool, two of 64, pool, fully connected 64 (the features), 10.
Trained by `tools/evaluate/train.py`; batch norm is folded, so a file holds plain weights and biases:
conv{0..3}.weight [o,i,3,3], .bias [o]; fc.weight [64,3136], .bias; head.weight [10,64], .bias.

Plain NumPy, so that figures can be made where there is no PyTorch. N images, H W, C channels.
"""

import hashlib
import json
import pathlib
import struct

import numpy as np

SHIPPED = pathlib.Path(__file__).with_name("evaluator.safetensors")
# Of the shipped weights: every published figure was measured with exactly these.
SHIPPED_SHA256 = "cbc13a2cc794bbd2863353b991cb9de85850d3433f52fcf5d0ec5f51458fa1a9"
FEATURES = 64


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
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    rows = patches.reshape(n * h * w, i * 9)  # [.., i,3,3], the weight's own order
    y = rows @ weight.reshape(len(weight), i * 9).T
    y += bias
    return np.maximum(y, 0, out=y).reshape(n, h, w, -1)


def max_pool2(x):
    """[N,H,W,C] -> [N,H/2,W/2,C]"""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


class Evaluator:
    def __init__(self, path=SHIPPED):
        self.path = pathlib.Path(path)
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        if self.path == SHIPPED and self.sha256 != SHIPPED_SHA256:
            raise ValueError(f"{path}: SHA-256 {SHIPPED_SHA256} expected, {self.sha256} found")
        self.weights = read_safetensors(self.path)

    def forward(self, images):
        """uint8 [N,28,28] -> features [N,64] (after ReLU), logits [N,10]; float32."""
        w = self.weights
        x = images.astype(np.float32)[..., None] / np.float32(255)
        for i in range(4):
            x = conv3x3_relu(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"])
            if i % 2 == 1:
                x = max_pool2(x)
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # [N,C*H*W]
        features = np.maximum(x @ w["fc.weight"].T + w["fc.bias"], 0)
        return features, features @ w["head.weight"].T + w["head.bias"]

    def run(self, images, batch=100, progress=lambda blocks, **_: blocks):
        """The same for any number of images, in blocks; `progress` wraps the iteration (tqdm)."""
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(f"uint8 images [N,28,28] expected, {images.dtype} {images.shape} found")
        features = np.empty((len(images), FEATURES), np.float32)
        predicted = np.empty(len(images), np.int64)
        for at in progress(range(0, len(images), batch), desc="evaluator", leave=False):
            f, logits = self.forward(images[at:at + batch])
            features[at:at + batch] = f
            predicted[at:at + batch] = logits.argmax(axis=1)
        return features, predicted
