"""PyTorch as a peer: a process that does what it is asked, a JSON object a line. With the argument bf16
it computes under bf16 autocast.

    {"do": "variants"}                        -> {"variants": [...], "version": ...}
    {"do": "measure", "variant", "batch", "threads", "seconds"}
                                              -> {"ms": [p10, median, p90], "calls"}
    {"do": "evaluate", "variant", "batch", "into": FILE}
                                              -> {}   the output for network.inputs(), raw fp32
    {"do": "prepare", "into": FOLDER}         -> {}   ONNX files, inputs, convolutions
    {"do": "sample", "rows": [[label, seed, index]], "steps"}
                                              -> {"pixels": [[...]]}   drawn by DDIM

Milliseconds are of a call, divided by its batch. An error ends the process.
"""

import functools
import json
import pathlib
import sys
import time
import warnings

import numpy as np
import torch

from tests.golden.generate import read_model, trajectory
from tools.bench import network, quantise

WARM_UP_CALLS = 3
WARM_UP_SHARE = 0.15  # of the time to measure, at least

# variant: TorchScript or not, channels last or not
VARIANTS = {
    "eager": (False, False),
    "eager, channels last": (False, True),
    "TorchScript": (True, False),
    "TorchScript, channels last": (True, True),
}


def precision():
    # Without the cache of cast weights, which a trace would keep as they were.
    return torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[1:] == ["bf16"], cache_enabled=False)


@functools.lru_cache(maxsize=None)
def model(variant, batch):
    """The network ready to be called on (x, t, label) of `batch`, and such inputs."""
    scripted, channels_last = VARIANTS[variant]
    net = network.load()
    x, t, label = network.inputs(batch)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    if scripted:
        net = torch.jit.trace(net, (x, t, label), check_trace=False)
        # Its casts are in the trace. Under autocast it would cast the last convolution too, which is in fp32.
        net = torch.autocast("cpu", enabled=False)(torch.jit.optimize_for_inference(torch.jit.freeze(net)))
    return net, (x, t, label)


def measure(variant, batch, threads, seconds):
    torch.set_num_threads(threads)
    net, arguments = model(variant, batch)
    began = time.perf_counter()
    calls = 0
    while calls < WARM_UP_CALLS or time.perf_counter() - began < WARM_UP_SHARE * seconds:
        net(*arguments)
        calls += 1
    ms = []
    began = before = time.perf_counter()
    while before - began < seconds:
        net(*arguments)
        after = time.perf_counter()
        ms.append((after - before) * 1e3 / batch)
        before = after
    return {"ms": np.percentile(ms, [10, 50, 90]).tolist(), "calls": len(ms)}


def variants():
    return {"variants": list(VARIANTS), "version": torch.__version__}


def evaluate(variant, batch, into):
    net, arguments = model(variant, batch)
    net(*arguments).float().contiguous().numpy().tofile(into)
    return {}


def prepare(into):
    folder = pathlib.Path(into)
    network.export_onnx(folder / "folded.onnx", network.load())
    network.export_onnx(folder / "transposed.onnx", network.load(network.transposed))
    network.export_onnx(folder / "int8.onnx", quantise.quantised())
    network.export_nothing(folder / "nothing.onnx")
    (folder / "layers.txt").write_text(network.convolutions())
    for batch in (1, 2, 4, 8, 16, 32):
        x, t, label = network.inputs(batch)
        parts = [x.numpy().astype("<f4"), t.numpy().astype("<f4"), label.numpy().astype("<i8")]
        (folder / f"inputs-{batch}.bin").write_bytes(b"".join(p.tobytes() for p in parts))
    return {}


def sample(rows, steps):
    net, (_net, config, _digest) = network.load(), read_model("mnist")
    pixels = [trajectory(net, config, "ddim", steps, 1, (0, 1), 0.0, *row).flatten() for row in rows]
    return {"pixels": [((p.clamp(-1, 1) + 1) * 127.5).round().int().tolist() for p in pixels]}


def main():
    warnings.simplefilter("ignore")  # the ONNX exporter's, on what it does not fold
    deeds = {f.__name__: f for f in (variants, measure, evaluate, prepare, sample)}
    with torch.no_grad(), precision():
        for line in sys.stdin:
            request = json.loads(line)
            print(json.dumps(deeds[request.pop("do")](**request)), flush=True)


if __name__ == "__main__":
    main()
