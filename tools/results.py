"""Where the figures of a run go: into the build folder, or with --write-docs where the documents show them."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def add_flag(parser):
    parser.add_argument("--write-docs", action="store_true",
                        help="write into docs/, which is in the repository; else into build/results/")


def folder(write_docs, name):
    """docs/NAME or build/results/NAME, made if it is not there."""
    path = (ROOT / "docs" if write_docs else ROOT / "build" / "results") / name
    path.mkdir(parents=True, exist_ok=True)
    return path
