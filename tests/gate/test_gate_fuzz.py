"""Whatever a budget or a baseline holds, it is read or refused in words; no other exception comes out."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import report, row

from opnorm.errors import UsageError
from opnorm.report.budget.baseline import baseline_of, read_baseline
from opnorm.report.budget.budget import Budget
from opnorm.report.budget.reading import budget_of

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**400, 10**401), st.floats(), st.text(max_size=8),
    st.sampled_from(["proved", "spectral_norm", "log_det", "*", "allow"]),
)  # fmt: skip
KEYS = st.sampled_from(
    ["name", "glob", "skip", "kind", "metric", "max", "min", "drift", "evidence", "optional", "derived", "relative",
     "unmatched", "version", "rule", "default", "max ", ""]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)), max_leaves=8
)
RULES = st.lists(st.dictionaries(KEYS, LEAVES, max_size=4), min_size=1, max_size=3)
DOCUMENTS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"version": st.just(1), "rule": RULES},
        optional={
            "drift": st.dictionaries(KEYS, LEAVES, max_size=2),
            "default": st.dictionaries(KEYS, LEAVES, max_size=2),
        },
    ),
)


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS)
def test_budgets(document):
    try:
        found = budget_of(document)
    except UsageError:
        return
    assert isinstance(found, Budget)
    limits = [x for rule in found.rules for x in (rule.max, rule.min, rule.drift) if x is not None]
    assert all(abs(x) < float("inf") for x in limits)
    assert found.rules or found.drift
    for rule in found.rules:
        rule.covers(row("encoder.w", lower=1.0, upper=1.0))


GOOD = baseline_of(report(row("a", lower=1.0, upper=2.0), row("b[q]", upper=2.0, derived=True)))


def places(value, path=()):
    """Every place in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_baselines_with_one_thing_wrong(data, tmp_path):
    document = json.loads(GOOD.to_json())
    path = data.draw(st.sampled_from([p for p in places(document) if p]))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[path[-1]]
    else:
        inner[path[-1]] = data.draw(VALUES)
    file = tmp_path / "b.json"
    file.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
    try:
        found = read_baseline(str(file))
    except UsageError:
        return
    for line in found.lines.values():
        found.digest(line)
    assert found.to_json()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_baselines_with_bytes_changed(data, tmp_path):
    raw = bytearray(GOOD.to_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "b.json"
    file.write_bytes(raw)
    try:
        read_baseline(str(file))
    except UsageError:
        return
