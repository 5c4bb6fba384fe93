"""What the ten examples say together: a digest of each report, and Markdown tables over all digests.

A table's words follow from the verdicts alone: a cell is the answer, the mean difference and its interval, as the trial
gave them. Across examples a difference is counted in units of the margin that the example declared before it ran.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Digest = dict[str, Any]
Found = Sequence[tuple[str, str, str, Digest]]
"""(domain, title, what is predicted, digest), an example each."""

KEPT = ("opnorm", "subject", "design", "verdicts", "controls", "costs", "winner", "untested", "environment", "complete")
WORDS = {
    "helps": "**helps**",
    "hurts": "**hurts**",
    "practically the same": "the same",
    "not enough evidence": "open",
}
SPECTRAL = ("cap", "cap+l2", "torch_spectral_norm")
BEYOND = (
    ("generalization", "gap", "gap to training"),
    ("generalization", "test_small", "a fifth of the data"),
    ("generalization", "test_noise", "a fifth of the labels wrong"),
    ("robustness", "attacked", "under attack"),
    ("robustness", "corrupted", "under noise"),
    ("reliability", "calibration", "calibration"),
    ("overpenalization", "train", "training score"),
)


def digest(report: Digest, about: Mapping[str, Any]) -> Digest:
    """The report without its records, in six digits; pairs of values are kept where the primary claim is answered."""
    kept = rounded(about | {key: report[key] for key in KEPT})
    lead = primary(kept)
    for comparison in every(kept):
        if (comparison["claim"], comparison["measure"]) != (lead["claim"], lead["lead"]):
            del comparison["pairs"]
    return kept


def rounded(value: Any) -> Any:
    """The same with every number in six significant digits, fresh containers throughout."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def every(found: Digest) -> Iterator[Digest]:
    """All comparisons of a digest, the controls last."""
    for verdict in found["verdicts"]:
        yield from verdict["comparisons"]
    yield from found["controls"]


def primary(found: Digest) -> Digest:
    """The verdict that answers the title's question."""
    return next(verdict for verdict in found["verdicts"] if verdict["claim"] == found["design"]["primary"])


def leading(found: Digest) -> dict[str, Digest]:
    """The primary claim's lead measure, by arm."""
    verdict = primary(found)
    return {c["arm"]: c for c in verdict["comparisons"] if c["measure"] == verdict["lead"]}


def compared(found: Digest, claim: str, measure: str, arm: str) -> Digest | None:
    """One comparison, None where it was not made."""
    wanted = (claim, measure, arm)
    made = (c for verdict in found["verdicts"] for c in verdict["comparisons"])
    return next((c for c in made if (c["claim"], c["measure"], c["arm"]) == wanted), None)


def cell(comparison: Digest | None) -> str:
    """'**helps** +0.021 (+0.008 to +0.034)'; '–' where nothing was compared."""
    if comparison is None or comparison["difference"] is None:
        return "–"
    said = f"{WORDS[comparison['answer']]} {signed(comparison['difference'])}"
    ends = comparison["interval"]
    return f"{said} ({signed(ends[0])} to {signed(ends[1])})" if ends else said


def signed(value: float) -> str:
    """Three decimals with a sign, a minus for a hyphen."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def row(*cells: object) -> str:
    """One line of a table."""
    return f"| {' | '.join(str(cell).replace('|', '¦') for cell in cells)} |"


def head(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*names), row(*("---" for _ in names))]


def plain(comparisons: Mapping[str, Digest]) -> str:
    """The baseline's mean score."""
    pairs = next(iter(comparisons.values()))["pairs"]
    return f"{sum(pair['baseline'] for pair in pairs) / len(pairs):.3f}" if pairs else "–"


def answers(found: Found, arms: Sequence[str]) -> str:
    """The primary claim: a row an example, a column an arm."""
    lines = head("example", "score", "none", *arms)
    for domain, title, _, one in found:
        by_arm = leading(one)
        cells = (cell(by_arm[arm]) if arm in by_arm else "not run" for arm in arms)
        lines.append(row(f"{title} ({domain})", one["design"]["metric"], plain(by_arm), *cells))
    return "\n".join(lines)


def beyond(found: Found, arm: str = "cap") -> str:
    """The other claims' measures, of one arm."""
    lines = head("example", *(title for _, _, title in BEYOND))
    for _, title, _, one in found:
        lines.append(row(title, *(cell(compared(one, claim, measure, arm)) for claim, measure, _ in BEYOND)))
    return "\n".join(lines)


def counts(found: Found, arms: Sequence[str]) -> str:
    """How often each arm got each answer in the primary claim."""
    lines = head("arm", *(words.strip("*") for words in WORDS.values()), "examples")
    for arm in arms:
        got = Counter(leading(one)[arm]["answer"] for *_, one in found if arm in leading(one))
        lines.append(row(arm, *(got[answer] for answer in WORDS), got.total()))
    return "\n".join(lines)


def across(found: Found, arms: Sequence[str]) -> str:
    """Signed ranks of the mean differences over examples, each in its own margin: Bayesian, and Wilcoxon's test."""
    import numpy as np
    from baycomp import SignedRankTest
    from scipy.stats import wilcoxon

    lines = head("arm", "examples", "median difference, in margins", "worse", "the same", "better", "Wilcoxon's p")
    for arm in arms:
        compared = [leading(one)[arm] for *_, one in found if arm in leading(one)]
        shifts = np.array([c["difference"] / c["margin"] for c in compared if c["difference"] is not None])
        if len(shifts) < 2:
            continue
        chances = SignedRankTest.probs(np.zeros_like(shifts), shifts, rope=1.0, random_state=0)
        p_value = wilcoxon(shifts).pvalue if shifts.any() else 1.0
        shares = (f"{100 * share:.0f} %" for share in chances)
        lines.append(row(arm, len(shifts), signed(np.median(shifts)), *shares, f"{p_value:.2g}"))
    return "\n".join(lines)


def costs(found: Found, arms: Sequence[str]) -> str:
    """Time of a training step over the plain one's, and what the whole trial took."""
    lines = head("example", *arms, "whole trial")
    for _, title, _, one in found:
        ratio = {cost["arm"]: cost["step_ratio"] for cost in one["costs"]}
        cells = (f"{ratio[arm]:.2f}" if ratio.get(arm) else "–" for arm in arms)
        lines.append(row(title, *cells, f"{one['seconds'] / 60:.1f} min"))
    return "\n".join(lines)


def controls(found: Found) -> str:
    """How often a second start of the plain model came out better or worse than the first."""
    got = Counter(c["answer"] for *_, one in found for c in one["controls"])
    told = ", ".join(f"{got[answer]} *{words.strip('*')}*" for answer, words in WORDS.items())
    named = [
        f"{title}: {c['title']} {c['answer']}"
        for _, title, _, one in found
        for c in one["controls"]
        if c["answer"] in ("helps", "hurts")
    ]
    suspects = f" ({'; '.join(named)})" if named else ""
    return f"{got.total()} comparisons of the plain model with itself: {told}{suspects}."


def commands(found: Found) -> str:
    """What was run, and on what."""
    lines = head("example", "predicts", "seeds", "command, in the project's folder")
    for _, title, predicts, one in found:
        lines.append(row(title, predicts, len(one["design"]["seeds"]), f"`{one['command']}`"))
    return "\n".join(lines)


def sections(found: Found) -> dict[str, str]:
    """Every generated part of the page, by the name of its markers."""
    arms = list(dict.fromkeys(arm for *_, one in found for arm in leading(one)))
    spectral = [arm for arm in arms if arm in SPECTRAL]
    return {
        "answers-spectral": answers(found, spectral),
        "answers-others": answers(found, [arm for arm in arms if arm not in SPECTRAL]),
        "counts": counts(found, arms),
        "beyond": beyond(found),
        "across": across(found, arms),
        "costs": costs(found, arms),
        "controls": controls(found),
        "commands": commands(found),
    }


def between_markers(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between `<!-- NAME -->` and `<!-- /NAME -->`; markers it lacks are an error."""
    for name, text in parts.items():
        before, opening, rest = page.partition(f"<!-- {name} -->")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not (opening and closing):
            raise ValueError(f"the page has no markers <!-- {name} --> … <!-- /{name} -->")
        page = f"{before}{opening}\n{text}\n{closing}{after}"
    return page
