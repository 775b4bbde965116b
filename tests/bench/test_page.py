"""The tables, and how they get into a page."""

import json

import pytest

from tools.bench import engines, figures, page


def test_every_table_of_a_run(run):
    text = page.text(run)
    for part in ("| the fp32 | 1.000 |", "| the torch / the fp32 | 4.00 (4.00-4.00) |",
                 "AVX-512: 50%", "| 200 GFLOP/s | 0.020 ms |", "| none |", "3 of 255, 51 dB",
                 "cannot: something.", "3 rounds"):
        assert part in text, part


def test_unlike_precisions_are_marked(run):
    text = page.ratios(run)
    assert "| the torch / the bf16 (unlike: fp32 / bf16) |" in text
    assert "| the ort / the bf16 (unlike: fp32 / bf16) |" in text and "| the torch_bf16 / the bf16 |" in text
    assert text.count("unlike") == 2


def test_every_engine_has_a_precision():
    assert set(figures.PRECISION) == set(engines.KEYS) - {"onednn"}


def test_a_run_of_little(run):
    """A subset of engines, or no profile: no table of nothing and no error."""
    run.update(timings=[r for r in run["timings"] if r["engine"] == "ort" and r["threads"] == 1],
               convolutions=[], profiles={}, peaks={})
    text = page.text(run)
    assert "the ort" in text and "two threads" not in text and "by kind" not in text


def test_tables_stay_whole(run):
    for name, make in page.TABLES.items():
        lines = [line for line in make(run).splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, name


def test_update(run, tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n\n<!-- bench: peaks -->\nold\n<!-- end -->\nbetween\n"
                    "<!-- bench: checks -->\n<!-- end -->\nafter\n")
    page.update(path, run)
    once = path.read_text()
    assert once.startswith("before\n\n<!-- bench: peaks -->\n| one core") and "old" not in once
    assert once.endswith("<!-- end -->\nafter\n") and "<!-- end -->\nbetween\n" in once
    page.update(path, run)
    assert path.read_text() == once


@pytest.mark.parametrize("text", ["no marker", "<!-- bench: nonsense -->\n<!-- end -->\n"])
def test_update_refuses(run, tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(ValueError):
        page.update(path, run)
    assert path.read_text() == text


def test_json_is_read_back(run):
    found = json.loads(page.compact_json(run))
    assert found == page.rounded(run)
    assert found.keys() == run.keys() and found["timings"][0] == page.rounded(run["timings"][0])


def test_the_projects_page_is_of_its_json():
    """docs/performance.md holds the tables of docs/performance/bench.json, not others."""
    docs = page.PAGE.parent
    run = json.loads((docs / "performance" / "bench.json").read_text())
    names = page.MARKED.findall(page.PAGE.read_text())
    assert {name for _, name, _ in names} == set(page.TABLES)
    assert page.filled(page.PAGE, run) == page.PAGE.read_text()
