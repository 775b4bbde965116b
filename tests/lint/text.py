"""Files as text. Usage: text.py [ROOT]; prints each breach, exits 1 where there is one.

No C file over 800 lines, no path of one machine, no tab or trailing space, a newline at the end.
"""

import pathlib
import re
import sys

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lint.tree import SOURCE, text_files

LINES_MAX = 800

# A person's or a build machine's folder: nobody else has it.
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:home|root|work|workspace|Users)/[\w.]")
TABS_ALLOWED = {"Makefile"}


def check_file(path, text):
    lines = text.split("\n")
    if path.suffix in SOURCE and len(lines) - 1 > LINES_MAX:
        yield f"{path}: {len(lines) - 1} lines, {LINES_MAX} are allowed"
    if lines[-1] != "":
        yield f"{path}: no newline at the end"
    for number, line in enumerate(lines, 1):
        if MACHINE_PATH.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()}"
        if line != line.rstrip():
            yield f"{path}:{number}: trailing space"
        if "\t" in line and path.name not in TABS_ALLOWED:
            yield f"{path}:{number}: a tab"


def check(root):
    """The breaches, as lines, and how many files were looked at."""
    root, breaches = pathlib.Path(root), []
    paths = text_files(root)
    for path in paths:
        try:
            breaches.extend(check_file(path, (root / path).read_bytes().decode()))
        except UnicodeDecodeError as error:
            breaches.append(f"{path}: not UTF-8 at byte {error.start}")
    if not paths:
        breaches.append(f"{root}: no text file to look at")
    return breaches, len(paths)


def main(arguments):
    breaches, n_files = check(arguments[0] if arguments else ".")
    print("\n".join(breaches) or f"text: {n_files} files")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
