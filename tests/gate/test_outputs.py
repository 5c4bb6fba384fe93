"""Every output stays what it is whatever a row is called, and says the same verdicts."""

import re
from xml.etree import ElementTree

import pytest
from made import HOSTILE, report, row

from opnorm.errors import FileAccessError, UsageError
from opnorm.report.budget import card, github, junit
from opnorm.report.budget.markdown import code, prose, to_markdown
from opnorm.report.budget.outputs import Outputs
from opnorm.report.budget.show import lines
from opnorm.report.budget.verdict import Judgement, Verdict

HOLDS = (True, False, None)


def verdicts(names=HOSTILE):
    return tuple(
        Verdict(
            f"rule {name}",
            name,
            "spectral_norm",
            HOLDS[i % 3],
            "1 ≤ spectral_norm straddles max 2.0",
            name * 2,
            "proved",
        )
        for i, name in enumerate(names)
    )


def judgement(names=HOSTILE, **more):
    return Judgement(verdicts(names), True, terms=("--budget b|`.toml",), **more)


def hostile_report():
    return report(*(row(n, lower=1.0, upper=2.0) for n in HOSTILE), path="dir/\x1b[31m|`<b>.npy")


PLAIN = ("encoder.0.weight", "encoder.1.weight", "head.weight")


def test_terminal_lines_hold_no_control_and_no_command():
    told = list(lines(judgement()))
    assert sum(line.startswith(("FAIL     ", "UNKNOWN  ")) for line in told) == 1 + sum(
        i % 3 > 0 for i in range(len(HOSTILE))
    )
    for line in told:
        assert "##[" not in line
        assert not line.lstrip().startswith("::")
        assert all(c.isprintable() for c in line)
    assert told[-1] == f"FAIL     {judgement().sentence}"


def test_junit_is_read_back_by_its_library():
    from junitparser import Error, Failure, JUnitXml

    given = judgement()
    found = JUnitXml.fromstring(junit.to_junit(given, hostile_report()).encode())
    cases = [case for suite in found for case in suite]
    assert (found.tests, found.failures, found.errors) == (
        len(given.verdicts),
        sum(v.holds is False for v in given.verdicts),
        sum(v.holds is None for v in given.verdicts),
    )
    kinds = {True: [], False: [Failure], None: [Error]}
    assert [[type(r) for r in c.result] for c in cases] == [kinds[v.holds] for v in given.verdicts]
    assert all(c.name and c.classname and c.time is not None for c in cases)


def test_junit_is_well_formed_xml_of_the_usual_shape():
    """The elements and attributes of the Ant task's schema, and no character that XML 1.0 forbids."""
    text = junit.to_junit(judgement(), hostile_report())
    root = ElementTree.fromstring(text)  # noqa: S314
    assert root.tag == "testsuites"
    assert set(root.attrib) == {"name", "tests", "failures", "errors", "time"}, "Jenkins' schema allows no other"
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == {"name", "tests", "failures", "errors", "skipped", "time"}
        assert re.fullmatch(r"\d+(\.\d+)?", suite.attrib["time"])
        assert next(c.tag for c in suite) == "properties"
        for case in suite.iter("testcase"):
            assert set(case.attrib) == {"name", "classname", "time"}
            assert {c.tag for c in case} <= {"failure", "error", "system-out"}
    forbidden = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    assert not forbidden.search(text)
    assert not forbidden.search("".join(t for e in root.iter() for t in (e.text or "", *e.attrib.values())))


@pytest.mark.parametrize(
    ("given", "errors"),
    [(Judgement((), True), 1), (Judgement((), True, asked=False), 0), (Judgement(verdicts(PLAIN[:1]), False), 1)],
)
def test_junit_says_when_there_is_nothing_to_say(given, errors):
    from junitparser import JUnitXml

    assert JUnitXml.fromstring(junit.to_junit(given, report()).encode()).errors == errors


def runner(line):
    """What GitHub's runner makes of a line: actions/runner, ActionCommand.TryParseV2, then TryParse."""
    if line.lstrip().startswith("::"):
        info, found, data = line.lstrip()[2:].partition("::")
        name, _, given = info.partition(" ")
        if found and name in ("error", "warning", "notice", "set-output", "add-mask", "set-env", "group"):
            pairs = [p.split("=", 1) for p in given.strip().split(",") if p]
            undone = {k: _undone(v, ("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")) for k, v in pairs}
            return name, undone, _undone(data, ("%0D", "\r"), ("%0A", "\n"))
    return "##[" if "##[" in line else None


def _undone(text, *pairs):
    for escaped, plain in (*pairs, ("%25", "%")):
        text = text.replace(escaped, plain)
    return text


def test_annotations_are_what_the_runner_reads_and_nothing_else():
    given = judgement(HOSTILE * 2)
    told = list(github.commands(given, "budget,:%.toml"))
    assert len(told) == min(len(given.failed), 10)
    assert all(len(line.splitlines()) == 1 and line.isprintable() for line in told)
    for line, verdict in zip(told[:-1], given.failed, strict=False):
        name, properties, message = runner(line)
        assert name == "error"
        assert set(properties) == {"file", "title"}
        assert properties["file"] == "budget,:%.toml"
        assert message == verdict.text
    assert "1 more" not in told[0]
    assert runner(told[-1])[2].startswith(f"{len(given.failed) - 9} more: ")


def test_no_line_on_a_runner_is_a_command_that_a_name_made():
    for line in lines(judgement()):
        assert runner(line) is None
    for line in to_markdown(judgement(), hostile_report()).splitlines():
        assert not line.startswith("::")


def test_ten_annotations_are_all_shown_and_eleven_counted():
    for count in (0, 1, 10, 11, 50):
        failed = Judgement(tuple(Verdict("r", f"w{i}", "m", False, "no") for i in range(count)), True)
        told = list(github.commands(failed))
        assert len(told) == min(max(count, 1), 10)
        assert told[-1].endswith("no") if 0 < count < 11 else True
    passed = Judgement((Verdict("r", "w", "m", True, "yes", line=3),), True)
    assert [runner(line)[0] for line in github.commands(passed)] == ["notice"]


def test_an_annotation_points_at_the_rule():
    failed = Judgement((Verdict("r", "w", "m", False, "no", line=7),), True)
    assert next(github.commands(failed, "b.toml")) == "::error file=b.toml,line=7,title=opnorm FAIL%3A r::w: no"


def test_the_summary_is_appended_within_its_size(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    path.write_bytes(b"before\n")
    names = [f"encoder.layers.{i}.weight" + "x" * 90 for i in range(9000)]
    failed = Judgement(tuple(Verdict("r", n, "m", False, "no " * 200) for n in names), True)
    github.append_summary(failed, report(), str(path))
    text = path.read_bytes()
    assert text.startswith(b"before\n\n## opnorm check: FAILED")
    assert len(text) <= github.SUMMARY_BYTES
    assert b"more are not shown" in text
    before = path.read_bytes()
    monkeypatch.setattr(github, "SUMMARY_BYTES", len(before))
    github.append_summary(failed, report(), str(path))
    assert path.read_bytes() == before
    monkeypatch.setattr(github, "SUMMARY_BYTES", len(before) + 100)
    github.append_summary(failed, report(), str(path))
    assert len(before) < len(path.read_bytes()) <= len(before) + 100
    with pytest.raises(FileAccessError):
        github.append_summary(judgement(PLAIN), report(), str(tmp_path / "no" / "such.md"))


def cells(text):
    """The cells of every table row, split where GitHub splits: at a pipe without a backslash before it."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in rows]


def test_markdown_tables_keep_their_columns():
    """A pipe splits cells even inside code; three tables: rules, failures, files."""
    text = to_markdown(judgement(), hostile_report())
    widths = {3, 4}
    assert {len(row) for row in cells(text)} <= widths
    failed = [row for row in cells(text) if len(row) == 4][2:]
    assert len(failed) == len(judgement().failed)


def test_foreign_text_stands_in_code():
    assert (code(""), code("  "), code("a_b")) == ("(no name)", "(blank)", "`a_b`")
    for name in HOSTILE:
        shown = code(name, 6000)
        assert "|" not in shown
        assert "\n" not in shown
        if shown.startswith("`"):
            assert shown.count("`") == 2
        elif shown.startswith("<code>"):
            assert re.fullmatch(r"<code>(?:[0-9A-Za-z]|[^\x00-\x7f]|&#\d+;)*</code>", shown)
        else:
            assert not name.strip()


def test_markdown_means_the_name_again():
    """Rendered by a Markdown library, a name is text in code: no link, no markup, no script."""
    markdown_it = pytest.importorskip("markdown_it")
    from opnorm.report.display import display_name

    parser = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for name in HOSTILE:
        if not name.strip():
            continue
        html = parser.renderInline(code(name, 6000))
        inner = re.fullmatch(r"<code>(.*)</code>", html, re.DOTALL)
        assert inner, html
        assert "<" not in inner[1]
        import html as escapes

        assert escapes.unescape(inner[1]) == display_name(name, 6000)


def test_prose_is_no_markup():
    assert prose("a_b *c* [x](y) <b> `d` #1 @e | f ~g~") == (
        "a&#95;b &#42;c&#42; &#91;x&#93;(y) &#60;b&#62; &#96;d&#96; &#35;1 &#64;e &#124; f &#126;g&#126;"
    )


CARDS = {
    "empty": "",
    "head": "---\nlicense: mit\ntags:\n- a\n---\n\n# Model\n\ntext\n",
    "no newline at the end": "# Model",
    "windows": "---\r\nlicense: mit\r\n---\r\n# Model\r\n",
    "mark of byte order": "\ufeff---\nlicense: mit\n---\nümlaut 漢字 \u2028 \x0c end\n",
    "marker in a line": f"text {card.BEGIN} and {card.END} in a line\n",
    "marker that ends a line": f"see {card.BEGIN}\nand {card.END}\n",
    "marker that begins a line": f"{card.BEGIN} or\n{card.END} or\n",
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_keeps_every_other_byte(name):
    before = CARDS[name]
    first = card.with_section(before, card.section(judgement(), hostile_report()))
    assert first.startswith(before)
    after = first + "after the section\n"
    other = card.section(judgement(PLAIN), report(row("w", lower=1.0, upper=2.0)))
    second = card.with_section(after, other)
    assert second == card.with_section(second, other), "replacing is idempotent"
    begin, end = second.index("## Spectral"), second.index(card.END, second.index("| `w` |")) + len(card.END)
    assert second[:begin] == first[: first.index("## Spectral")]
    assert second[end:].strip() == "after the section"
    assert ("\r\n" in before) == ("\r\n" in second)


def test_a_name_cannot_close_the_section():
    text = card.with_section("# M\n", card.section(judgement(), hostile_report()))
    assert len(re.findall(rf"(?m)^{re.escape(card.END)}$", text)) == 1
    assert card.with_section(text, "new") == "# M\n\nnew\n"


@pytest.mark.parametrize(
    "text",
    [f"{card.BEGIN}\n", f"{card.END}\n{card.BEGIN}\n", f"{card.BEGIN}\n{card.BEGIN}\n{card.END}\n", f"{card.END}\n"],
)
def test_open_markers_are_refused(text, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="nothing was written"):
        Outputs(model_card=str(path)).prepare([])
    assert path.read_text() == text


def test_a_card_is_read_by_the_hub(tmp_path):
    """huggingface_hub finds the same metadata before and after, and the section in the text."""
    hub = pytest.importorskip("huggingface_hub")
    before = "---\nlicense: mit\nmodel-index:\n- name: m\n  results: []\n---\n# Model\n"
    after = card.with_section(before, card.section(judgement(PLAIN), report(row("w", lower=1.0, upper=2.0))))
    old, new = hub.ModelCard(before), hub.ModelCard(after)
    assert old.data.to_dict() == new.data.to_dict()
    assert new.text.startswith(old.text)
    assert "`w`" in new.text
    assert "a" * 64 in new.text


def test_numbers_on_a_card_are_bounds():
    text = card.section(judgement(PLAIN), report(row("w", lower=1 / 3, upper=2 / 3, evidence="probable")))
    cells_of = next(row for row in cells(text) if "`w`" in row[0])
    assert float(cells_of[2]) <= 1 / 3
    assert float(cells_of[3]) >= 2 / 3
    assert cells_of[4].strip() == "probable"


def test_a_long_card_shows_the_largest():
    rows = [row(f"w{i}", lower=float(i), upper=float(i)) for i in range(100)]
    text = card.section(judgement(PLAIN), report(*rows))
    assert "`w99`" in text
    assert "`w80`" in text
    assert "`w79`" not in text
    assert "The 20 largest of 100" in text


def test_outputs_that_would_destroy_something_are_refused(tmp_path):
    model, budget = tmp_path / "m.npz", tmp_path / "b.toml"
    model.write_bytes(b"m")
    budget.write_text("b")
    for wrong in (
        Outputs(junit=str(model)),
        Outputs(markdown=str(budget)),
        Outputs(baseline=str(tmp_path / "." / "m.npz")),
        Outputs(junit=str(tmp_path / "x"), markdown=str(tmp_path / "x")),
    ):
        with pytest.raises(UsageError):
            wrong.prepare([str(model), str(budget)])
    with pytest.raises(UsageError, match="two outputs"):
        Outputs(junit=str(tmp_path / "x")).prepare([], [str(tmp_path / "x")])
    for place in (tmp_path / "no" / "x", tmp_path):
        with pytest.raises(FileAccessError):
            Outputs(markdown=str(place)).prepare([])
    card_path = tmp_path / "README.md"
    card_path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        Outputs(model_card=str(card_path)).prepare([])
    assert (model.read_bytes(), budget.read_text(), card_path.read_bytes()) == (b"m", "b", b"\xff\xfe")


def test_a_missing_library_is_named(monkeypatch):
    import sys

    from opnorm.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "junitparser", None)
    with pytest.raises(MissingExtra, match=r'pip install "opnorm\[junit\]"'):
        Outputs(junit="x.xml").prepare([])
