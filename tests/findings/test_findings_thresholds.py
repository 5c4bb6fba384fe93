"""Thresholds from TOML: what is unknown or impossible is refused by name; every code has its page and its place."""

import re
from dataclasses import fields

import numpy as np
import pytest
from findings_made import codes, measured, report_of, row, trained_like

from opnorm import UsageError
from opnorm.explain import explanation
from opnorm.report.findings import DEFAULT, Thresholds, findings_of, read_thresholds
from opnorm.report.findings.found import SEVERITIES, at_least, at_most
from opnorm.report.findings.table import CODES


def test_a_table_replaces_defaults():
    found = Thresholds.from_table({"peer_ratio": 3, "fewest_peers": 5, "off": ["ON105"], "quantization": {"int8": 0.1}})
    assert (found.peer_ratio, found.fewest_peers, found.off) == (3, 5, ("ON105",))
    assert found.quantization["int8"] == 0.1
    assert found.quantization["int4"] == DEFAULT.quantization["int4"]
    assert Thresholds.from_table({}) == DEFAULT


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"peer_ration": 3}, r"'peer_ration' is not known; did you mean 'peer_ratio'\?"),
        ({"xyz": 3}, "there are: peer_ratio"),
        ({"peer_ratio": 0.5}, "a number from 1 upwards .*median.*; default 10"),
        ({"peer_ratio": "3"}, "not possible"),
        ({"peer_ratio": True}, "not possible"),
        ({"peer_ratio": float("nan")}, "not possible"),
        ({"fewest_peers": 2.5}, "a whole number from 1 upwards"),
        ({"dead_share": 1.5}, "a number from 0 to 1"),
        ({"off": "ON105"}, "give a list of codes"),
        ({"off": ["ON15"]}, "did you mean 'ON115'|did you mean 'ON105'"),
        ({"quantization": 3}, "a table of formats"),
        ({"quantization": {"int9": 0.1}}, "did you mean 'int8'|did you mean 'int"),
        ({"quantization": {"int8": 3.0}}, "quantization.int8 = 3.0 is not possible"),
    ],
)
def test_what_cannot_be_meant_is_refused(table, said):
    with pytest.raises(UsageError, match=said):
        Thresholds.from_table(table)


def test_files_of_thresholds(tmp_path):
    path = tmp_path / "opnorm.toml"
    path.write_text("[findings]\nspike_gap = 9\n")
    assert read_thresholds(path).spike_gap == 9
    path.write_text("[tool.opnorm.findings]\nspike_gap = 8.5\n[tool.other]\nx = 1\n")
    assert read_thresholds(path).spike_gap == 8.5
    path.write_text("[budget]\nmax = 3\n")
    assert read_thresholds(path) == DEFAULT
    for text, said in (
        ("[findings", "not valid TOML"),
        ("findings = 3", "a table is meant"),
        ("[findings]\nspik_gap = 3", "spike_gap"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_thresholds(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_thresholds(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(UsageError, match="are allowed"):
        read_thresholds(path)
    with pytest.raises(UsageError, match="no such file"):
        read_thresholds(tmp_path / "none.toml")


def test_codes_can_be_switched_off():
    arrays = trained_like()
    arrays["block.1.up.weight"] = arrays["block.1.up.weight"] * np.float32(50)
    assert codes(measured(arrays)) == [("ON102", "block.1.up.weight")]
    assert codes(measured(arrays), Thresholds(off=("ON102",))) == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained_with_its_thresholds(code):
    text = explanation(code)
    assert text.startswith(f"{code}: ")
    named = re.findall(r"`([a-z_]+)` \((\d[\d.]*)( %)?", text)
    for key, value, percent in named:
        if key in {f.name for f in fields(Thresholds)}:
            assert getattr(DEFAULT, key) == pytest.approx(float(value) / (100 if percent else 1)), (code, key)
    assert CODES[code].severity in SEVERITIES
    assert max(map(len, text.splitlines())) <= 125


def test_every_threshold_is_explained_somewhere():
    text = " ".join(explanation(code) for code in CODES)
    unexplained = {f.name for f in fields(Thresholds)} - {"off", "most_rows", "quantization"}
    assert {name for name in unexplained if f"`{name}`" not in text} == set()


def test_printed_bounds_stay_bounds():
    rng = np.random.default_rng(0)
    for value in (*(10 ** rng.uniform(-12, 12, 300)), 0.0, 1.0, 9.995, 5e-324, 1.7e308):
        assert float(at_least(float(value))) <= value <= float(at_most(float(value)))


def test_hostile_names_are_shown_harmless():
    name = "embed.weight\x1b[31m\u202e<script>"
    shared = {"stable_rank": (3.0, 3.0), "shape": (300, 32), "frobenius": 2.0}
    report = report_of(row(name, kind="embedding", **shared), row("lm_head.weight", **shared))
    (finding,) = findings_of(report)
    assert "\x1b" not in finding.message
    assert "\u202e" not in finding.message


def test_findings_of_ten_thousand_rows_are_fast():
    import time

    rng = np.random.default_rng(0)
    rows = [row(f"l.{i}.experts.weight[{i % 7}]", sigma=float(np.exp(rng.standard_normal()))) for i in range(10_000)]
    began = time.perf_counter()
    findings_of(report_of(*rows))
    assert time.perf_counter() - began < 5
