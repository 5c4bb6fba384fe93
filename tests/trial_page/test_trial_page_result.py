"""What `opnorm.trial` returns: the same data as the report, which prints and writes itself."""

from __future__ import annotations

from dataclasses import fields

import pytest
from trial_reports import full

import opnorm
from opnorm.errors import FileAccessError
from opnorm.report.trial import page, read_json, to_json, verdict_json
from opnorm.report.trial.result import TrialResult


def test_a_result_is_its_report_and_renders_it(tmp_path) -> None:
    report = full()
    result = opnorm.TrialResult.of(report)
    assert all(getattr(result, f.name) is getattr(report, f.name) for f in fields(report))
    assert result.to_json() == to_json(report)
    assert result.verdict_json() == verdict_json(report)
    result.to_html(tmp_path / "trial.html")
    assert (tmp_path / "trial.html").read_text(encoding="utf-8") == page(report)
    assert TrialResult.of(read_json(result.to_json())) == result


def test_a_result_prints_the_answer_without_escapes() -> None:
    text = str(TrialResult.of(full()))
    assert "Test score, arm" in text or "arm − none" in text
    assert "\x1b" not in text


def test_a_page_that_cannot_be_written_says_so(tmp_path) -> None:
    with pytest.raises(FileAccessError, match="nowhere"):
        TrialResult.of(full()).to_html(tmp_path / "nowhere" / "trial.html")
