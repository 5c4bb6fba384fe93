"""PyTorch's file format since 1.6: a zip archive of `data.pkl` and the raw storages `data/0`, `data/1`, …

All members lie in one folder. The pickle must be one stream that fills its member, and the storages that it speaks of
must be those in the archive, of the sizes it claims. Every other member must be one that `torch.save` writes:
a second pickle, code or data that nothing refers to are refused. Checksums are verified as storages are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from opnorm.readers.pytorch.byte_stream import MAX_PICKLE, Refusal, Stream
from opnorm.readers.pytorch.dtypes import ITEM_BYTES
from opnorm.readers.pytorch.pickles import Walker
from opnorm.readers.pytorch.stored_zip import Member, StoredZip
from opnorm.readers.pytorch.vocabulary import TorchVocabulary

MAX_RECORD = 64
"""Bytes of `version` and `byteorder`."""

_NOTES = re.compile(r"version|byteorder|\.format_version|\.storage_alignment|\.data/(version|serialization_id)")
"""What else `torch.save` writes; nothing depends on the rest of them."""

_SCRIPT = re.compile(r"[^/]*/(code/.*|constants\.pkl|\.data/ts_code/.*)")


class TorchZip:
    """The object in the archive, and where its storages lie."""

    format = "torch zip"

    def __init__(self, path: object, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._zip = StoredZip(path, fetch, size, _refuse_programs)
        self._members = self._within_folder()
        self._check_notes()
        self.vocabulary = TorchVocabulary()
        self.root, self.opcodes = self._walk(self._members["data.pkl"])
        self._storages = {name[5:]: m for name, m in self._members.items() if name.startswith("data/")}
        self._check_storages()
        self._verified: set[str] = set()

    def place(self, key: str) -> int:
        """Where the bytes of a storage begin."""
        return self._storages[key].offset

    def verify(self, key: str, data: memoryview) -> None:
        """Compare a storage with its checksum, once; `data` were read of it, perhaps all."""
        member = self._storages[key]
        if key not in self._verified:
            self._zip.verify(member, data if len(data) == member.size else None)
            self._verified.add(key)

    def _within_folder(self) -> dict[str, Member]:
        """The members by their names within the one folder."""
        pickles = [name for name in self._zip.members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refusal(f"is a zip archive with {len(pickles)} members FOLDER/data.pkl; one from torch.save has one")
        folder = pickles[0].removesuffix("data.pkl")
        stray = [name for name in self._zip.members if not name.startswith(folder)]
        members = {name.removeprefix(folder): m for name, m in self._zip.members.items()}
        stray += [n for n in members if not (n == "data.pkl" or n.startswith("data/") or _NOTES.fullmatch(n))]
        if stray:
            raise Refusal(f"has a member {stray[0][:80]!r}, which torch.save does not write")
        return members

    def _check_notes(self) -> None:
        order = self._note("byteorder")
        if order not in ("", "little"):
            raise Refusal(
                f"has the byte order {order[:20]!r}; little is read. Save it as safetensors where it was made"
            )
        version = self._note("version") or self._note(".data/version")
        if not re.fullmatch(r"[1-9][0-9]?\n?", version):
            raise Refusal(f"is of version {version[:20]!r}, which is none of torch.save")

    def _note(self, name: str) -> str:
        member = self._members.get(name)
        if member is None:
            return ""
        if member.size > MAX_RECORD:
            raise Refusal(f"has a member {name!r} of {member.size} bytes; {MAX_RECORD} are allowed")
        self._zip.verify(member)
        return self._fetch(member.offset, member.size).decode("latin-1")

    def _walk(self, member: Member) -> tuple[Any, int]:
        if member.size > MAX_PICKLE:
            raise Refusal(f"has a pickle of {member.size} bytes; {MAX_PICKLE} are allowed")
        self._zip.verify(member)
        stream = Stream(self._fetch, member.offset, member.offset + member.size)
        walker = Walker(stream, self.vocabulary)
        root = walker.walk()
        if stream.left:
            raise Refusal(f"has {stream.left} bytes after the end of its pickle, where another one may hide")
        return root, walker.opcodes

    def _check_storages(self) -> None:
        claimed = self.vocabulary.storages
        odd = sorted(claimed.keys() ^ self._storages.keys())
        if odd:
            where = "pickle but not in the archive" if odd[0] in claimed else "archive but not in the pickle"
            raise Refusal(f"has a storage {odd[0][:40]!r} in the {where}")
        for key, storage in claimed.items():
            beyond = self._storages[key].size - storage.size
            if not 0 <= beyond < ITEM_BYTES[storage.dtype]:
                raise Refusal(
                    f"claims a storage {key[:40]!r} of {storage.size} bytes; the archive has {self._storages[key].size}"
                )


def _refuse_programs(name: str) -> None:
    if _SCRIPT.fullmatch(name):
        raise Refusal("is a TorchScript program, which has code beside its weights; torch.jit.load is what opens it")
