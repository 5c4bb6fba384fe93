"""A zip archive of uncompressed members, as `torch.save` writes it: where each member lies, and nothing inflated.

Data flow: end record → directory → each member's own header and, if it has one, the record behind its data. The
members must tile the file from its first byte to the directory, and every number that is written in two places must
be the same in both, so no byte of the file is outside a member that the directory names.

Refused: compression, encryption, several disks, comments, names that leave the archive or appear twice, holes,
overlaps, and anything before or after. The layout is that of PKWARE's APPNOTE 6.3, sections 4.3.7 to 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from opnorm.errors import CheckpointError
from opnorm.readers.checkpoint import SLICE

MAX_DIRECTORY = 16 << 20
"""Bytes of the directory: some 200 000 members of usual names."""

MAX_MEMBER_NAME = 512

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_BEHIND = struct.Struct("<4s3L")
_BEHIND64 = struct.Struct("<4sL2Q")

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_SIZES_BEHIND = 0x0008
_WIDE = 0xFFFFFFFF

_REMEDY = "Fetch the file again, or save it again with torch.save or as safetensors."


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `header`: where its header begins; `offset`: where its data do."""

    name: str
    header: int
    offset: int
    size: int
    crc: int
    flags: int


class StoredZip:
    """The members of an archive of `size` bytes by name.

    `fetch(offset, size)` gives bytes of the file; `screen` is called with each name first, and may raise.
    """

    def __init__(
        self, path: object, fetch: Callable[[int, int], bytes], size: int, screen: Callable[[str], None]
    ) -> None:
        self._path = path
        self._screen = screen
        self._fetch = fetch
        start, length, count = self._directory(size)
        directory = fetch(start, length)
        members = sorted(self._entries(directory, count, start), key=lambda m: m.header)
        self.members = {m.name: m for m in members}
        if len(self.members) != len(members):
            raise self.refuse("has a member that appears twice")
        self._check_tiling(members, start)
        self._checksums = any(m.crc for m in members)

    def refuse(self, problem: str) -> CheckpointError:
        """The error that says so of this archive."""
        return CheckpointError(self._path, problem, _REMEDY)

    def verify(self, member: Member, data: memoryview | None = None) -> None:
        """Compare a member's data, given or read, with its checksum, unless the archive was written with none."""
        if not self._checksums:
            return
        crc = 0
        for piece in self._pieces(member) if data is None else (data,):
            crc = zlib.crc32(piece, crc)
        if crc != member.crc:
            raise self.refuse(f"has a member {member.name[:80]!r} whose data do not have the checksum (CRC) they claim")

    def _pieces(self, member: Member) -> Iterator[bytes]:
        for done in range(0, member.size, SLICE):
            yield self._fetch(member.offset + done, min(SLICE, member.size - done))

    def _directory(self, size: int) -> tuple[int, int, int]:
        """Where the directory begins, its length and its number of members; it must fill the file to its end."""
        end = size - _END.size
        if end < 0:
            raise self.refuse(f"has {size} bytes, too few for a zip archive")
        magic, disk, first, here, count, length, start, comment = _END.unpack(self._fetch(end, _END.size))
        if magic != b"PK\5\6" or comment:
            raise self.refuse("does not end as a zip archive does: it is cut short, or something follows it")
        if (wide := self._wide_end(end)) is not None:
            end, disk, first, here, count, length, start = wide
        if disk or first or here != count:
            raise self.refuse("is one part of an archive of several")
        if start + length != end:
            raise self.refuse(f"has a directory of {length} bytes at {start}, which does not reach its end at {end}")
        if length > MAX_DIRECTORY:
            raise self.refuse(f"has a directory of {length} bytes; {MAX_DIRECTORY} are allowed")
        return start, length, count

    def _wide_end(self, end: int) -> tuple[int, int, int, int, int, int, int] | None:
        """The 64-bit end record, where a locator announces one: its position, then its fields."""
        at = end - _LOCATOR.size - _END64.size
        if at < 0 or self._fetch(end - _LOCATOR.size, 4) != b"PK\6\7":
            return None
        _, disk, position, disks = _LOCATOR.unpack(self._fetch(end - _LOCATOR.size, _LOCATOR.size))
        magic, length, _, _, here_disk, first, here, count, size, start = _END64.unpack(self._fetch(at, _END64.size))
        if magic != b"PK\6\6" or position != at or length != _END64.size - 12:
            raise self.refuse("has no 64-bit end record where its locator promises one")
        return at, disk | here_disk | (disks > 1), first, here, count, size, start

    def _entries(self, directory: bytes, count: int, end: int) -> Iterator[Member]:
        position = 0
        for _ in range(count):
            if position + _CENTRAL.size > len(directory):
                raise self.refuse(f"promises {count} members in a directory that is too short for them")
            fields = _CENTRAL.unpack_from(directory, position)
            magic, flags, method, crc, packed, size = fields[0], *fields[3:5], *fields[7:10]
            lengths, disk, header = fields[10:13], fields[13], fields[16]
            after = position + _CENTRAL.size + sum(lengths)
            if magic != b"PK\1\2" or after > len(directory):
                raise self.refuse("has a directory that is damaged")
            raw = directory[position + _CENTRAL.size : position + _CENTRAL.size + lengths[0]]
            extra = directory[after - lengths[1] - lengths[2] : after - lengths[2]]
            name = self._name(raw)
            self._screen(name)
            size, packed, header = self._widened(name, extra, size, packed, header)
            self._check(name, flags, method, size, packed, disk)
            yield self._member(name, raw, header, size, crc, flags, end)
            position = after
        if position != len(directory):
            raise self.refuse(f"promises {count} members, and its directory goes on after them")

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.refuse(f"has a member of a name that is not Unicode text: {raw[:80]!r}") from None
        parts = name.split("/")
        if len(raw) > MAX_MEMBER_NAME or "\0" in name or "\\" in name or ":" in name or {"", ".", ".."} & set(parts):
            raise self.refuse(f"has a member {name[:80]!r}, whose name is not a plain path within the archive")
        return name

    def _widened(self, name: str, extra: bytes, *fields: int) -> list[int]:
        """`fields`, those that do not fit 32 bits taken from the extra field 1, in order."""
        found = self._extra(name, extra).get(1, b"")
        result, position = [], 0
        for value in fields:
            if value == _WIDE:
                if position + 8 > len(found):
                    raise self.refuse(f"has a member {name[:80]!r} without the 64-bit sizes it announces")
                value = int.from_bytes(found[position : position + 8], "little")
                position += 8
            result.append(value)
        return result

    def _extra(self, name: str, extra: bytes) -> dict[int, bytes]:
        blocks: dict[int, bytes] = {}
        while extra:
            kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
            if len(extra) < 4 + length or kind in blocks:
                raise self.refuse(f"has a member {name[:80]!r} with a damaged extra field")
            blocks[kind], extra = extra[4 : 4 + length], extra[4 + length :]
        return blocks

    def _check(self, name: str, flags: int, method: int, size: int, packed: int, disk: int) -> None:
        problem = ""
        if flags & _ENCRYPTED:
            problem = "is encrypted"
        elif method:
            problem = f"is compressed (method {method}); torch.save stores members as they are"
        elif size != packed:
            problem = f"is stored as {packed} bytes, yet claims {size}"
        elif disk:
            problem = "is on another disk"
        if problem:
            raise self.refuse(f"has a member {name[:80]!r} that {problem}")

    def _member(self, name: str, raw: bytes, header: int, size: int, crc: int, flags: int, end: int) -> Member:
        """The member, once its own header agrees with the directory."""
        if header + _LOCAL.size > end:
            raise self.refuse(f"has a member {name[:80]!r} that reaches beyond the members' part of the file")
        magic, _, own_flags, method, _, _, own_crc, packed, own_size, length, extra = _LOCAL.unpack(
            self._fetch(header, _LOCAL.size)
        )
        offset = header + _LOCAL.size + length + extra
        if offset + size > end:
            raise self.refuse(f"has a member {name[:80]!r} that reaches beyond the members' part of the file")
        behind = self._fetch(header + _LOCAL.size, length + extra)
        own_size, packed = self._widened(name, behind[length:], own_size, packed)
        expected = (crc, size, size)
        sizes_agree = (own_crc, packed, own_size) == expected or (
            flags & _SIZES_BEHIND and (own_crc, packed, own_size) == (0, 0, 0)
        )
        if magic != b"PK\3\4" or own_flags != flags or method or behind[:length] != raw or not sizes_agree:
            raise self.refuse(f"describes its member {name[:80]!r} differently in two places")
        return Member(name, header, offset, size, crc, flags)

    def _check_tiling(self, members: list[Member], end: int) -> None:
        """Each member's data, and the record of its sizes behind them, must reach to the next one's header."""
        starts = [m.header for m in members] + [end]
        if starts[0] != 0:
            raise self.refuse("has bytes before its first member")
        for member, (_, following) in zip(members, pairwise(starts), strict=True):
            after = member.offset + member.size
            if following < after:
                raise self.refuse(f"has a member {member.name[:80]!r} that overlaps another member")
            if following - after not in (0, _BEHIND.size, _BEHIND64.size):
                raise self.refuse(f"has a hole behind its member {member.name[:80]!r}")
            if not self._behind_agrees(member, self._fetch(after, following - after)):
                raise self.refuse(f"describes its member {member.name[:80]!r} differently in two places")

    def _behind_agrees(self, member: Member, record: bytes) -> bool:
        """Whether the record behind the data, due if the header says so, repeats the directory."""
        if not record:
            return not member.flags & _SIZES_BEHIND or member.size == 0
        form = _BEHIND if len(record) == _BEHIND.size else _BEHIND64
        same = form.unpack(record) == (b"PK\7\10", member.crc, member.size, member.size)
        return bool(member.flags & _SIZES_BEHIND) and same
