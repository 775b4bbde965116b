"""The files that the checks look at: what is in the tree, less what a build leaves behind."""

import pathlib

NOT_OURS = {".git", "vendor", "node_modules", "__pycache__", ".pytest_cache"}
SOURCE = {".c", ".h"}
TEXT = SOURCE | {".py", ".sh", ".md", ".yaml", ".yml", ".conf", ".service", ".env", ".js", ".mjs", ".html",
                 ".css", ".svg", ".txt", ".json", ".csv"}
TEXT_NAMES = {"Makefile", "Dockerfile", "LICENSE", ".dockerignore", ".clang-format", ".clang-tidy"}


def files(root):
    """Every file of the project, as paths relative to `root`, in order."""
    def walk(folder):
        for path in sorted(folder.iterdir()):
            generated = folder == root and (path.name == "build" or path.name.startswith("build-"))
            if path.name in NOT_OURS or generated or path.is_symlink():
                continue
            if path.is_dir():
                yield from walk(path)
            else:
                yield path.relative_to(root)

    root = pathlib.Path(root)
    return list(walk(root))


def c_files(root):
    return [path for path in files(root) if path.suffix in SOURCE]


def text_files(root):
    return [path for path in files(root) if path.suffix in TEXT or path.name in TEXT_NAMES]
