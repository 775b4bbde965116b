"""Does code for one instruction set stay where the dispatch sends only those who can run it?
Usage: objects.py BUILD; prints each breach, exits 1 where there is one.

Two rules for the objects of an x86-64 build. AVX or AMX instructions are in kernels alone, in
objects named after their instruction set (amx.o, conv_avx2.o). And such an object defines no global
name but those that have it in them (dn_conv_avx2): of a function that two objects define, an inline one
from a header say, the linker keeps one for everybody, and that one may be the newer processor's.
"""

import pathlib
import re
import subprocess
import sys

FOLDERS = ("core", "api", "server")

# AVX instructions begin with v (so do those of hypervisors, which no compiler makes); AMX.
NEW = re.compile(r"v\w+|t(dp|ile)\w+|(ld|st)tilecfg")
NAMED = re.compile(r"(?:\w+_)?((?:avx|amx)[0-9a-z]*)(?:_\w+)?")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def new_instructions(path):
    """The distinct AVX and AMX instructions in an object."""
    lines = output("objdump", "-d", "--no-show-raw-insn", str(path)).splitlines()
    words = {fields[1].split()[0] for fields in (line.split("\t") for line in lines)
             if len(fields) > 1 and fields[1].split()}
    return sorted(word for word in words if NEW.fullmatch(word))


def global_names(path):
    lines = output("nm", "--defined-only", "--extern-only", "--format=posix", str(path))
    return [line.split()[0] for line in lines.splitlines()]


def check(build):
    """The breaches, as lines, and how many objects were looked at, and with new instructions."""
    build = pathlib.Path(build)
    breaches, n_objects, n_new = [], 0, 0
    for path in sorted(p for folder in FOLDERS for p in (build / folder).rglob("*.o")):
        n_objects += 1
        new = new_instructions(path)
        if not new:
            continue
        n_new += 1
        name = path.relative_to(build)
        isa = NAMED.fullmatch(path.stem)
        if name.parts[:2] != ("core", "kernels") or not isa:
            breaches.append(f"{name}: not a kernel of an instruction set, but has {new[0]}")
        else:
            breaches += [f"{name}: has {new[0]}, and defines {symbol} for everybody"
                         for symbol in global_names(path)
                         if isa[1] not in symbol.split("_")]
    if n_objects == 0:
        breaches.append(f"{build}: no object to look at")
    return breaches, n_objects, n_new


def main(arguments):
    breaches, n_objects, n_new = check(arguments[0])
    print("\n".join(breaches) or f"objects: {n_objects}, {n_new} with AVX or AMX, each for itself")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
