"""The rooms of the tree keep to their doors, and the check that says so can say no."""

import subprocess
import sys

import pytest

from tests.lint import includes
from tests.lint.conftest import ROOT


def test_the_tree_is_clean():
    breaches, n_files, n_includes = includes.check(ROOT)
    assert breaches == []
    assert n_files > 40 and n_includes > 200


# Where, the line put in front, and a word of the complaint.
BREACHES = [
    ("core/base/rng.c", '#include "core/kernels/kernels.h"', "no door to room kernels"),
    ("core/base/rng.c", '#include "core/model_private.h"', "no door to room engine"),
    ("core/kernels/kernels.h", '#include "core/graph/graph.h"', "no door to room graph"),
    ("core/graph/plan.c", '#include "core/nets/nets.h"', "no door to room nets"),
    ("core/graph/plan.c", '#include "core/model/config.h"', "no door to room model"),
    ("core/nets/unet_st.c", '#include "core/kernels/kernels.h"', "no door to room kernels"),
    ("core/nets/unet_st.c", '#include "core/model/safetensors.h"', "may only include"),
    ("core/sampling/ddim.c", '#include "core/model/config.h"', "no door to room model"),
    ("core/model/config.c", '#include "core/sampling/sampler.h"', "no door to room sampling"),
    ("core/step.c", '#include "api/png.h"', "no door to room api"),
    ("core/denoise.h", '#include "core/base/error.h"', "no door to room base"),
    ("api/params.c", '#include "server/base/options.h"', "no door to room server"),
    ("api/params.c", '#include "core/model/config.h"', "no door to room model"),
    ("server/base/log.c", '#include "core/base/error.h"', "no door to room base"),
    ("server/base/log.c", '  #  include   "core/base/error.h"', "no door to room base"),
    ("server/base/log.c", '#include "log.h"', "no path from the root"),
    ("server/base/log.c", '#include "../server/base/log.h"', "no path from the root"),
    ("server/base/log.c", '#include "tests/unit/helper.h"', "no path from the root"),
    ("server/base/log.c", "#include <png.h>", "not for room server"),
    ("server/base/log.c", "#include <cjson/cJSON.h>", "not for room server"),
    ("server/scheduling/worker.c", '#include "server/http/request.h"', "no door to room server/http"),
    ("server/drawing/gate.c", '#include "server/http/request.h"', "no door to room server/http"),
    ("server/http/request.c", '#include "server/routes/service.h"', "no door to room server/routes"),
    ("server/routes/samples.c", '#include "server/server.h"', "no door to room server"),
    ("server/clients/clients.c", '#include "server/models/models.h"', "no door to room server/models"),
    ("server/clients/clients.c", '#include "server/scheduling/job.h"', "may only include"),
    ("server/drawing/gate.c", "#include <microhttpd.h>", "not for room server/drawing"),
    ("api/params.c", "#include <microhttpd.h>", "not for room api"),
    ("api/params.c", "#include <uv.h>", "not for room api"),
    ("api/params.c", "#include <unistd.h>", "not in the table"),
    ("core/step.c", "#include <immintrin.h>", "not for room engine"),
    ("core/graph/plan.c", "#include <cblas.h>", "not for room graph"),
    ("core/nets/unet_st.c", "#include <cjson/cJSON.h>", "not for room nets"),
    ("core/sampling/ddim.c", "#include <some/new/library.h>", "not in the table"),
    ("core/sampling/ddim.c", "#include HEADER", "cannot read"),
]


@pytest.mark.parametrize("path,line,complaint", BREACHES)
def test_a_breach_is_found(tree, path, line, complaint):
    assert includes.check(tree)[0] == []
    file = tree / path
    file.write_text(line + "\n" + file.read_text())
    breaches = includes.check(tree)[0]
    assert len(breaches) == 1 and breaches[0].startswith(f"{path}:1: ") and complaint in breaches[0]


def test_a_file_in_no_room_is_found(tree):
    (tree / "extra").mkdir()
    (tree / "extra/new.c").write_text("#include <stdio.h>\n")
    assert includes.check(tree)[0] == ["extra/new.c: belongs to no room"]


def test_no_files_at_all_is_a_failure(tmp_path):
    run = subprocess.run([sys.executable, ROOT / "tests/lint/includes.py", tmp_path],
                         capture_output=True, text=True)
    assert run.returncode == 1 and "no C file" in run.stdout


def test_exit_status(tree):
    command = [sys.executable, ROOT / "tests/lint/includes.py", tree]
    assert subprocess.run(command, capture_output=True).returncode == 0
    (tree / "core/base/extra.c").write_text("#include <uv.h>\n")
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and "core/base/extra.c:1: <uv.h> is not for room base" in run.stdout


def test_every_edge_of_the_table_is_between_rooms():
    rooms = set(includes.ROOMS.values())
    assert set(includes.EDGES) == rooms - {"tests"}
    for room, doors in includes.EDGES.items():
        assert doors <= rooms and room not in doors
    # The table has a direction: no walk through its doors leads back.
    def reach(room, seen):
        assert room not in seen, f"a way back to {room}"
        for door in includes.EDGES[room]:
            reach(door, seen | {room})
    for room in includes.EDGES:
        reach(room, frozenset())
