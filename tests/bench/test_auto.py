"""`make bench-auto`: the verdict, with a made-up processor in the program's place."""

import pytest

from tools.bench import auto

ISAS = ["scalar", "openblas", "avx2", "avx512"]


@pytest.fixture
def processor(monkeypatch):
    """A processor whose times a test says: {(isa, precision): ms}; what `auto` takes is "takes"."""
    made = {"takes": ("avx512", "fp32"), "asked": [],
            "ms": {("avx512", "fp32"): 1.0, ("avx2", "fp32"): 1.6, ("avx512", "bf16"): 1.2,
                   ("openblas", "fp32"): 2.0}}

    def program(_binary, command, *arguments):
        if command == "info":
            return {"isas": ISAS}
        flags = dict(zip(arguments[::2], arguments[1::2]))
        profile = flags["--isa"], flags["--precision"]
        made["asked"].append((profile, flags["--batch"]))
        found = made["takes"] if profile == ("auto", "auto") else profile
        if found not in made["ms"]:
            raise RuntimeError("not on this processor")
        return {"isa": found[0], "precision": found[1], "ms_per_image_step": made["ms"][found]}

    monkeypatch.setattr(auto, "program", program)
    return made


def test_auto_is_the_fastest(processor, capsys):
    auto.main(["--rounds", "4"])
    text = capsys.readouterr().out
    assert "auto is fp32 on avx512" in text and "auto is the fastest profile of this machine" in text
    assert "bf16 on avx512, batch 8: 1.20 (1.20-1.20)" in text and "scalar" not in text
    pairs = [a for a in processor["asked"] if a[1] == 8]
    assert pairs[:4] == [(("auto", "auto"), 8), (("openblas", "fp32"), 8),
                         (("openblas", "fp32"), 8), (("auto", "auto"), 8)]  # in turns


@pytest.mark.parametrize("takes, faster", [(("avx512", "bf16"), "fp32 on avx512, batch 1; "
                                                                "fp32 on avx512, batch 8"),
                                           (("avx2", "fp32"), "bf16 on avx512")])
def test_a_faster_one_is_an_error(processor, takes, faster):
    processor["takes"] = takes
    with pytest.raises(SystemExit, match="faster than auto:") as ended:
        auto.main(["--rounds", "2"])
    assert faster in str(ended.value)


def test_flags_are_checked():
    for flags in (["--rounds", "0"], ["--seconds", "0"]):
        with pytest.raises(SystemExit) as ended:
            auto.main(flags)
        assert ended.value.code == 2
