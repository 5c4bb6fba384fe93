"""Rows and reports with numbers chosen by hand, names that attack, and the command run in this process."""

import sys

import numpy as np

from opnorm.bound import Bound, Evidence
from opnorm.report.document import Input, Report, Row, Settings
from opnorm.spectrum.document import Quantity, Spectrum

HOSTILE = (
    "a`b``c|d\\|e",
    "x\n::error file=/etc/passwd::pwned",
    "::set-output name=a::b",
    "##[add-mask]everything",
    "\x1b[31mred\x07\x00\x08",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "]]><!-- opnorm: end -->",
    "\n<!-- opnorm: end -->\n",
    "@everyone see https://evil.example and #1",
    "\u202egnp.exe\u2066\ufffe\uffff\ud800",
    "%0A::error::x %25 a:b,c",
    "=cmd()|'/c calc'!A1",
    "n" * 5000,
    " ",
    "",
    "${{ secrets.TOKEN }} `` | |",
)


def bounds(lower=None, upper=None, evidence="proved"):
    level = Evidence.parse(evidence)
    odds = 1e-12 if level is Evidence.PROBABLE else 0.0
    ends = (("lower", lower), ("upper", upper))
    return tuple(Bound(side, value, level, "made", odds) for side, value in ends if value is not None)


def row(name="w", *kept, kind="linear", status="measured", evidence="proved", quantities=None, **more):
    """A row whose bounds are `kept`, or lower and upper of `evidence`."""
    lower, upper = more.pop("lower", None), more.pop("upper", None)
    kept = kept or bounds(lower, upper, evidence)
    spectrum = None if quantities is None else Spectrum(4, 4, "svd", quantities)
    values = {"lower": lower, "upper": upper, "evidence": evidence, "bounds": kept, "spectrum": spectrum}
    if status != "measured":
        values = {}
    more = {"derived": False, "operator": "dense 4x4", "shape": (4, 4), "dtype": "float32", **more}
    return Row(more.pop("input", 0), name, (name,), more.pop("derived"), kind, status=status, **more, **values)


def report(*rows, complete=True, sha256="a" * 64, path="model.safetensors"):
    given = (Input(path, "safetensors", 64, sha256),)
    return Report("0.1.0", complete, given, Settings("probable", 0.01, 1e-12, 0), tuple(rows), {}, ())


def quantity(*args, **more):
    return Quantity(*args, **more)


def command(monkeypatch, capsys, *arguments):
    """`opnorm …`: its exit code, standard output and standard error."""
    from opnorm import cli
    from opnorm.cli.check import check

    monkeypatch.setitem(cli.cli.commands, "check", check)
    monkeypatch.setattr(sys, "argv", ["opnorm", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    return code, out, err


def weights(scale=1.0, seed=0):
    """Three layers whose norms are known by construction: 3, 2 and 1, times `scale`."""
    rng = np.random.default_rng(seed)
    made = {}
    for i, top in enumerate((3.0, 2.0, 1.0)):
        u, _ = np.linalg.qr(rng.standard_normal((12, 12)))
        v, _ = np.linalg.qr(rng.standard_normal((12, 12)))
        made[f"layers.{i}.weight"] = scale * (u * (top * np.linspace(1, 0.5, 12))) @ v.T
    return made
