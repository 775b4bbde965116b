"""Files as text keep the rules, and the check that says so can say no."""

import subprocess
import sys

import pytest

from tests.lint import text
from tests.lint.conftest import ROOT


def test_the_tree_is_clean():
    breaches, n_files = text.check(ROOT)
    assert breaches == []
    assert n_files > 80


HOME = "/ho" + "me"

BREACHES = [
    ("core/step.c", "x\n" * 801, "801 lines"),
    ("core/step.c", "int x; \n", "trailing space"),
    ("core/step.c", "\tint x;\n", "a tab"),
    ("core/step.c", "int x;", "no newline"),
    ("core/step.c", "int x;\r\n", "trailing space"),
    ("core/step.c", b"\xff\n", "not UTF-8"),
    ("docs/new.md", f"See {HOME}/ann/notes.\n", "a path of one machine"),
    ("server/new.c", f'#define MODEL "{HOME}/ann/mnist.safetensors"\n', "a path of one machine"),
]


@pytest.mark.parametrize("path,content,complaint", BREACHES)
def test_a_breach_is_found(tree, path, content, complaint):
    assert text.check(tree)[0] == []
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    breaches = text.check(tree)[0]
    assert len(breaches) == 1 and breaches[0].startswith(path) and complaint in breaches[0]


def test_800_lines_and_an_address_are_fine(tree):
    (tree / "core/new.c").write_text("// http://example.org/home/page\n" + "x\n" * 799)
    assert text.check(tree)[0] == []


def test_no_files_at_all_is_a_failure(tmp_path):
    run = subprocess.run([sys.executable, ROOT / "tests/lint/text.py", tmp_path],
                         capture_output=True, text=True)
    assert run.returncode == 1 and "no text file" in run.stdout
