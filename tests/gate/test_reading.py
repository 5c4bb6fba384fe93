"""A budget means what it says, or is refused with what to do."""

import pytest

from opnorm.bound import Evidence
from opnorm.errors import FileAccessError, OpnormError, UsageError
from opnorm.report.budget.reading import read_budget

FULL = """
version = 1
[default]
evidence = "proved"

[[rule]]
name = "attention"
glob = ["encoder.*.attention.*", "pooler.*"]
skip = "*.bias"
kind = "linear"
max = 8
min = 0.5

  [[ rule ]]
metric = "stable_rank"
min = 2.0
evidence = "probable"
optional = true
derived = true

[drift]
relative = 0.05
unmatched = "allow"
"""


def budget(tmp_path, text, name="budget.toml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_budget(str(path))


def test_every_key_is_read(tmp_path):
    found = budget(tmp_path, FULL)
    first, second = found.rules
    assert (first.label, first.metric, first.max, first.min) == ("attention", "spectral_norm", 8.0, 0.5)
    assert (first.globs, first.skip) == (("encoder.*.attention.*", "pooler.*"), ("*.bias",))
    assert (first.kinds, first.evidence, first.optional, first.derived) == (("linear",), Evidence.PROVED, False, False)
    assert (second.metric, second.evidence, second.optional, second.derived) == (
        *("stable_rank", Evidence.PROBABLE, True, True),
    )
    assert second.label == "rule 2: stable_rank ≥ 2.0"
    assert [FULL.splitlines()[r.line - 1].strip() for r in found.rules] == ["[[rule]]", "[[ rule ]]"]
    assert (found.drift.relative, found.drift.unmatched) == (0.05, True)
    assert found.needs_baseline
    assert not found.needs_spectrum
    assert found.evidence(Evidence.ESTIMATE) is Evidence.PROVED


def test_a_section_of_pyproject(tmp_path):
    text = '[project]\nname = "x"\n[tool.opnorm]\nversion = 1\n[[tool.opnorm.rule]]\nmax = 3\n'
    found = budget(tmp_path, text, "pyproject.toml")
    assert found.rules[0].max == 3.0
    assert found.rules[0].line == 5
    with pytest.raises(UsageError, match=r"has no \[tool.opnorm\]"):
        budget(tmp_path, "[tool.other]\n", "pyproject.toml")


def test_lines_are_not_guessed(tmp_path):
    text = 'version = 1\n[[rule]]\nmax = 1\nname = """\n[[rule]]\n"""\n'
    assert budget(tmp_path, text).rules[0].line == 0


def test_metrics_of_the_spectrum_ask_for_it(tmp_path):
    for metric, needed in (("effective_rank", True), ("outliers", True), ("frobenius", False), ("stable_rank", False)):
        assert budget(tmp_path, f'version=1\n[[rule]]\nmetric="{metric}"\nmin=1').needs_spectrum is needed


def test_a_default_metric(tmp_path):
    text = 'version=1\ndefault={metric="frobenius"}\n[[rule]]\nmax=1\n[[rule]]\nmax=1\nmetric="condition"'
    assert [r.metric for r in budget(tmp_path, text).rules] == ["frobenius", "condition"]


RULE = "version = 1\n[[rule]]\n"

BAD = {
    "unknown key": (RULE + "maxx = 3", "unknown key 'maxx'; did you mean 'max'"),
    "unknown key of the file": ("version = 1\n[[rules]]\nmax = 1", "did you mean 'rule'"),
    "unknown key of default": (RULE + "max = 1\n[default]\nevidense = 'proved'", "did you mean 'evidence'"),
    "unknown key of drift": ("version = 1\n[drift]\nrelativ = 1\nrelative = 1", "did you mean 'relative'"),
    "unknown key like nothing": (RULE + "max = 1\nzzzzzz = 1", "unknown key 'zzzzzz'; Known: "),
    "unknown metric": (RULE + "metric = 'spectralnorm'\nmax = 1", "did you mean 'spectral_norm'"),
    "unknown evidence": (RULE + "evidence = 'prooved'\nmax = 1", "did you mean 'proved'"),
    "assumed": (RULE + "evidence = 'assumed'\nmax = 1", "not known"),
    "no version": ("[[rule]]\nmax = 1", "add version = 1"),
    "newer version": ("version = 2\n[[rule]]\nmax = 1", "a newer opnorm may read it"),
    "version of text": ("version = '1'\n[[rule]]\nmax = 1", "write version = 1"),
    "version true": ("version = true\n[[rule]]\nmax = 1", "write version = 1"),
    "no limit": (RULE + "glob = '*'", "give max, min or drift"),
    "name for glob": (RULE + "name = 'encoder.*'\nmax = 1", "write glob = 'encoder.*'"),
    "no rule": ("version = 1", "limits nothing"),
    "empty": ("", "no version"),
    "crossed": (RULE + "max = 1\nmin = 2", "no number keeps both"),
    "negative": (RULE + "max = -1", "below 0"),
    "negative drift": (RULE + "drift = -0.1", "below 0"),
    "drift of log_det": (RULE + "metric = 'log_det'\ndrift = 0.1", "sign of its own"),
    "NaN": (RULE + "max = nan", "finite number"),
    "Inf": (RULE + "max = inf", "finite number"),
    "text": (RULE + "max = '8'", "max = '8', where a finite number"),
    "true": (RULE + "max = true", "finite number"),
    "huge": (RULE + "max = 1" + "0" * 400, "finite number"),
    "huge in base 16": (RULE + "max = 0x" + "f" * 20_000, "very many digits"),
    "more digits than Python reads": (RULE + "max = " + "9" * 5000, "not valid TOML"),
    "glob of numbers": (RULE + "max = 1\nglob = [1]", "text or a list of texts"),
    "empty globs": (RULE + "max = 1\nglob = []", "text or a list of texts"),
    "optional of text": (RULE + "max = 1\noptional = 'no'", "true or false"),
    "rule is no list": ("version = 1\nrule = 3", "list of tables"),
    "rule is a list of numbers": ("version = 1\nrule = [3]", "rule 1 is 3, where a table"),
    "default is no table": (RULE + "max = 1\n[[default]]", "where a table is needed"),
    "drift without a number": ("version = 1\n[drift]\n", "needs relative"),
    "unmatched of another word": ("version = 1\n[drift]\nrelative = 1\nunmatched = 'alow'", "did you mean 'allow'"),
    "two of one name": (RULE + "name = 'a'\nmax = 1\n[[rule]]\nname = 'a'\nmax = 2", "two rules with the name 'a'"),
    "not TOML": ("version = = 1", "not valid TOML"),
    "a key twice": ("version = 1\nversion = 1", "not valid TOML"),
    "not UTF-8": (b"version = 1 # \xff", "not UTF-8"),
    "nested": ("version = " + "[" * 20_000, "nested too deeply"),
    "too large": ("#" * (1 << 21), "the most that a budget may have"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_budgets_are_refused_in_words(tmp_path, name):
    text, words = BAD[name]
    with pytest.raises(UsageError) as refused:
        budget(tmp_path, text)
    assert words in str(refused.value)
    assert "budget.toml" in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_places_that_are_no_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_budget(str(tmp_path / "nowhere.toml"))
    with pytest.raises(OpnormError):
        read_budget(str(tmp_path))
    with pytest.raises((FileAccessError, UsageError)):
        read_budget("/dev/stdin")


def test_every_metric_of_the_spectrum_can_be_limited():
    from opnorm.report.budget.metrics import names
    from opnorm.spectrum.magnitude import METRICS

    assert {*METRICS, "spectral_norm", "stable_rank", "frobenius", "outliers"} <= set(names())
