"""The clang checks can say no: to a spoiled file, and to nothing to look at."""

import shutil
import subprocess

from tests.lint.conftest import ROOT


def run(script, root):
    done = subprocess.run([ROOT / "tests/lint" / script, root], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def small(tree):
    """Only one short file of the copy: the analysis of all takes a minute."""
    for room in ("api", "core", "server"):
        shutil.rmtree(tree / room)
    (tree / "core/base").mkdir(parents=True)
    for name in ("core/denoise.h", "core/base/memory.c", "core/base/memory.h"):
        shutil.copy(ROOT / name, tree / name)
    return tree / "core/base/memory.c"


def test_format_finds_two_spaces(tree, tool):
    tool("clang-format")
    file = small(tree)
    assert run("format.sh", tree)[0] == 0
    file.write_text(file.read_text() + "\nint  dn_spoiled;\n")
    status, output = run("format.sh", tree)
    assert status != 0 and "memory.c" in output and "clang-format-violations" in output


def test_format_of_nothing_fails(tmp_path, tool):
    tool("clang-format")
    status, output = run("format.sh", tmp_path)
    assert status != 0 and "no C file" in output


SPOILED = """
#include <stdlib.h>
int dn_spoiled(int x);
int dn_spoiled(int x)
{
    char *p = malloc(8);
    if (x)
        return 1;
    free(p);
    return p[0];
}
"""


def test_tidy_finds_a_leak_and_a_use_after_free(tree, tool):
    tool("clang-tidy")
    file = small(tree)
    status, output = run("tidy.sh", tree)
    assert (status, output) == (0, "tidy: 1 files\n")
    file.write_text(file.read_text() + SPOILED)
    status, output = run("tidy.sh", tree)
    assert status != 0
    assert "Potential leak of memory" in output and "Use of memory after it is freed" in output


def test_tidy_finds_a_file_that_does_not_compile(tree, tool):
    tool("clang-tidy")
    small(tree).write_text("int broken(\n")
    assert run("tidy.sh", tree)[0] != 0


def test_tidy_of_nothing_fails(tmp_path, tool):
    tool("clang-tidy")
    status, output = run("tidy.sh", tmp_path)
    assert status != 0 and "no C file" in output
