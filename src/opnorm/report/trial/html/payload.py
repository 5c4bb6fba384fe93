"""The report inside its page: columns → JSON → gzip → base64, no larger than the page has room for, where that can be.

Verdicts, settings and scores are kept to the last bit. Where the page would grow too large, training curves and spectra
are kept to fewer digits, then only curves, and those where all data was used, then none; the page says so.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace

from opnorm.errors import UsageError
from opnorm.experiment.document import Point, Record, TrialReport
from opnorm.report.html.columns import packed, unpacked
from opnorm.report.trial.machine import read_json, to_dict

_SAMPLE = 50
KEPT = (
    "",
    "To keep this page small, training curves and spectra are stored to 4 digits.",
    "To keep this page small, training curves are stored to 4 digits and of tuned trainings only, spectra not at all.",
    "To keep this page small, training curves and spectra are left out of the data inside it.",
)
_BLOCK = re.compile(r'<script type="application/gzip" id="block-trial">([A-Za-z0-9+/=]*)</script>')


def payload(report: TrialReport, room: int) -> tuple[str, str]:
    """The block, at most `room` bytes where that can be, and what the page says of what was left out, '' if nothing."""
    for level, kept in enumerate(KEPT[:-1]):
        if _guess(report, level) > 1.25 * room:
            continue
        block = _block(_shortened(report, level))
        if len(block) <= room:
            return block, kept
    return _block(_shortened(report, len(KEPT) - 1)), KEPT[-1]


def _guess(report: TrialReport, level: int) -> float:
    """The size of the block, from fifty records."""
    step = -(-len(report.records) // _SAMPLE)
    if step < 2:
        return 0.0
    return step * len(_block(_shortened(replace(report, verdicts=(), records=report.records[::step]), level)))


def embedded(text: str) -> TrialReport:
    """The report out of the text of a page."""
    found = _BLOCK.search(text)
    if found is None:
        raise UsageError("this is no page of a trial: it holds no report; give a file made by opnorm trial --html")
    return read_json(json.dumps(unpacked(json.loads(gzip.decompress(base64.b64decode(found[1]))))))


def _block(report: TrialReport) -> str:
    text = packed(to_dict(report))
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def _shortened(report: TrialReport, level: int) -> TrialReport:
    if level == 0:
        return report
    return replace(report, records=tuple(_record(r, level) for r in report.records))


def _record(record: Record, level: int) -> Record:
    kept = level == 1 or (level == 2 and record.condition == "full")
    spectrum = {n: tuple(map(_digits, values)) for n, values in record.spectrum.items()} if level == 1 else {}
    return replace(record, curve=tuple(map(_point, record.curve)) if kept else (), spectrum=spectrum)


def _point(point: Point) -> Point:
    norms = {name: _digits(value) for name, value in point.norms.items()}
    loss, validation = (None if v is None else _digits(v) for v in (point.loss, point.validation))
    return Point(point.epoch, loss, validation, norms)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
