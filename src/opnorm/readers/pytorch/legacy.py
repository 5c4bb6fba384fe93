"""PyTorch's file format before 1.6: five pickles one after the other, then the raw storages.

The pickles are a magic number, a protocol version, a description of the machine, the object, and the list of storage
keys; each storage is its number of entries (8 bytes, little-endian) and the entries. Every pickle is walked, the first
three and the last with no names at all; nothing may follow the last storage, and the three accounts of each storage
(in the object, the list, and before its entries) must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opnorm.readers.pytorch.byte_stream import Refusal, Stream
from opnorm.readers.pytorch.dtypes import ITEM_BYTES
from opnorm.readers.pytorch.pickles import Nothing, Walker
from opnorm.readers.pytorch.vocabulary import TorchVocabulary

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class TorchLegacy:
    """The object in the file, and where its storages lie."""

    format = "torch legacy"

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self.vocabulary = TorchVocabulary()
        stream = Stream(fetch, 0, size)
        _check_head(stream)
        walker = Walker(stream, self.vocabulary)
        self.root = walker.walk()
        self.opcodes = walker.opcodes
        keys = _plain(stream)
        known = self.vocabulary.storages
        if type(keys) is not list or not all(type(k) is str for k in keys) or len(set(keys)) != len(keys):
            raise Refusal("lists its storages by something that is not a list of different keys")
        if known.keys() != set(keys):
            raise Refusal(f"lists {len(keys)} storages where its tensors lie in {len(known)}, or other ones")
        self._places = self._find(fetch, keys, stream.position, size)

    def place(self, key: str) -> int:
        """Where the bytes of a storage begin."""
        return self._places[key]

    def verify(self, key: str, data: memoryview) -> None:
        """Nothing to compare with: the format has no checksums."""

    def _find(self, fetch: Callable[[int, int], bytes], keys: list[str], position: int, size: int) -> dict[str, int]:
        places: dict[str, int] = {}
        for key in keys:
            storage = self.vocabulary.storages[key]
            if position + 8 + storage.size > size:
                raise Refusal(f"ends before its storage {key[:40]!r} of {storage.size} bytes does")
            entries = int.from_bytes(fetch(position, 8), "little")
            if entries * ITEM_BYTES[storage.dtype] != storage.size:
                raise Refusal(f"claims a storage {key[:40]!r} of {storage.size} bytes, yet stores {entries} entries")
            places[key] = position + 8
            position += 8 + storage.size
        if position != size:
            raise Refusal(f"has {size - position} bytes after its last storage")
        return places


def _check_head(stream: Stream) -> None:
    if _plain(stream) != MAGIC:
        raise Refusal("is a pickle, and not one from torch.save. Save the weights by torch.save or as safetensors")
    version, machine = _plain(stream), _plain(stream)
    if version != PROTOCOL:
        raise Refusal(f"is of another protocol than {PROTOCOL}, which torch.save wrote")
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise Refusal("was not written by a little-endian machine. Save it as safetensors where it was made")


def _plain(stream: Stream) -> Any:
    return Walker(stream, Nothing()).walk()
