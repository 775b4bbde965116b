"""Results that are kept: what took long to compute is a file, named by all that it depends on.

So a measurement that was cut short goes on where it was, and a report is rendered again in seconds.
"""

import hashlib
import json
import os
import pathlib

import numpy as np

from tools import mnist


def digest(array):
    """SHA-256 of an array: its bytes, shape and type."""
    array = np.ascontiguousarray(array)
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def folder():
    return mnist.cache_dir() / "evaluator" / "pieces"


def keep(name, key, make):
    """make()'s dict of arrays, or what it returned the last time that it was asked with this key.

    key: JSON; everything that the result depends on but the code. Where the code changes a result,
    change the name.
    """
    text = json.dumps(key, sort_keys=True)
    path = folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
    if path.is_file():
        with np.load(path) as f:
            return {k: f[k] for k in f.files if k != "key"}
    found = {k: np.asarray(v) for k, v in make().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = pathlib.Path(f"{path}.{os.getpid()}.part")
    with open(part, "wb") as f:
        np.savez(f, key=np.asarray(text), **found)
    part.replace(path)
    return found


def keep_json(name, key, make):
    """The same of a make() that returns what JSON can hold."""
    return json.loads(keep(name, key, lambda: {"json": json.dumps(make())})["json"].item())
