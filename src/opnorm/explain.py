"""What each method and word in a report means. One Markdown file a topic, shipped with the package."""

from __future__ import annotations

from importlib.resources import files

from opnorm.errors import UsageError

_FOLDER = files("opnorm") / "explanations"

_SEE = {
    **dict.fromkeys(("estimate", "probable", "proved"), "evidence"),
    **dict.fromkeys(("derived", "refused", "tied"), "status"),
    **dict.fromkeys(("batch norm", "folded", "layer norm"), "diagonal"),
    **dict.fromkeys(("convolution", "flattened kernel"), "symbol"),
    **dict.fromkeys(("circuit", "adapter"), "thin"),
    **dict.fromkeys(("orthogonalize", "project"), "band"),
    **dict.fromkeys(("muon", "weight decay"), "decay"),
    **dict.fromkeys(("penalization", "suggest"), "overpenalization"),
    **dict.fromkeys(("adapter drift", "drift", "intruders"), "compare"),
    **dict.fromkeys(("svd", "effective_rank", "participation_ratio", "condition", "nuclear", "density"), "spectrum"),
    **dict.fromkeys(("outliers", "marchenko-pastur"), "noise"),
    **dict.fromkeys(("alpha", "alpha_weighted"), "tail"),
    **dict.fromkeys(("baseline", "limit-broken", "limit-undecided"), "budget"),
    **dict.fromkeys(("arm", "claim", "control", "helps", "hurts", "margin", "practically the same"), "trial"),
    **dict.fromkeys(("not enough evidence", "holm", "seed"), "trial"),
    "spectral normalization": "normalize",
}
"""Word → the page that explains it."""


def topics() -> list[str]:
    """The topics there are."""
    pages = (entry.name.removesuffix(".md") for entry in _FOLDER.iterdir() if entry.name.endswith(".md"))
    return sorted([*pages, *_SEE])


def explanation(topic: str) -> str:
    """The text on `topic`; `UsageError` with the list for an unknown one."""
    topic = {known.lower(): known for known in topics()}.get(topic.lower(), topic)
    if topic not in topics():
        raise UsageError(f"there is no explanation of {topic!r}; there is one of: {', '.join(topics())}")
    return (_FOLDER / f"{_SEE.get(topic, topic)}.md").read_text(encoding="utf-8")
