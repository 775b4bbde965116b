"""A small made-up run in which every figure is known."""

import pytest

MS = {"fp32": 1.0, "bf16": 0.25, "avx2": 1.5, "ort": 3.0, "ort_avx2": 1.8, "torch": 4.0, "torch_bf16": 2.0, "ort_int8": 2.5}


def record(engine, images, threads, number, ms):
    return {"engine": engine, "images": images, "threads": threads, "round": number,
            "ms": [ms * 0.9, ms, ms * 1.2]}


def operation(name, kind, ms, macs):
    return {"name": name, "kind": kind, "ms": ms, "gflops": 2e-6 * macs / ms, "share": 0.5,
            "macs": macs, "weight_bytes": 800, "map_bytes": 100}


@pytest.fixture
def run():
    """Three rounds; in the second the machine is half as fast for everyone. Of two threads each
    has half of the images, and both together are 1.9 times as fast."""
    timings = [record(engine, n, threads, r, ms * (2 if r == 1 else 1) / (1.9 if threads == 2 else 1)
                      * (1.5 if engine == "ort" and n == 1 else 1))
               for r in range(3) for engine, ms in MS.items() for n in (1, 8, 16)
               for threads in (1, 2)]
    convolutions = [{"round": r, "precision": p, "batch": b,
                     "layers": {"a": {"ms": 0.5 * (2 if r == 1 else 1), "implementation": "jit"},
                                "b": {"ms": 0.3 * (2 if r == 1 else 1), "implementation": "jit"}}}
                    for r in range(3) for p in ("f32", "bf16") for b in (1, 8)]
    ops = [operation("up", "conv_transpose", 0.01, 1e6), operation("up", "conv_transpose", 0.03, 1e6),
           operation("norm", "group_norm", 0.02, 0)]
    return {"machine": {"processor": "a processor", "processors": 2, "kernel": "6", "date": "today",
                        "revision": "abc", "torch": "1.13"},
            "titles": {key: f"the {key}" for key in MS}, "choices": [], "timings": timings,
            "convolutions": convolutions, "missing": ["something"],
            "profiles": {"fp32": {"batch": 8, "macs_per_image_step": 2e6, "ops": ops}},
            "peaks": {"gflops": {"avx2": 100.0, "avx512": 200.0}, "gb_per_s": {"L1": 400.0, "L2": 90.0}},
            "checks": {"peers": {"PyTorch, eager": 1e-6},
                       "ours": {"the fp32": {"pixel_difference_max": 0, "psnr_db": 108.0},
                                "the bf16": {"pixel_difference_max": 3, "psnr_db": 51.2}}}}
