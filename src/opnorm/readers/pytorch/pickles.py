"""A pickle read as data: its opcodes are walked on a stack of plain values, and nothing is imported or called.

Data flow: `Stream` (bytes, bounded) → `Walker` (opcodes) → dictionaries, lists, tuples, numbers, strings, and what a
`Vocabulary` makes of the three things a pickle may ask of the world: a global by name, a call, a persistent id.
The vocabulary answers with inert values of its own or refuses; this module knows no name at all.

The opcodes are those that `torch.save` writes in protocols 2 to 5. Everything else is refused: INST, OBJ, NEWOBJ,
EXT, out-of-band buffers, textual opcodes, POP and DUP, which would hide parts of the file. Work is linear in the
number of opcodes: tuples, lists and dictionaries are never compared, hashed or printed, and only scalars are keys.
Depth and cycles cost nothing here; whoever descends into the result must count (see `names`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from opnorm.readers.pytorch.byte_stream import Refusal, Stream, text
from opnorm.readers.pytorch.opcodes import CONSTANTS, FIXED, REFUSED, SIZED, TUPLES

MAX_OPCODES = 3_000_000
MAX_MEMO = 1_000_000
MAX_STACK = 100_000
MAX_TEXT = 1 << 20
MAX_WHOLE = 64
"""Bytes of a whole number."""


class Vocabulary(Protocol):
    """What a pickle may ask for by name; every answer is inert."""

    def find(self, name: str) -> Any:
        """The value that stands for the global `module.name`."""

    def call(self, function: Any, args: tuple[Any, ...], /) -> Any:
        """The value that stands for the result of `function(*args)`."""

    def build(self, instance: Any, state: Any, /) -> None:
        """Accept the attributes that the pickle sets on a value."""

    def persistent(self, key: Any, /) -> Any:
        """The value that stands for what is stored outside of the pickle under `key`."""


class Nothing:
    """The vocabulary of a pickle of plain data."""

    def find(self, name: str) -> Any:
        """See `Vocabulary`."""
        raise Refusal(f"names {name[:120]!r} where only plain data may stand")

    def call(self, _function: Any, _args: tuple[Any, ...], /) -> Any:
        """See `Vocabulary`."""
        raise Refusal("calls something where only plain data may stand")

    def build(self, _instance: Any, _state: Any, /) -> None:
        """See `Vocabulary`."""
        raise Refusal("sets attributes where only plain data may stand")

    def persistent(self, _key: Any, /) -> Any:
        """See `Vocabulary`."""
        raise Refusal("points outside of itself where only plain data may stand")


class Set:
    """A set; its items are kept in order and never compared."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Key:
    """A dictionary's key that is no scalar: never compared, so each stands alone."""


class Walker:
    """Walks one pickle, from PROTO to STOP."""

    def __init__(self, stream: Stream, vocabulary: Vocabulary) -> None:
        self._stream = stream
        self._vocabulary = vocabulary
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self.opcodes = 0

    def walk(self) -> Any:
        """The value that the pickle describes; the stream is left behind STOP."""
        if self._stream.take(1) != b"\x80" or not 2 <= self._stream.take(1)[0] <= 5:
            raise Refusal("does not hold a pickle of protocol 2 to 5 where one is due")
        while (code := self._stream.take(1)) != b".":
            self.opcodes += 1
            if self.opcodes > MAX_OPCODES:
                raise Refusal(f"has a pickle of more than {MAX_OPCODES} opcodes")
            self._step(code)
        if len(self._stack) != 1 or self._marks:
            raise Refusal(f"has a pickle that leaves {len(self._stack)} values where one is due")
        return self._stack[0]

    def _step(self, code: bytes) -> None:
        if code in CONSTANTS:
            self._push(CONSTANTS[code])
        elif code in FIXED:
            form = FIXED[code]
            self._push(form.unpack(self._stream.take(form.size))[0])
        elif code in SIZED:
            self._push(self._sized(*SIZED[code]))
        elif code in TUPLES:
            self._push(tuple(reversed([self._pop() for _ in range(TUPLES[code])])))
        elif code in _OTHERS:
            _OTHERS[code](self)
        else:
            shown = REFUSED.get(code, f"byte {code[0]:#04x}")
            raise Refusal(f"has a pickle with the opcode {shown}, which torch.save does not write for weights")

    # ------------------------------------------------------------------ the stack

    def _push(self, value: Any) -> None:
        if len(self._stack) >= MAX_STACK:
            raise Refusal(f"has a pickle that stacks more than {MAX_STACK} values")
        self._stack.append(value)

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _top(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Refusal("has a pickle that takes a value where it has none")
        return self._stack[-1]

    def _mark(self) -> None:
        if len(self._marks) >= MAX_STACK:
            raise Refusal(f"has a pickle that stacks more than {MAX_STACK} marks")
        self._marks.append(len(self._stack))

    def _items(self) -> list[Any]:
        if not self._marks:
            raise Refusal("has a pickle that ends a list it never began")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    # ------------------------------------------------------------------ plain values

    def _sized(self, width: int, kind: str) -> Any:
        length = self._stream.whole(width)
        allowed = MAX_WHOLE if kind == "whole" else MAX_TEXT
        if length > allowed:
            raise Refusal(f"has a pickle with a {kind} of {length} bytes; {allowed} are allowed")
        data = self._stream.take(length)
        if kind == "whole":
            return int.from_bytes(data, "little", signed=True)
        return data if kind == "bytes" or (kind == "old text" and not data.isascii()) else text(data)

    def _frame(self) -> None:
        if self._stream.whole(8) > self._stream.left:
            raise Refusal("has a pickle with a frame that reaches beyond its end")

    def _tuple(self) -> None:
        self._push(tuple(self._items()))

    def _list(self) -> None:
        self._push([])

    def _append(self) -> None:
        self._extend([self._pop()])

    def _appends(self) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise Refusal("has a pickle that appends to something that is not a list")
        target.extend(items)

    def _empty_set(self) -> None:
        self._push(Set([]))

    def _frozen_set(self) -> None:
        self._push(Set(self._items()))

    def _add_items(self) -> None:
        items, target = self._items(), self._top()
        if not isinstance(target, Set):
            raise Refusal("has a pickle that adds to something that is not a set")
        target.items.extend(items)

    def _dictionary(self) -> None:
        self._push({})

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_items(self) -> None:
        self._set(self._items())

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise Refusal("has a pickle that sets items of something that is not a dictionary")
        fill(target, items[::2], items[1::2])

    # ------------------------------------------------------------------ the memo

    def _put(self) -> None:
        self._keep(self._stream.whole(1))

    def _long_put(self) -> None:
        self._keep(self._stream.whole(4))

    def _memoize(self) -> None:
        self._keep(len(self._memo))

    def _keep(self, index: int) -> None:
        if index in self._memo or len(self._memo) >= MAX_MEMO:
            raise Refusal(f"has a pickle whose memo is rewritten or of more than {MAX_MEMO} entries")
        self._memo[index] = self._top()

    def _get(self) -> None:
        self._recall(self._stream.whole(1))

    def _long_get(self) -> None:
        self._recall(self._stream.whole(4))

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise Refusal(f"has a pickle that recalls entry {index} of its memo, which was never made")
        self._push(self._memo[index])

    # ------------------------------------------------------------------ what the vocabulary answers

    def _global(self) -> None:
        module, name = self._stream.line(), self._stream.line()
        self._push(self._vocabulary.find(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise Refusal("has a pickle that names a global by something that is not text")
        self._push(self._vocabulary.find(f"{module}.{name}"))

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        if type(args) is not tuple:
            raise Refusal("has a pickle that calls with arguments that are not a tuple")
        self._push(self._vocabulary.call(function, args))

    def _build(self) -> None:
        state = self._pop()
        self._vocabulary.build(self._top(), state)

    def _persistent(self) -> None:
        self._push(self._vocabulary.persistent(self._pop()))


def fill(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """Set items; a key that is there already is refused, as its first value would be hidden."""
    for key, value in zip(keys, values, strict=True):
        scalar = key is None or type(key) in (str, bytes, bool, float) or (type(key) is int and abs(key) < 2**60)
        place = key if scalar else Key()
        if place in target:
            raise Refusal(f"has a dictionary with the key {str(key)[:80]!r} twice")
        target[place] = value


_OTHERS: dict[bytes, Callable[[Walker], None]] = {
    b"(": Walker._mark,
    b"t": Walker._tuple,
    b"]": Walker._list,
    b"a": Walker._append,
    b"e": Walker._appends,
    b"}": Walker._dictionary,
    b"s": Walker._set_item,
    b"u": Walker._set_items,
    b"\x8f": Walker._empty_set,
    b"\x90": Walker._add_items,
    b"\x91": Walker._frozen_set,
    b"\x95": Walker._frame,
    b"q": Walker._put,
    b"r": Walker._long_put,
    b"\x94": Walker._memoize,
    b"h": Walker._get,
    b"j": Walker._long_get,
    b"c": Walker._global,
    b"\x93": Walker._stack_global,
    b"R": Walker._reduce,
    b"b": Walker._build,
    b"Q": Walker._persistent,
}
