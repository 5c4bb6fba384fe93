"""Names from a file come out harmless: nothing a terminal, markup, a table or a spreadsheet would act on."""

import csv
import io
import json
import sys
import unicodedata

import numpy as np
import pytest
from hostile import entry, safetensors

from opnorm import cli

NAMES = {
    "window title": "\x1b]0;title\x07",
    "clear screen": "\x1b[2J\x1b[H",
    "colour": "\x1b[31mred\x1b[0m",
    "link": "\x1b]8;;http://example.invalid\x1b\\text\x1b]8;;\x1b\\",
    "8-bit control": "\x9b31m\x9d0;t\x9c",
    "bell and backspace": "a\x07\x08\x08b",
    "delete": "a\x7fb",
    "NUL": "a\0b",
    "line breaks": "a\r\nb\nc\rd\x0be\x0cf",
    "unicode line breaks": "a\u2028b\u2029c\x85d",
    "tab": "\ta",
    "closing tag": "[/x]",
    "opening tag": "[bold red]a[/bold red]",
    "markup link": "[link=http://example.invalid]a[/link]",
    "markup emoji": ":skull:",
    "backslash": "a\\[/x]",
    "right-to-left": "a\u202egnp.exe",
    "isolates": "\u2066a\u2069\u2067b",
    "zero width": "a\u200bb\u200dc\ufeffd",
    "soft hyphen": "a\u00adb",
    "tags": "a\U000e0041",
    "private use": "a\ue000",
    "formula": '=HYPERLINK("http://example.invalid","a")',
    "command": "=cmd|' /C calc'!A0",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(A1)",
    "tab formula": "\t=1+1",
    "carriage formula": "\r=1+1",
    "script": "<script>alert(1)</script>",
    "closing script": "</script><img src=x onerror=alert(1)>",
    "quotes": "a\"b'c,d;e",
    "format": "{0.__class__} %s %n",
    "shell": "$(touch x) `touch x`",
    "path": "../../etc/passwd",
    "long": "n" * 1024,
    "empty": "",
    "wide": "重み" * 40,
}
ACTIVE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.fixture
def measured(tmp_path, monkeypatch, capsys):
    """What `opnorm measure` prints for a file whose one weight has this name, written as given options say."""

    def command(name, *options, value=1.0):
        path = tmp_path / "model.safetensors"
        data = np.full((2, 2), value, np.float32).tobytes()
        path.write_bytes(safetensors({name: entry(shape=(2, 2), offsets=(0, 16))}, data))
        monkeypatch.setattr(sys, "argv", ["opnorm", "measure", str(path), *options])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        out, err = capsys.readouterr()
        assert exited.value.code == 0
        assert err == ""
        return out

    return command


def active(text):
    """Characters that a terminal or a reader's eye may act on, but the line feeds between lines."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ACTIVE]


@pytest.mark.parametrize("value", [1.0, np.nan])
@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_no_active_character(name, value, measured):
    lines = measured("plain", value=value).count("\n")
    out = measured(NAMES[name], value=value)
    assert not active(out)
    assert out.count("\n") - lines in range(6)  # a long name may fold, as wide as the table allows


@pytest.mark.parametrize("name", ["closing tag", "opening tag", "markup link", "markup emoji", "script", "format"])
def test_the_table_shows_markup_as_it_is(name, measured):
    assert NAMES[name] in measured(NAMES[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_csv_holds_no_formula_and_no_active_character(name, measured):
    out = measured(NAMES[name], "--csv", "-")
    assert not active(out)
    header, row = csv.reader(io.StringIO(out))
    assert len(row) == len(header)
    for cell in row:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("name", NAMES)
def test_the_json_keeps_the_name_and_holds_it_escaped(name, measured):
    out = measured(NAMES[name], "--json", "-")
    assert json.loads(out)["rows"][0]["name"] == NAMES[name]
    assert out.isascii()
    assert not active(out)


FILES = [
    "line breaks",
    "closing tag",
    "window title",
    "clear screen",
    "8-bit control",
    "right-to-left",
]


@pytest.mark.parametrize("verb", [["measure"], ["check", "--max", "9"]])
@pytest.mark.parametrize("name", FILES)
def test_names_of_refused_files_are_escaped(name, verb, tmp_path, monkeypatch, capsys):
    """One file is refused when opened, one when its weight is read, and a sound one makes a table."""
    opened, read, good = (tmp_path / f"{n}{NAMES[name].replace('/', '')}.npz" for n in "abc")
    opened.write_bytes(b"damaged")
    np.savez(good, weight=np.eye(70))
    content = good.read_bytes()
    read.write_bytes(content[:-6000] + b"damage" + content[-5994:])
    monkeypatch.setattr(sys, "argv", ["opnorm", *verb, str(opened), str(read), str(good)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    out, err = capsys.readouterr()
    assert exited.value.code == 3
    assert err.count("\n") == 2
    assert not active(err)
    assert not active(out)
