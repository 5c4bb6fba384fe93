"""A page read strictly, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Strict(HTMLParser):
    """Every element closed in order, but for those named `void`; all tags, attributes and texts kept."""

    def __init__(self, text: str, void: frozenset[str]) -> None:
        super().__init__()
        self.void = void
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.said.append(data)
