"""The verdicts as JUnit XML, which every build server reads: a suite per rule, a case per limit of a row.

A broken limit is a `failure`; one that cannot be decided is an `error`, as nothing was found out. Names are escaped
first, so that no character remains that XML 1.0 forbids. Source: the schema of Apache Ant's JUnit task.
"""

from __future__ import annotations

import io
from typing import Any

from opnorm.errors import MissingExtra
from opnorm.report.budget.verdict import Judgement, Verdict, by_rule
from opnorm.report.display import display_name
from opnorm.report.document import Report


def library() -> Any:
    """The library that knows the format; `MissingExtra` where it is not installed."""
    try:
        import junitparser
    except ImportError:
        raise MissingExtra("junit", "--junit") from None
    return junitparser


def to_junit(judgement: Judgement, report: Report) -> str:
    """The XML text; without verdicts one suite whose case says so."""
    xml = library()
    root = xml.JUnitXml("opnorm check")
    groups = by_rule(judgement.verdicts)
    for label, verdicts in groups.items():
        root.append(_suite(xml, label, verdicts, report))
    for problem in _problems(judgement):
        suite = xml.TestSuite("opnorm")
        case = xml.TestCase("everything was measured", "opnorm", 0.0)
        case.result = xml.Error(problem, "incomplete")
        suite.add_testcase(case)
        root.append(suite)
    _count(root)
    out = io.BytesIO()
    root.write(out)
    return out.getvalue().decode("utf-8") + "\n"


def _count(root: Any) -> None:
    """What the suites add up to, in the attributes that every reader's schema allows."""
    for name in ("tests", "failures", "errors"):
        setattr(root, name, sum(getattr(suite, name) for suite in root))
    root.time = round(sum(suite.time for suite in root), 3)


def _problems(judgement: Judgement) -> list[str]:
    if not judgement.complete:
        return ["not everything given was measured: see the messages of the command"]
    return [] if judgement.verdicts or not judgement.asked else ["there was nothing to judge"]


def _suite(xml: Any, label: str, verdicts: list[Verdict], report: Report) -> Any:
    suite = xml.TestSuite(display_name(label))
    for given in report.inputs:
        suite.add_property("sha256", f"{given.sha256} {display_name(given.path, 500)}")
    suite.add_property("evidence", report.settings.evidence)
    suite.extend([_case(xml, label, verdict) for verdict in verdicts])
    suite.update_statistics()
    return suite


def _name(verdict: Verdict) -> str:
    """Its own in a suite, and the same whether the limit holds or not: build servers follow a case by it."""
    where = f"{display_name(verdict.where, 500)}: " if verdict.where else ""
    limit = " ".join(filter(None, (verdict.metric, verdict.side)))
    return f"{where}{display_name(verdict.name) or 'the rule'}: {limit}"


def _case(xml: Any, label: str, verdict: Verdict) -> Any:
    case = xml.TestCase(_name(verdict), display_name(label), round(verdict.seconds, 3))
    if verdict.holds is True:
        case.system_out = verdict.text
    else:
        kind = xml.Failure if verdict.holds is False else xml.Error
        case.result = kind(verdict.text, "broken" if verdict.holds is False else "undecided")
    return case
