"""The report as a data frame of three libraries: the same columns, dtypes and values."""

from __future__ import annotations

import builtins
import sys

import narwhals as nw
import pytest
from page_reports import empty, full, hostile

from opnorm.errors import MissingExtra, UsageError
from opnorm.report import frame as module
from opnorm.report.frame import BACKENDS, frame

DTYPES = {
    "name": nw.String,
    "derived": nw.Boolean,
    "passes": nw.Int64,
    "lower": nw.Float64,
    "stable_rank_lower": nw.Float64,
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_dtypes(backend):
    report = full()
    found = nw.from_native(frame(report, backend))
    assert found.implementation.name.lower() == backend
    assert len(found) == len(report.rows)
    for name, dtype in DTYPES.items():
        assert found.schema[name] == dtype, name
    assert found["name"].to_list() == [r.name for r in report.rows]
    for column, value in (("upper", lambda r: r.upper), ("frobenius", lambda r: r.frobenius)):
        cells = [None if c is None or c != c else c for c in found[column].to_list()]
        assert cells == [value(r) for r in report.rows]
    assert found["shape"].to_list()[0] == "30522x384"
    index = next(i for i, r in enumerate(report.rows) if r.spectrum)
    spectrum = report.rows[index].spectrum
    assert found["effective_rank_upper"].to_list()[index] == spectrum.quantities["effective_rank"].upper
    assert found["effective_rank_evidence"].to_list()[index] == "proved"
    assert found["spectrum_frobenius"].to_list()[index] == spectrum.quantities["frobenius"].value
    assert found["stable_rank_lower"].to_list()[index] == report.rows[index].stable_rank[0]


def test_a_sort_by_the_user():
    found = frame(full(), "pandas").sort_values("upper", ascending=False)
    assert found.iloc[0]["name"] == "embeddings.weight"


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_has_the_columns(backend):
    found = nw.from_native(frame(empty(), backend))
    assert len(found) == 0
    assert found.schema["upper"] == nw.Float64


def test_hostile_names_are_values():
    names = ["\\ud800", *[r.name for r in hostile().rows if "\ud800" not in r.name]]
    assert frame(full(), "polars") is not None
    assert len(names) > 100


def test_the_library_at_hand_is_chosen(monkeypatch):
    for name in BACKENDS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: object() if name == "pyarrow" else None)
    assert module._backend(None) == "pyarrow"
    monkeypatch.setitem(sys.modules, "pandas", object())
    assert module._backend(None) == "pandas"


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for name in BACKENDS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=r'pip install "opnorm\[frame\]"'):
        frame(full())
    with pytest.raises(UsageError, match="polars, pandas, pyarrow"):
        frame(full(), "duckdb")
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "narwhals":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"opnorm\[frame\]"):
        frame(full())
