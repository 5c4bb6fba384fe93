"""A budget has the spectra computed that it limits, and no others."""

import numpy as np
from made import weights

from opnorm.linalg.request import Request
from opnorm.readers.memory import MemoryCheckpoint
from opnorm.report.budget.budget import Budget, Rule
from opnorm.report.budget.judge import judge
from opnorm.report.budget.spectra import Spectra
from opnorm.report.survey import Survey


def test_only_the_rows_that_a_rule_limits():
    made = weights()
    rules = (Rule("norm", max=9.0), Rule("r", "condition", globs=("layers.1*",), min=1.99, max=2.01))
    survey = Survey(Request(), insight=Spectra(budget=Budget("b", rules)))
    survey.add(MemoryCheckpoint(made))
    report = survey.report("0")
    assert [row.name for row in report.rows if row.spectrum is not None] == ["layers.1.weight"]
    assert not any(row.directions for row in report.rows)
    assert np.linalg.cond(made["layers.1.weight"]) - 2 < 1e-12
    assert [v.holds for v in judge(report, Budget("b", rules), Request().evidence)] == [True] * 5
