"""The tables, and how they get into a page."""

import json

import pytest

from tools.bench import __main__ as bench
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
    assert "| the ort_int8 / the fp32 (unlike: int8 / fp32) |" in text
    assert text.count("unlike") == 4


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


def families():
    folder = page.PAGE.parent / "performance"
    return ["" if path.parent == folder else path.parent.name for path in folder.glob("**/bench.json")]


@pytest.mark.parametrize("family", families())
def test_the_projects_page_is_of_its_json(family):
    """docs/performance.md holds the tables of each family's bench.json, not others."""
    run = json.loads((page.PAGE.parent / "performance" / family / "bench.json").read_text())
    names = {name for _, of, name, _ in page.MARKED.findall(page.PAGE.read_text()) if of.strip() == family}
    assert names == set(page.TABLES)
    assert page.filled(page.PAGE, run, family) == page.PAGE.read_text()


def test_each_family_has_its_own_tables(run, tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n\n<!-- bench: peaks -->\nfirst\n<!-- end -->\n\n## Served\n\nafter\n")
    page.update(path, run, "amd")
    text = path.read_text()
    assert text.index("first") < text.index("## The same on a processor\n") < text.index("## Served\n\nafter\n")
    assert {name for _, of, name, _ in page.MARKED.findall(text) if of == " amd"} == set(page.TABLES)
    assert "| the fp32 | 1.000 |" in text
    page.update(path, run, "amd")
    assert path.read_text() == text  # one section, however many runs
    page.update(path, run)
    assert "first" not in path.read_text()


@pytest.mark.parametrize("vendor, flags, family", [
    ("GenuineIntel", "avx512f amx_bf16", ""), ("GenuineIntel", "avx512f", "intel"),
    ("AuthenticAMD", "avx512f avx512_bf16", "amd")])
def test_family_of_a_processor(vendor, flags, family):
    assert bench.family(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\nprocessor\t: 1\n") == family


def test_a_busy_machine_is_said(run):
    assert "at work" not in page.conditions(run)
    run["machine"]["load"] = 7.25
    assert "load average 7.2: the figures say less" in page.conditions(run)
