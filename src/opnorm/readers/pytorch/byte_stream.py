"""The bytes of a file in order, read by chunks and never past a limit."""

from __future__ import annotations

from collections.abc import Callable

MAX_PICKLE = 64 << 20
"""Bytes of one pickle; a tensor takes some two hundred."""

MAX_LINE = 256
CHUNK = 1 << 16


class Refusal(ValueError):
    """Why a pickle is not read, as the end of a sentence about its file."""


class Stream:
    """The bytes `start` … `end` of something that `fetch(offset, size)` reads, at most `MAX_PICKLE` of them."""

    def __init__(self, fetch: Callable[[int, int], bytes], start: int, end: int) -> None:
        self._fetch = fetch
        self._end = end
        self._limit = min(end, start + MAX_PICKLE)
        self._base = start
        self._data = b""
        self._at = 0

    @property
    def position(self) -> int:
        """Where the next byte lies."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self._end - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        after = self._at + size
        if after > len(self._data):
            self._fill(size)
            after = size
        piece = self._data[self._at : after]
        self._at = after
        return piece

    def _fill(self, size: int) -> None:
        position = self.position
        if position + size > self._limit:
            long = self._limit < self._end
            raise Refusal(f"has a pickle of more than {MAX_PICKLE} bytes" if long else "ends within its pickle")
        self._data = self._fetch(position, min(max(size, CHUNK), self._limit - position))
        self._base, self._at = position, 0

    def whole(self, width: int) -> int:
        """The next `width` bytes as a whole number, little-endian and without sign."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        """The text up to the next line feed."""
        line = bytearray()
        while (byte := self.take(1)) != b"\n":
            line += byte
            if len(line) > MAX_LINE:
                raise Refusal(f"has a name of more than {MAX_LINE} bytes in its pickle")
        return text(bytes(line))


def text(data: bytes) -> str:
    """`data` as UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("has a pickle with a text that is not Unicode") from None
