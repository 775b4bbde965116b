"""Tiles of Dungeon Crawl Stone Soup: 32x32 RGB pictures in ten classes.

They come from the upstream archive of Debian's source package `crawl`, whose SHA-256 is pinned. Upstream's LICENSE
calls most of its art public domain or CC0, and the older pieces complex; the folder of unused tiles, and the parts that
the game composes (players, tentacles, pandemonium lords), are left out.
"""

import hashlib
import io
import pathlib
import subprocess
import tarfile
import tempfile

import numpy as np
from PIL import Image

from tools.mnist import cache_dir

ARCHIVE = "crawl_0.28.0.orig.tar.xz"
SHA256 = "5a6be168f8888b84bdb199184ca20bd8636f77ba7e9e0124ebee8850092f2f47"
ROOT = "stone_soup-0.28.0/source/rltiles/"
# Grey, so that a change of hue leaves it as it is.
BACKGROUND = (36, 36, 36)
SIZE = 32

CLASSES = ["monster", "wall", "floor", "spell", "weapon", "armour", "altar", "ring", "water", "potion"]
FOLDERS = {
    "monster": ["mon"],
    "wall": ["dngn/wall"],
    "floor": ["dngn/floor"],
    "spell": ["gui/spells"],
    "weapon": ["item/weapon"],
    "armour": ["item/armour"],
    "altar": ["dngn/altars", "dngn/gateways"],
    "ring": ["item/ring", "item/amulet"],
    "water": ["dngn/water"],
    "potion": ["item/potion"],
}
# What an item is known to be lies on its picture as a small sign; shores and borders of a ground lie on another tile.
LEAST_OPAQUE = {"wall": 0.75, "floor": 0.75, "water": 0.75}
SIGNS = "i-"
LEFT_OUT = ["mon/player", "mon/tentacles", "mon/panlord", "mon/sprint", "mon/statues", "mon/vault"]


def _has_archive(path):
    if not path.is_file():
        return False
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{path}: SHA-256 {SHA256} expected, {found} found; delete it to fetch again")
    return True


def _sources(folder):
    """An apt configuration that knows this Debian's source packages: its options."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(CODENAME) $(COMPONENT)"],
        capture_output=True, text=True, check=True).stdout.split("\n")
    lines = {"deb-src " + t.removeprefix("Packages ") for t in targets if t.startswith("Packages ")}
    (folder / "sources.list").write_text("\n".join(sorted(lines)) + "\n")
    (folder / "lists" / "partial").mkdir(parents=True)
    return ["-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::State::lists={folder}/lists", "-o", "APT::Sandbox::User="]


def fetch() -> pathlib.Path:
    """The checked archive, fetched with apt if it is not there."""
    folder = cache_dir() / "tiles"
    folder.mkdir(parents=True, exist_ok=True)
    if _has_archive(folder / ARCHIVE):
        return folder / ARCHIVE
    with tempfile.TemporaryDirectory() as scratch:
        options = _sources(pathlib.Path(scratch))
        for command in (["update"], ["source", "--download-only", "--tar-only", "crawl"]):
            done = subprocess.run(["apt-get", "-q", *options, *command], cwd=scratch, capture_output=True, text=True)
            if done.returncode != 0:
                raise OSError(f"apt-get {command[0]}: {done.stderr or done.stdout}")
        found = pathlib.Path(scratch) / ARCHIVE
        if not _has_archive(found):
            raise FileNotFoundError(f"apt-get brought no {ARCHIVE}: the pictures are of another version here")
        (folder / ARCHIVE).write_bytes(found.read_bytes())
    return folder / ARCHIVE


def _class_of(path):
    """The class index of a picture's path below ROOT, or None."""
    if any(path.startswith(f + "/") for f in LEFT_OUT) or pathlib.PurePosixPath(path).name.startswith((".", SIGNS)):
        return None
    for i, name in enumerate(CLASSES):
        if any(path.startswith(f + "/") for f in FOLDERS[name]):
            return i
    return None


def _pictures():
    """(path below ROOT, label, bytes) of each PNG of a class, in the archive's order."""
    with tarfile.open(fetch()) as tar:
        for member in tar:
            path = member.name.removeprefix(ROOT)
            label = _class_of(path)
            if member.name.startswith(ROOT) and path.endswith(".png") and label is not None:
                yield path, label, tar.extractfile(member).read()


def load():
    """Images uint8 [N,32,32,3] over BACKGROUND, labels uint8 [N], names (paths) [N]; equal pictures once a class."""
    cached = cache_dir() / "tiles" / "tiles.npz"
    if cached.is_file():
        with np.load(cached) as f:
            return f["images"], f["labels"], list(f["names"])
    images, labels, names, seen = [], [], [], set()
    for path, label, data in sorted(_pictures()):
        picture = Image.open(io.BytesIO(data)).convert("RGBA")
        if picture.size != (SIZE, SIZE):
            continue
        if np.mean(np.asarray(picture)[:, :, 3] > 127) < LEAST_OPAQUE.get(CLASSES[label], 0.05):
            continue
        ground = Image.new("RGBA", picture.size, BACKGROUND + (255,))
        pixels = np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))
        if (label, pixels.tobytes()) not in seen:
            seen.add((label, pixels.tobytes()))
            images.append(pixels)
            labels.append(label)
            names.append(path)
    images, labels = np.stack(images), np.array(labels, np.uint8)
    np.savez_compressed(cached, images=images, labels=labels, names=np.array(names))
    return images, labels, names
