"""The UNet's elementwise work in one pass, by fused.c: y = [c +] SiLU(GroupNorm(c + time)).

Compiled with gcc for this processor when it is first used, into the cache. Used for bfloat16 maps
on the CPU, that is under autocast; elsewhere, and where there is no compiler, PyTorch does the
work.
"""

import ctypes
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess

import torch

from tools import mnist

SOURCE = pathlib.Path(__file__).with_name("fused.c")
FLAGS = ["-std=c17", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC", "-c"]
LINK = ["-shared", "-fopenmp"]  # a step of its own: with -ffast-math it would turn off denormals
MOST_VALUES = 4096  # FUSED_MOST_VALUES


class Shape(ctypes.Structure):
    """struct fused_shape"""
    _fields_ = [(name, ctypes.c_int32) for name in
                ("images", "channels", "pixels", "groups", "threads", "residual")] + [
                    ("eps", ctypes.c_float)]


@functools.cache
def compiled():
    """The compiled fused.c, or None without a compiler."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return None
    version = subprocess.run([gcc, "--version"], check=True, capture_output=True).stdout
    cpu = pathlib.Path("/proc/cpuinfo").read_bytes().split(b"\n\n")[0].split(b"flags")[-1]
    name = hashlib.sha256(SOURCE.read_bytes() + version + cpu).hexdigest()[:16]
    path = mnist.cache_dir() / "build" / f"fused-{name}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        subprocess.run([gcc, *FLAGS, "-o", f"{part}.o", SOURCE], check=True)
        subprocess.run([gcc, *LINK, "-o", part, f"{part}.o", "-lm"], check=True)
        os.replace(part, path)
        os.remove(f"{part}.o")
    return ctypes.CDLL(str(path))


def usable(c, groups):
    """Can fused.c take the maps c [N,C,H,W]?"""
    return (c.dtype == torch.bfloat16 and c.device.type == "cpu"
            and c[0].numel() // groups <= MOST_VALUES and compiled() is not None)


def _pointer(tensor):
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())


class NormSilu(torch.autograd.Function):
    """apply(c, time, weight, bias, groups, eps, residual): c bf16 [N,C,H,W]; time fp32 [N,C] or
    None, which is added before the norm; residual adds c after the SiLU."""

    @staticmethod
    def forward(ctx, c, time, weight, bias, groups, eps, residual):
        c = c.contiguous()
        time = None if time is None else time.float().contiguous()
        n, channels, h, w = c.shape
        ctx.shape = Shape(n, channels, h * w, groups, torch.get_num_threads(), residual, eps)
        ctx.save_for_backward(c, time, weight, bias)
        y = torch.empty_like(c)
        compiled().fused_forward(ctypes.byref(ctx.shape), *map(_pointer, (c, time, weight, bias, y)))
        return y

    @staticmethod
    def backward(ctx, dy):
        c, time, weight, bias = ctx.saved_tensors
        dy, dc = dy.to(torch.bfloat16).contiguous(), torch.empty_like(c)
        dweight, dbias, dtime = (torch.empty(c.shape[:2]) for _ in range(3))
        compiled().fused_backward(
            ctypes.byref(ctx.shape),
            *map(_pointer, (c, time, weight, bias, dy, dc, dtime, dweight, dbias)))
        return (dc, None if time is None else dtime, dweight.sum(0), dbias.sum(0), None, None, None)
