"""The answer in words, and the terminal's text: true to the report, whole at any width, harmless."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from trial_reports import ARMS, all_failed, bare, extreme, full, hostile, one_arm

from opnorm.experiment.document import Answer, Comparison
from opnorm.explain import explanation
from opnorm.report.trial import answer, arms, page, show, words
from opnorm.report.trial.points import SHARES, in_points

EVERY = {"full": full, "one": one_arm, "bare": bare, "failed": all_failed, "extreme": extreme, "hostile": hostile}


def printed(report, width=120, **given):
    out = io.StringIO()
    show(report, Console(file=out, width=width, **given))
    return out.getvalue()


def answered(**answers: Answer):
    """The trial, its leading measure answered as given, an arm each."""
    report = full(("none", *answers))
    found = {c.arm: replace(c, answer=answers[c.arm]) for c in report.verdicts[0].comparisons if c.measure == "test"}
    rest = [c for c in report.verdicts[0].comparisons if c.measure != "test"]
    first = replace(report.verdicts[0], comparisons=(*found.values(), *rest))
    return replace(report, verdicts=(first,), winner="", controls=())


H, W, S, O = Answer.HELPS, Answer.HURTS, Answer.SAME, Answer.OPEN  # noqa: E741


@pytest.mark.parametrize(
    ("answers", "opening", "gravity", "first"),
    [
        ({"l2": O, "cap": H}, "Yes.", "calm", "cap helps"),
        ({"l2": H, "cap": O}, "There is not enough evidence.", "warning", "cap: test accuracy"),
        ({"l2": H, "cap": S}, "It makes no practical difference.", "note", "cap is practically the same"),
        ({"l2": H, "cap": W, "cap+l2": W}, "No, it hurts.", "serious", "cap"),
        ({"l2": S, "cap": S, "cap+l2": W}, "No spectral arm helps.", "note", "cap"),
        ({"l2": S, "cap": O, "cap+l2": W}, "No help was found.", "warning", "cap"),
        ({"l2": H, "dropout": S}, "No spectral arm was tried.", "note", "l2 helps"),
    ],
)
def test_the_question_is_answered_by_spectral_arms_only(answers, opening, gravity, first):
    report = answered(**answers)
    if not any("cap" in arm for arm in answers):
        report = replace(report, spectral=("cap",))
    told = answer.headline(report)
    assert (told.opening, told.gravity) == (opening, gravity)
    assert told.rest.startswith(first)
    assert ("Without spectral norm, l2" in told.rest) is (answers["l2"] is H and "cap" in answers)
    assert ("helps too" in told.rest) is ("Without" in told.rest and H in [a for n, a in answers.items() if "cap" in n])


def test_the_winner_is_put_first_else_the_largest_help():
    report = answered(cap=H, **{"cap+l2": H})
    best = max((c for c in report.verdicts[0].comparisons if c.measure == "test"), key=lambda c: c.difference)
    assert answer.best(report).arm == best.arm
    assert answer.best(replace(report, winner="cap")).arm == "cap"


def test_a_control_that_moved_is_said_in_the_headline():
    report = answered(cap=H)
    control = replace(report.verdicts[0].comparisons[0], arm="none@again", answer=W)
    told = answer.headline(replace(report, controls=(control,)))
    assert told.opening == "Yes, but the control moved too."
    other = replace(control, measure="another")
    assert answer.headline(replace(report, controls=(other,))).opening == "Yes."


def test_shares_are_told_in_points_as_the_sentences_tell_them():
    from opnorm.experiment.claims.sentence import IN_POINTS

    assert set(SHARES) == set(IN_POINTS)
    report = one_arm()
    before, after = report.verdicts[0].comparisons[0], in_points(report).verdicts[0].comparisons[0]
    assert after.unit == "points"
    assert after.difference == pytest.approx(100 * before.difference)
    assert after.interval == pytest.approx([100 * e for e in before.interval])
    assert after.margin == pytest.approx(1.0)
    assert [(p.arm, p.baseline) for p in after.pairs] == [(100 * p.arm, 100 * p.baseline) for p in before.pairs]
    brier = report.verdicts[2].comparisons[0]
    assert in_points(report).verdicts[2].comparisons[0] == brier


@pytest.mark.parametrize("made", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("width", [30, 64, 120, 250])
def test_every_report_prints_at_every_width(made, width):
    report = made()
    text = printed(report, width)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    text.encode("utf-8")
    for line in text.splitlines():
        if "─" in line or re.match(r" \S+ +[+−][\d.]+ ", line):
            assert len(line) <= width


def test_a_pipe_gets_no_color_and_a_terminal_does():
    assert "\x1b" not in printed(full())
    assert "\x1b[1;32mYes." in printed(full(), force_terminal=True, color_system="standard", no_color=False)


def test_a_terminal_ends_with_the_answer_that_has_scrolled_away():
    lines = printed(full(), 130, force_terminal=True, color_system=None).rstrip().splitlines()
    assert lines[-1] == f"Again in short: {lines[0]}"
    assert "Again in short" not in printed(full(), 130)


def test_the_text_says_all_that_matters():
    report, text = full(), printed(full(), 130)
    assert text.startswith("Yes. cap+l2 helps: test accuracy +")
    for arm in ARMS[1:]:
        assert re.search(rf"^ {re.escape(arm)} .*(helps|hurts|same|evidence)", text, re.M), arm
    for verdict in report.verdicts:
        for part in verdict.sentence.split("; "):
            assert part in text
    for said in (
        "dropout 3 of 30",
        "Certified radius",
        "cap 1.22× (1.15 to 1.31)",
        "0 of 8 measures",
        "model.fit(X, y)",
    ):
        assert said in text
    assert "INCOMPLETE" in printed(bare())
    assert "Control: none ran" in printed(one_arm())


def test_every_technique_has_its_meaning_and_the_reports_tell_it():
    pytest.importorskip("torch")
    from opnorm.experiment.arms import ARMS as KNOWN

    assert set(arms.MEANING) == set(KNOWN)
    assert arms.glossary(["none", "cap", "cap+l2", "none@again", "mine"]) == [
        ("none", "plain training"),
        ("cap", arms.MEANING["cap"]),
        ("l2", "weight decay"),
    ]
    assert "none: plain training; l2: weight decay; " in printed(full())
    assert "against plain training (95 %" in answer.headline(full()).rest
    assert "cap+l2 against plain training" in answer.numbers(full())[0].title


def test_seeds_that_would_decide_are_told_only_where_they_are_more_than_were_run():
    """The estimate is of a chance of 0.8: it may name fewer seeds than have just failed to decide."""
    report = answered(cap=O)
    (first,) = report.verdicts
    for needed, told in ((25, True), (10, False), (3, False)):
        found = tuple(replace(c, needed=needed) for c in first.comparisons)
        asked = replace(report, verdicts=(replace(first, comparisons=found),))
        assert len(found[0].pairs) >= 10
        assert (f"about {needed} seeds would decide" in answer.headline(asked).rest) is told
        assert (f"about {needed} seeds would decide</span>" in page(asked)) is told
    never = replace(asked.verdicts[0].comparisons[0], needed=None)
    alone = replace(asked, verdicts=(replace(asked.verdicts[0], comparisons=(never,)), *asked.verdicts[1:]))
    assert "more seeds would not decide" in answer.headline(alone).rest


@pytest.mark.parametrize(
    ("metric", "unit", "said"),
    [
        ("r2", "R²", r"cap helps: test R² \+0\.\d+ against plain training"),
        (
            "neg_mae", "standard deviations of the target",
            r"cap helps: test mean absolute error, negated \+0\.\d+ standard deviations of the target against plain",
        ),
    ],
)  # fmt: skip
def test_metrics_have_names_in_the_headline_and_units_are_whole(metric, unit, said):
    report = answered(cap=H)
    first = report.verdicts[0]
    found = tuple(replace(c, unit=unit) for c in first.comparisons)
    told = replace(report, design=replace(report.design, metric=metric), verdicts=(replace(first, comparisons=found),))
    assert re.match(said, answer.headline(told).rest)


def test_every_metric_that_is_no_word_has_a_name():
    from opnorm.experiment.metrics import METRICS

    plain = {"accuracy", "balanced_accuracy", "average_precision"}
    named = {m: METRICS[m].title for m in METRICS if m not in plain}
    for metric, title in named.items():
        report = full()
        assert title.startswith(answer.headline(replace(report, design=replace(report.design, metric=metric)))
                                .rest.split("test ")[1].split(" +")[0])  # fmt: skip


@pytest.mark.parametrize("word", ["arm", "seed", "margin", "claim", "control", "holm", "not enough evidence", "helps"])
def test_words_of_a_trial_are_explained(word):
    text = explanation(word)
    assert text.startswith("trial: ")
    assert word in text.lower()


def test_probabilities_are_explained_where_they_are_shown():
    said = "better, same, worse: probability that the arm's true difference lies above, within, below the margin"
    assert said in printed(full())
    assert said not in printed(full(), width=80)


def test_markup_in_names_is_only_text():
    report = one_arm()
    told = replace(report.verdicts[0], sentence="[bold red]cap[/] [link=http://evil]x[/link]")
    assert told.sentence in printed(replace(report, verdicts=(told,)))


def test_numbers_of_a_narrow_table_are_whole():
    wide = {line.split()[0]: line.split()[1] for line in printed(full(), 130).splitlines() if line.startswith(" cap")}
    narrow = {line.split()[0]: line.split()[1] for line in printed(full(), 50).splitlines() if line.startswith(" cap")}
    assert narrow == wide
    assert len(wide) == 2


def made_comparison(margin: float, interval: tuple[float, float] | None, difference: float | None) -> Comparison:
    base = one_arm().verdicts[0].comparisons[0]
    return replace(base, margin=margin, interval=interval, difference=difference, unit="")


@pytest.mark.parametrize(
    ("margin", "value", "said"),
    [
        (0.01, 0.0194, "+0.019"),
        (0.01, -0.0194, "−0.019"),
        (0.01, 0.0001, "0.000"),
        (1.0, 2.25, "+2.2"),
        (20.0, -3.4, "−3"),
        (1e-9, 2.5e-10, "+2.50×10⁻¹⁰"),
        (1e9, -2.5e12, "−2.50×10¹²"),
        (0.01, None, "–"),
        (0.01, float("nan"), "–"),
        (0.01, float("-inf"), "−∞"),
    ],
)
def test_a_difference_has_its_sign_and_the_margins_digits(margin, value, said):
    assert words.signed(made_comparison(margin, None, None), value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (1.0, "> 99.9 %"), (0.0, "< 0.1 %"), (0.9991, "> 99.9 %"), (0.95, "95.0 %"), (0.5, "50 %")],
)
def test_a_probability_is_never_certain(value, said):
    assert words.chance(value) == said


@pytest.mark.parametrize(
    ("things", "said"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abcdefghi"), "a, b, c, d, e and 4 more")],
)
def test_lists_in_words(things, said):
    assert words.listed(things) == said


def test_marks_do_not_climb_and_blanks_have_a_name():
    assert words.name("e" + "\u0301" * 300) == "e" + "\u0301" * 4
    assert words.name("éa\u0301b") == "éa\u0301b"
    assert words.name("  ") == "(blank)"
    assert words.line("") == ""
