"""What a linter that others wrote says of openapi.yaml: nothing."""

import json
import os
import pathlib
import subprocess

from tests.http.conftest import BINARY, DEADLINE_S

LINTER = pathlib.Path(__file__).parent / "lint.js"
MODULES = pathlib.Path(BINARY).resolve().parent / "openapi" / "node_modules"


def lint(path):
    assert MODULES.is_dir(), "make test-python fetches the linter"
    done = subprocess.run(["node", str(LINTER), str(path)], text=True, capture_output=True,
                          env={**os.environ, "NODE_PATH": str(MODULES)}, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_linter_has_nothing_to_say():
    assert lint("openapi.yaml") == []


FAULTS = {
    "operation-operationId-unique": ("operationId: getJob\n", "operationId: listJobs\n"),
    "no-unresolved-refs": ("#/components/schemas/JobList'", "#/components/schemas/JobLists'"),
    "no-unused-components": ("    Scale:\n", "    Unused: {type: string}\n    Scale:\n"),
    "no-invalid-media-type-examples": ("{label: 7, n: 4, seed: 42}", "{label: 7, n: many}"),
    "struct": ("  title: denoised\n", "")}


def test_faults_are_seen(tmp_path):
    text = pathlib.Path("openapi.yaml").read_text(encoding="utf-8")
    for old, new in FAULTS.values():
        assert old in text
        text = text.replace(old, new)
    broken = tmp_path / "openapi.yaml"
    broken.write_text(text, encoding="utf-8")
    assert {problem["rule"] for problem in lint(broken)} >= set(FAULTS)
