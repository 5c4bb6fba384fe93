"""Reports made by hand: every part of the document filled, names of every hostile kind, any number of rows."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

from opnorm.report.document import Beside, Finding, Input, Report, Row, Settings
from opnorm.spectrum.comparison.document import Change, Comparison
from opnorm.spectrum.document import (
    Density,
    Direction,
    NoiseEdge,
    Picture,
    Quantity,
    Spectrum,
    Tail,
    Term,
    Units,
)
from opnorm.spectrum.interaction.document import Composition, Head, Interaction, Link

PARTS = (
    *(("attention.query", 384, 384), ("attention.key", 384, 384), ("attention.value", 384, 384)),
    *(("attention.output", 384, 384), ("mlp.up", 1536, 384), ("mlp.down", 384, 1536)),
)
METRICS = (
    *("stable_rank", "effective_rank", "participation_ratio", "numerical_rank", "nuclear", "schatten_4", "frobenius"),
    *("condition", "smallest", "median", "alpha_weighted"),
)


def spectrum(rng: random.Random, rows: int, columns: int) -> Spectrum:
    short = min(rows, columns)
    decay, top = rng.uniform(0.3, 0.9), rng.uniform(2, 9)
    ranks = (*range(8), *(8 + (short - 9) * i // 55 for i in range(56)))
    profile = tuple(top * (1 + r) ** -decay * (1 - 0.7 * r / short) for r in ranks)
    edges = tuple(-2 + 3.2 * i / 32 for i in range(33))
    raw = [math.exp(-(((e - 0.2) / 0.5) ** 2)) + 0.01 * rng.random() for e in edges[:-1]]
    shares = tuple(r / sum(raw) for r in raw)
    quantities = {
        name: Quantity(v, v * 0.999, v * 1.001, "proved") if i % 2 else Quantity(v, None, None, "estimate", v * 0.03)
        for i, (name, v) in enumerate((n, rng.uniform(1, 300)) for n in METRICS)
    }
    quantities["condition"] = Quantity(None, None, None, "estimate", None, "σ_min is not told from 0")
    return Spectrum(
        rows,
        columns,
        "gram",
        quantities,
        profile,
        ranks,
        Density(edges, shares, tuple(0.1 * s for s in shares), 0.012, "quadrature"),
        NoiseEdge(0.03, "median of the entries", profile[9], Quantity(9.0, 8.0, 9.0, "proved")),
        Tail(rng.uniform(2, 6), 0.12, 0.4, 87, 0.05, 0.31, "power law"),
        Units((3, 7), 2, (11,), 1, ((4, 9),), 1),
    )


def directions(rng: random.Random) -> tuple[Direction, ...]:
    words = ("the", " cat", "##ing", "Ġparis", "日本", "naïve", "<pad>", "[CLS]", "a b", "é")
    terms = tuple(Term(w, i, 0.6 / (1 + i)) for i, w in enumerate(words[:6]))
    against = tuple(Term(w, 40 + i, -0.4 / (1 + i)) for i, w in enumerate(words[6:]))
    waves = tuple(math.sin(x) * math.cos(y / 2) for y in range(7) for x in range(7))
    return (
        Direction(0, 6.1, "input", "tokens", terms, against, (), 0.21, "the top direction is mostly frequency"),
        Direction(0, 6.1, "output", "units", terms[:3], against[:2], (), 0.05),
        Direction(
            1,
            4.2,
            "input",
            "filter",
            (),
            (),
            (Picture(7, 7, 1, waves, "filter 3"), Picture(7, 7, 1, waves[::-1])),
            None,
        ),
        Direction(
            2, 3.9, "input", "frequency", pictures=(Picture(2, 2, 3, tuple(i / 6 - 1 for i in range(12)), "rgb"),)
        ),
    )


def row(rng: random.Random, index: int, detail: bool) -> Row:
    part, rows, columns = PARTS[index % len(PARTS)]
    name = f"encoder.layer.{index // len(PARTS)}.{part}.weight"
    norm = math.exp(rng.gauss(1.2, 0.5)) * (1 + (index % 6 == 4))
    evidence = ("proved", "proved", "proved", "probable", "proved", "estimate")[rng.randrange(6)]
    return Row(
        *(0, name, (name,), False, "linear", f"dense {rows}x{columns}", (rows, columns), "float32", "measured"),
        lower=norm * 0.998,
        upper=norm * 1.004,
        evidence=evidence,
        failure_probability=1e-12 if evidence == "probable" else 0.0,
        method="lanczos" if evidence == "probable" else "gram",
        passes=4,
        seconds=0.01,
        frobenius=norm * 6.3,
        stable_rank=(39.1, 40.2),
        spectrum=spectrum(rng, rows, columns) if detail else None,
        directions=directions(rng) if detail and index % 40 == 0 else (),
    )


def others() -> list[Row]:
    """Rows of every other kind and status."""
    plain: dict[str, Any] = {"input": 0, "tensors": ("t",), "derived": False, "operator": "", "shape": (384,)}
    plain |= {"dtype": "float32", "status": "not_a_map"}
    kernel = plain | {"kind": "convolution", "operator": "conv 3x3, unknown settings", "shape": (64, 3, 3, 3)}
    broken = plain | {"kind": "linear", "status": "undefined", "reason": "2 NaN among its entries"}
    packed = plain | {"kind": "quantized", "status": "refused", "reason": "codes without scales"}
    return [
        Row(name="embeddings.weight", **{**plain, "kind": "embedding", "shape": (30522, 384), "status": "measured"},
            lower=28.7, upper=28.98, evidence="proved", method="gram", frobenius=188.0, stable_rank=(42.1, 42.9)),
        Row(name="patches.weight", **{**kernel, "status": "measured"}, upper=3.31, evidence="proved", method="symbol",
            also=(Beside("flattened", "of the reshaped kernel, not of the operator", 1.2, 1.21, "proved"),)),
        Row(name="guess.weight", **{**plain, "kind": "linear", "status": "measured"}, lower=2.5, upper=2.6,
            evidence="estimate", method="lanczos"),
        Row(name="zero.weight", **{**plain, "kind": "linear", "status": "measured"}, lower=0.0, upper=0.0,
            evidence="proved", method="zero", frobenius=0.0),
        Row(name="encoder.layer.0.attention[head 3 qk]", **{**plain, "kind": "query-key circuit", "derived": True,
            "status": "measured"}, lower=0.71, upper=0.72, evidence="proved", method="thin"),
        Row(name="broken.weight", **broken),
        Row(name="packed.qweight", **packed),
        *(Row(name=f"encoder.layer.{i}.bias", **{**plain, "kind": "bias", "reason": "a bias"}) for i in range(60)),
    ]  # fmt: skip


def interaction(rows: list[Row]) -> Interaction:
    rng = random.Random(3)
    names = [r.name for r in rows if r.status == "measured" and not r.derived]
    pairs = [
        (a, b) for i, a in enumerate(names[:36]) for b in names[i + 1 : i + 14] if i % 6 in (3, 5) or b == names[i + 1]
    ]
    links = tuple(
        Link(a, b, "residual stream", rng.random() ** 2, min(1.0, 0.02 * math.exp(rng.gauss(0.6, 1))), 0.02, 8,
             Quantity(4.0, 3.9, 4.1, "probable"), Quantity(9.0, None, 9.1, "proved"), 1 + rng.random() * 3)
        for a, b in pairs
    )  # fmt: skip
    heads = tuple(
        Head(b, h, f"encoder.layer.{b}.attention[head {h}]", Quantity(q, q * 0.99, q * 1.01, "proved"),
             Quantity(q / 3, None, None, "estimate"), 3.0 + h, 5.0)
        for b in range(6) for h in range(12) for q in [math.exp(rng.gauss(0, 0.8))]
    )  # fmt: skip
    scores = sorted((rng.random() * 0.3 for _ in range(40)), reverse=True)
    compositions = tuple(
        Composition("QKV"[i % 3], heads[i].name, heads[i + 13].name, s, 0.04) for i, s in enumerate(scores)
    )
    return Interaction(tuple(names), links, heads, compositions, ("Links through layer norms are not measured.",))


def comparison(rows: list[Row]) -> Comparison:
    rng = random.Random(4)
    changes = []
    for r in rows:
        if r.status != "measured" or r.upper is None or r.derived:
            continue
        drift = math.exp(rng.gauss(-4, 1))
        norm, moved = r.upper, r.upper * (1 + rng.gauss(0, 0.3) * drift * 3)
        changes.append(
            Change(r.name, r.name, r.kind, r.operator, r.shape, "changed", "",
                   Quantity(norm, norm * 0.99, norm, "proved"), Quantity(moved, moved * 0.99, moved, "proved"),
                   Quantity(drift * norm, drift * norm * 0.99, drift * norm * 1.01, "probable"),
                   Quantity(drift, drift * 0.98, drift * 1.02, "probable"),
                   {"delta_stable_rank": Quantity(7.2, 7.1, 7.3, "proved"), "intruders": Quantity(2.0)})
        )  # fmt: skip
    equal = Change("same", "model.same", "linear", "dense 4x4", (4, 4), "equal")
    shape = Change("odd", "odd", "linear", "dense", (4,), "shape", "4x4 and 4x5 cannot be subtracted")
    return Comparison("base/model.safetensors", "tuned/model.safetensors", (*changes, equal, shape), ("gone.weight",),
                      ("lora.A",), ("The prefix 'model.' was left out to match names.",))  # fmt: skip


def compared() -> Report:
    """Two models and nothing else, as `opnorm compare` gives it."""
    return made([], comparison=comparison([r for r in full(24).rows if r.name != "guess.weight"]))


def findings() -> tuple[Finding, ...]:
    return (
        Finding("ON103", "σ₁²/‖W‖²_F is 0.93: one direction carries the norm.", "encoder.layer.0.mlp.up.weight",
                "warning", "Look at its top direction; clip it with opnorm cap.", "proved"),
        Finding("ON110", "The weight holds 2 NaN.", "broken.weight", "serious", "Load a checkpoint from before.", ""),
        Finding("optimizer-state", "12 MB of optimizer state were not read."),
    )  # fmt: skip


def made(rows: list[Row], **given: object) -> Report:
    coverage = {"bytes": 90_856_960, "measured": 90_128_448, "not_a_map": 128_512, "undefined": 400_000,
                "refused": 200_000, "optimizer": 0, "unselected": 0}  # fmt: skip
    inputs = (
        Input("models/minilm/model.safetensors", "safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6c" * 2),
    )
    base = Report("0.1.0", True, inputs, Settings("probable", 0.01, 1e-12, 0), tuple(rows), coverage, ())
    return replace(base, **given)  # type: ignore[arg-type]


def full(count: int = 36, detail: bool = True) -> Report:
    """Every document filled; `count` linear rows beside one of every other kind."""
    rng = random.Random(1)
    rows = [*others()[:2], *(row(rng, i, detail) for i in range(count)), *others()[2:]]
    return made(rows, findings=findings(), interaction=interaction(rows), comparison=comparison(rows))


def plain(count: int) -> Report:
    """Rows with their spectra and directions, and nothing else."""
    rng = random.Random(2)
    return made([row(rng, i, True) for i in range(count)])


def empty() -> Report:
    return made([], coverage=dict.fromkeys(("bytes", "measured"), 0), inputs=())


HOSTILE = [
    *("<script>window.hacked=1</script>", "</script><script>window.hacked=1</script>"),
    *("--><script>window.hacked=1</script>", "</style><img src=x onerror=window.hacked=1>"),
    *("<img src=x onerror='window.hacked=1'>", "<svg onload=window.hacked=1>", "javascript:window.hacked=1"),
    *('"><b onmouseover="window.hacked=1">', "' onfocus='window.hacked=1' autofocus='", "`${window.hacked=1}`"),
    *("{{ 7*7 }}", "{% raw %}", "${window.hacked=1}", "<!--", "]]>", "&lt;b&gt;", "&#0;", "%00", "\\u{202e}"),
    *("__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__proto__.polluted", "length", "then"),
    *("\u202egnp.evil", "\u2066a\u2069", "\u200b", "\u2028line", "\u2029", "\ufeff", "\x00", "\x1b[31mred\x1b[0m"),
    *("\x07", "\r\n", "\ud800", "\udfff\ud800", "e" + "\u0301" * 200, "\U0001f468\u200d\U0001f469", "\ufdfa" * 40),
    *("日本語の重み", "a" * 5000, "." * 3000, "a." * 2000, "[" * 500, "0." * 500, " " * 100, "", "\t\ttabs"),
    *("#layer=1", "../../etc/passwd", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2", "http://evil.example/x.png"),
    *("url(http://evil.example)", "http://evil.example/?<script>"),
]  # fmt: skip


def hostile() -> Report:
    """200 hostile names in every place that a name, a kind, a reason or a label can stand in."""
    rng = random.Random(5)
    names = (HOSTILE * 4)[:200]
    rows = []
    for i, name in enumerate(names):
        status = ("measured", "refused", "undefined", "not_a_map")[0 if i < 150 else i % 4]
        words = dict.fromkeys(("name", "operator", "dtype", "method", "reason"), name)
        kind = name if i % 5 == 0 else "linear"
        also = (Beside(name, name, 1.0, 2.0, "proved"),)
        base = row(rng, i, i % 10 == 0)
        rows.append(replace(base, tensors=(name,), kind=kind, status=status, also=also, **words))
    tensor = replace(
        directions(rng)[0], positive=tuple(Term(n, i, 0.5) for i, n in enumerate(HOSTILE)), note=HOSTILE[0]
    )
    image = replace(directions(rng)[2], pictures=(Picture(2, 2, 1, (0.0, 1.0, -1.0, 0.5), HOSTILE[1]),))
    quantity = Quantity(1.0, note=HOSTILE[2])
    described = replace(spectrum(rng, 8, 8), quantities=dict.fromkeys(HOSTILE, quantity), method=HOSTILE[0])
    rows[0] = replace(rows[0], directions=(tensor, image), spectrum=described)
    links = tuple(Link(a, b, a, 0.5, 0.2, 0.1, 3, quantity, quantity, 2.0) for a, b in pairwise(names))
    heads = tuple(Head(0, i, n, quantity, quantity) for i, n in enumerate(HOSTILE[:12]))
    compositions = tuple(Composition(n, n, n, 0.1, 0.05) for n in HOSTILE)
    changes = tuple(
        Change(n, n, n, n, (2, 2), "changed", n, quantity, quantity, quantity, quantity, {n: quantity}) for n in names
    )
    return made(
        rows,
        inputs=tuple(Input(n, n, 5, n) for n in (HOSTILE[0], "\u202eevil")),
        findings=tuple(Finding(n, n, n, ("serious", n, "note")[i % 3], n, n) for i, n in enumerate(names)),
        interaction=Interaction(tuple(names), links, heads, compositions, tuple(HOSTILE)),
        comparison=Comparison(HOSTILE[0], HOSTILE[1], changes, tuple(HOSTILE), tuple(HOSTILE), tuple(HOSTILE)),
    )
