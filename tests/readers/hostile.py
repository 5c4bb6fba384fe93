"""Files that no reader may believe: each named, with a word of the message that must refuse it."""

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opnorm.readers import open_checkpoint

HUGE = 2**62


@dataclass(frozen=True)
class Case:
    """`build` gives the bytes of a file whose name ends in `ending`; `says` occurs in the refusal."""

    ending: str
    says: str
    build: Callable[[], bytes]

    def write(self, folder: Path) -> Path:
        path = folder / f"hostile{self.ending}"
        path.write_bytes(self.build())
        return path


def load(path):
    """Every tensor of a checkpoint by name, as the readers give them."""
    with open_checkpoint(path) as checkpoint:
        if checkpoint.problems:
            raise checkpoint.problems[0]
        return {tensor.name: checkpoint.read(tensor) for tensor in checkpoint.tensors}


# ------------------------------------------------------------------ safetensors


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def one(data=b"\0\0\0\0", **fields):
    return safetensors({"a": entry(**fields)}, data)


def raw_entry(shape="[1]", offsets="[0,4]", dtype='"F32"'):
    return safetensors(f'{{"a":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}'.encode(), b"\0" * 4)


FOUR = b"\0" * 4
EIGHT = b"\0" * 8
ENTRY = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'

SAFETENSORS = {
    "empty file": ("too few", lambda: b""),
    "seven bytes": ("too few", lambda: b"\1" * 7),
    "header length 0": ("begin with", lambda: struct.pack("<Q", 0)),
    "header length 2^63": ("header of 9223372036854775808", lambda: struct.pack("<Q", 2**63) + b"{}"),
    "header length 2^64-1": ("header of", lambda: b"\xff" * 8 + b"{}"),
    "header length big-endian": ("header of", lambda: struct.pack(">Q", 2) + b"{}"),
    "header beyond the file": ("header of", lambda: struct.pack("<Q", 3) + b"{}"),
    "header past the cap": ("are allowed", lambda: struct.pack("<Q", 25_000_001) + b"{" + b" " * 25_000_001),
    "header of an array": ("begin with", lambda: safetensors(b"[]")),
    "header of white space": ("begin with", lambda: safetensors(b"  {}")),
    "header of a byte order mark": ("begin with", lambda: safetensors(b"\xef\xbb\xbf{}")),
    "header padded with NUL": ("not valid JSON", lambda: safetensors(b"{}\0\0\0\0\0\0")),
    "header of UTF-16": ("begin with", lambda: safetensors("{}".encode("utf-16"))),
    "header of invalid UTF-8": ("UTF-8", lambda: safetensors(b'{"\xff":1}')),
    "header cut short": ("not valid JSON", lambda: safetensors(b'{"a":{"dtype":"F32"')),
    "header with text after it": ("not valid JSON", lambda: safetensors(b"{}{}")),
    "header with a comment": ("not valid JSON", lambda: safetensors(b"{/**/}")),
    "depth bomb of arrays": ("too deeply", lambda: safetensors(b'{"a":' + b"[" * 100_000)),
    "depth bomb of objects": ("too deeply", lambda: safetensors(b'{"a":' * 100_000)),
    "item bomb of arrays": ("more than 500000 items", lambda: safetensors(b'{"a":[' + b"[]," * 8_000_000 + b"[]]}")),
    "item bomb of nests": ("items", lambda: safetensors(b'{"a":[' + b"[[[[[[[[]]]]]]]]," * 490_000 + b"[]]}")),
    "item bomb below the cap": ("other fields", lambda: safetensors(b'{"a":[' + b'{"b":1},' * 490_000 + b"{}]}")),
    "wide characters": ("1024 are allowed", lambda: safetensors(b'{"\xf0\x9f\x98\x80' + b"a" * 20_000_000 + b'":1}')),
    "duplicate tensor": ("twice", lambda: safetensors(b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}", FOUR)),
    "duplicate tensor by escape": (
        "twice",
        lambda: safetensors(b'{"a":' + ENTRY + b',"\\u0061":' + ENTRY + b"}", FOUR),
    ),
    "duplicate field": (
        "twice",
        lambda: safetensors(b'{"a":{"dtype":"F32","shape":[9],"shape":[1],"data_offsets":[0,4]}}', FOUR),
    ),
    "duplicate metadata": ("twice", lambda: safetensors(b'{"__metadata__":{},"__metadata__":{}}')),
    "duplicate among many": (
        "twice",
        lambda: safetensors(b"{" + b",".join(b'"%d":1' % (n % 99_999) for n in range(100_000)) + b"}"),
    ),
    "NaN": ("number NaN", lambda: raw_entry("[NaN]")),
    "infinity": ("number -Infinity", lambda: raw_entry("[-Infinity]")),
    "1e999": ("number 1e999", lambda: raw_entry("[1e999]")),
    "fraction": ("number 1.0", lambda: raw_entry("[1.0]")),
    "5000 digits": ("5000 digits", lambda: raw_entry("[" + "9" * 5000 + "]")),
    "side of 2^64-2": ("wrong kind", lambda: raw_entry("[2,18446744073709551614]")),
    "sides whose product wraps to 1": ("need", lambda: one(shape=(2**32 + 1, 2**32 - 1))),
    "sides whose product wraps to 0": ("need", lambda: one(data=b"", shape=(2**32, 2**32), offsets=(0, 0))),
    "empty with a side of 2^62": ("empty, yet", lambda: one(b"", shape=(0, HUGE), offsets=(0, 0))),
    "empty with sides whose product wraps": ("empty, yet", lambda: one(b"", shape=(2**40, 0, 2**40), offsets=(0, 0))),
    "petabytes in four bytes": ("need", lambda: one(shape=(2**25, 2**25))),
    "petabytes at lying offsets": ("accounts for", lambda: one(shape=(2**25, 2**25), offsets=(0, 2**52))),
    "shape too small": ("need 4", lambda: one(EIGHT, offsets=(0, 8))),
    "shape too large": ("need 8", lambda: one(shape=(2,))),
    "nine dimensions": ("9 dimensions", lambda: one(shape=(1,) * 9)),
    "200 dimensions": ("200 dimensions", lambda: one(shape=(1,) * 200)),
    "negative side": ("wrong kind", lambda: one(shape=(-1,))),
    "two negative sides": ("wrong kind", lambda: one(shape=(-1, -1))),
    "boolean side": ("wrong kind", lambda: raw_entry("[true]")),
    "boolean offset": ("wrong kind", lambda: raw_entry(offsets="[false,4]")),
    "side as text": ("wrong kind", lambda: raw_entry('["1"]')),
    "null shape": ("wrong kind", lambda: raw_entry("null")),
    "shape as object": ("wrong kind", lambda: raw_entry("{}")),
    "shape of shapes": ("wrong kind", lambda: raw_entry("[[1]]")),
    "negative offset": ("wrong kind", lambda: one(offsets=(-4, 0))),
    "offsets reversed": ("need 4", lambda: one(offsets=(4, 0))),
    "offsets reversed, dtype unknown": ("hole", lambda: one(dtype="F4", offsets=(4, 0))),
    "one offset": ("wrong kind", lambda: one(offsets=(4,))),
    "three offsets": ("wrong kind", lambda: one(offsets=(0, 4, 4))),
    "offset of 2^63": ("wrong kind", lambda: one(offsets=(2**63 - 4, 2**63))),
    "offsets beyond the file": ("accounts for", lambda: one(EIGHT[:3])),
    "data starts at 4": ("hole", lambda: one(EIGHT, offsets=(4, 8))),
    "hole between tensors": ("hole", lambda: safetensors({"a": entry(), "b": entry(offsets=(8, 12))}, b"\0" * 12)),
    "overlapping tensors": (
        "overlaps",
        lambda: safetensors({"a": entry(shape=(2,), offsets=(0, 8)), "b": entry(offsets=(4, 8))}, EIGHT),
    ),
    "the same range twice": ("overlaps", lambda: safetensors({"a": entry(), "b": entry()}, FOUR)),
    "10000 names on one range": ("overlaps", lambda: safetensors({f"t{n}": entry() for n in range(10_000)}, FOUR)),
    "empty tensor inside another": (
        "where it",
        lambda: safetensors({"a": entry(shape=(2,), offsets=(0, 8)), "b": entry(shape=(0,), offsets=(4, 4))}, EIGHT),
    ),
    "trailing bytes": ("accounts for", lambda: one(FOUR + b"PK\5\6")),
    "data without tensors": ("accounts for", lambda: safetensors({}, FOUR)),
    "missing field": ("other fields", lambda: safetensors({"a": {"dtype": "F32", "shape": [1]}}, FOUR)),
    "additional field": ("other fields", lambda: safetensors({"a": entry() | {"strides": [1]}}, FOUR)),
    "tensor that is a number": ("other fields", lambda: safetensors({"a": 1}, FOUR)),
    "tensor that is null": ("other fields", lambda: safetensors({"a": None}, FOUR)),
    "dtype of a report": ("cannot be one", lambda: one(dtype="float32", shape=(2**40, 2**40))),
    "dtype of no reader": ("cannot be one", lambda: one(dtype="longdouble", shape=(2, 2))),
    "dtype of a megabyte": ("cannot be one", lambda: one(dtype="F" * 1_000_000)),
    "dtype with an escape": ("cannot be one", lambda: one(dtype="\x1b[31mF32")),
    "dtype in lower case": ("cannot be one", lambda: one(dtype="f32")),
    "dtype as number": ("wrong kind", lambda: raw_entry(dtype="32")),
    "dtype empty": ("cannot be one", lambda: one(dtype="")),
    "metadata as list": ("__metadata__", lambda: safetensors({"__metadata__": []})),
    "metadata of numbers": ("__metadata__", lambda: safetensors({"__metadata__": {"a": 1}})),
    "metadata of objects": ("__metadata__", lambda: safetensors({"__metadata__": {"a": {"b": "c"}}})),
    "name of a lone surrogate": ("not Unicode", lambda: safetensors(b'{"\\ud800":' + ENTRY + b"}", FOUR)),
    "name that makes patterns quadratic": ("1024", lambda: safetensors({"ln" * 200_000: entry()}, FOUR)),
    "name of a million dots": ("1024", lambda: safetensors({"." * 1_000_000: entry()}, FOUR)),
    "a pickle": ("header of", lambda: pickle.dumps({"a": 1}, protocol=2)),
    "a zip archive": ("header of", lambda: npz({"a.npy": npy()})),
    "a text": ("header of", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "zeros": ("begin with", lambda: b"\0" * 4096),
}

# ------------------------------------------------------------------ npy


def npy_header(text, version=(1, 0), length=None):
    text = text if isinstance(text, bytes) else text.encode()
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", size) + text


def fields(descr="'<f4'", order="False", shape="(1,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def npy(data=FOUR, **given):
    return npy_header(fields(**given)) + data


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


class Payload:
    """Would write a file if it were ever unpickled."""

    def __reduce__(self):
        return (open, ("opnorm-was-here", "w"))


NPY = {
    "empty file": ("begin as an npy", lambda: b""),
    "magic only": ("begin as an npy", lambda: b"\x93NUMPY\1\0"),
    "version 0": ("version 0.0", lambda: npy_header(fields(), (0, 0)) + FOUR),
    "version 1.1": ("version 1.1", lambda: npy_header(fields(), (1, 1)) + FOUR),
    "version 4": ("version 4.0", lambda: npy_header(fields(), (4, 0)) + FOUR),
    "header of 4 GB": ("are allowed", lambda: npy_header(fields(), (2, 0), 2**32 - 1)),
    "header past the cap": ("are allowed", lambda: npy_header(fields() + " " * 60_000) + FOUR),
    "header beyond the file": ("within its header", lambda: npy_header(fields(), length=500)),
    "header of nothing": ("not a dictionary", lambda: npy_header("") + FOUR),
    "header that calls": ("not a dictionary", lambda: npy_header("__import__('os').system('true')") + FOUR),
    "header that calls inside": ("not a dictionary", lambda: npy(shape="(exit(3),)")),
    "header that computes": ("not a dictionary", lambda: npy(shape="(9**9**9,)")),
    "header of deep brackets": ("not a dictionary", lambda: npy_header("(" * 9000)),
    "header of deep signs": ("not a dictionary", lambda: npy(shape="(" + "-" * 9000 + "1,)")),
    "header of long sums": ("not a dictionary", lambda: npy(shape="(" + "1+" * 4000 + "1,)")),
    "header with a bad escape": ("not a dictionary", lambda: npy(descr=r"'\d'")),
    "header with a NUL": ("not a dictionary", lambda: npy_header(fields() + "\0") + FOUR),
    "header with a second dictionary": ("not a dictionary", lambda: npy_header(fields() + "{}") + FOUR),
    "header without shape": (
        "not a dictionary",
        lambda: npy_header("{'descr': '<f4', 'fortran_order': False}") + FOUR,
    ),
    "header with another field": (
        "not a dictionary",
        lambda: npy_header(fields().replace("{", "{'x': 'y', ")) + FOUR,
    ),
    "header with a field twice": ("twice", lambda: npy_header(fields().replace("{", "{'descr': '<f8', ")) + FOUR),
    "order as number": ("not a dictionary", lambda: npy(order="1")),
    "order as text": ("not a dictionary", lambda: npy(order="'False'")),
    "shape as list": ("not a dictionary", lambda: npy(shape="[1]")),
    "shape as number": ("not a dictionary", lambda: npy(shape="1")),
    "shape in brackets only": ("tuple of whole", lambda: npy(shape="(1)")),
    "shape negative": ("not a dictionary", lambda: npy(shape="(-1,)")),
    "shape boolean": ("not a dictionary", lambda: npy(shape="(True,)")),
    "shape fractional": ("not a dictionary", lambda: npy(shape="(1.0,)")),
    "shape of 5000 digits": ("not a dictionary", lambda: npy(shape=f"({'9' * 5000},)")),
    "shape of 40 digits": ("tuple of whole", lambda: npy(shape=f"({'9' * 40},)")),
    "shape of nine sides": ("9 dimensions", lambda: npy(shape="(1,1,1,1,1,1,1,1,1)")),
    "shape claims exbibytes": ("need", lambda: npy(shape="(999999999, 999999999)")),
    "shape whose product wraps": ("need", lambda: npy(shape="(4294967297, 4294967295)")),
    "empty with a side of 2^62": ("empty, yet", lambda: npy(b"", shape=f"(0, {HUGE})")),
    "data too short": ("holds 3 bytes", lambda: npy(b"\0\0\0")),
    "data too long": ("holds 5 bytes", lambda: npy(b"\0" * 5)),
    "no data": ("holds 0 bytes", lambda: npy(b"")),
    "dtype of objects": ("only plain numbers", lambda: npy(EIGHT, descr="'|O'")),
    "dtype of objects, saved": ("only plain numbers", lambda: saved(np.array([Payload()]), allow_pickle=True)),
    "dtype with hidden objects": ("only plain numbers", lambda: npy(descr="'O,f4'")),
    "dtype structured": ("not a dictionary", lambda: saved(np.zeros(3, dtype=[("a", "f4"), ("b", "i2")]))),
    "dtype structured by commas": ("only plain numbers", lambda: npy(EIGHT, descr="'f4,f4'")),
    "dtype of subarrays": ("only plain numbers", lambda: npy(descr="'4f4'")),
    "dtype of text": ("only plain numbers", lambda: saved(np.array(["text"]))),
    "dtype of bytes": ("only plain numbers", lambda: saved(np.array([b"text"]))),
    "dtype of dates": ("only plain numbers", lambda: saved(np.array(["2020-01-01"], dtype="M8[D]"))),
    "dtype of void without size": ("only plain numbers", lambda: npy(b"", descr="'|V0'")),
    "dtype of endless void": ("only plain numbers", lambda: npy(descr="'V99999999999'")),
    "dtype deprecated": ("only plain numbers", lambda: npy(descr="'a'")),
    "dtype empty": ("only plain numbers", lambda: npy(descr="''")),
    "dtype unknown": ("only plain numbers", lambda: npy(descr="'<f3'")),
    "a pickle": ("begin as an npy", lambda: pickle.dumps(Payload(), protocol=2)),
    "an npz": ("begin as an npy", lambda: npz({"a.npy": npy()})),
}

# ------------------------------------------------------------------ npz


def npz(members, method=zipfile.ZIP_STORED, comment=b""):
    """A zip archive of `members`: a dictionary, or pairs where names repeat."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # repeated names are the point
        archive.comment = comment
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return file.getvalue()


def patched(data, signature, offset, form, *values, which=0):
    """`data` with a field overwritten at `offset` of the `which`-th record with that signature."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    changed = bytearray(data)
    struct.pack_into(form, changed, at + offset, *values)
    return bytes(changed)


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
PAIR = {"a.npy": npy(), "b.npy": npy()}
SPACED = npy_header(fields(shape="(400000000,)") + " " * 20)


def zeros(count):
    return npy(b"\0" * (4 * count), shape=f"({count},)")


def quoted_overlap():
    """A second member whose data begin inside the first one's."""
    inner = npz({"b.npy": npy()})
    inner = inner[: inner.index(CENTRAL)]
    data = npz([("a.npy", inner), ("b.npy", npy())])
    return patched(data, CENTRAL, 42, "<I", data.index(LOCAL, 4), which=1)


def claims(size):
    data = npz({"a.npy": SPACED + b"\0" * 64}, zipfile.ZIP_DEFLATED)
    return patched(patched(data, LOCAL, 22, "<I", size), CENTRAL, 24, "<I", size)


def without_end(data, cut):
    return data[: len(data) - cut]


def resized_member(count, change):
    """A deflated member of `count` float32 whose archive claims `change` more bytes than it has."""
    file = npy(bytes(512), shape=f"({count // 2}, 2)")
    data = npz({"a.npy": file}, zipfile.ZIP_DEFLATED)
    size = len(file) + change
    return patched(patched(data, LOCAL, 22, "<I", size), CENTRAL, 24, "<I", size)


def shrunk_member():
    return resized_member(64, -256)


def grown_member():
    return resized_member(192, 256)


NPZ = {
    "empty file": ("too few", lambda: b""),
    "cut short": ("cut short", lambda: without_end(npz(PAIR), 1)),
    "without end record": ("cut short", lambda: without_end(npz(PAIR), 22)),
    "trailing bytes": ("something follows", lambda: npz(PAIR) + b"\0"),
    "archive comment": ("something follows", lambda: npz(PAIR, comment=b"hidden")),
    "bytes before it": ("does not reach", lambda: b"#!/bin/sh\n" + npz(PAIR)),
    "two archives": ("does not reach", lambda: npz(PAIR) + npz(PAIR)),
    "directory of 4 GB": ("does not reach", lambda: patched(npz(PAIR), END, 12, "<I", 2**32 - 2)),
    "directory past the cap": (
        "are allowed",
        lambda: npz({}).replace(END, b"\0" * 5_000_000 + END, 1)[:-10] + struct.pack("<IIH", 5_000_000, 0, 0),
    ),
    "directory of noise": ("not a sound", lambda: b"\xa5" * 200 + END + struct.pack("<4H2LH", 0, 0, 1, 1, 200, 0, 0)),
    "member outside the file": ("reaches beyond", lambda: patched(npz(PAIR), CENTRAL, 42, "<I", 2**31)),
    "64-bit locator to nothing": (
        "64-bit end record",
        lambda: b"\0" * 56 + b"PK\6\7" + b"\0" * 16 + END + b"\0" * 18,
    ),
    "duplicate member": ("twice", lambda: npz([("a.npy", npy()), ("a.npy", npy())])),
    "duplicate by a NUL": ("not an npy", lambda: npz([("a.npy", npy()), ("b.npyXX", npy())]).replace(b"yXX", b"y\0X")),
    "encrypted member": (
        "encrypted",
        lambda: patched(patched(npz(PAIR), LOCAL, 6, "<H", 1), CENTRAL, 8, "<H", 1),
    ),
    "member of text": ("not an npy", lambda: npz({"readme.txt": b"hello"})),
    "member of a pickle": ("begin as an npy", lambda: npz({"a.npy": pickle.dumps(Payload(), protocol=2)})),
    "member that is a folder": ("not an npy", lambda: npz({"a/": b""})),
    "member of objects": ("only plain numbers", lambda: npz({"a.npy": saved(np.array([{}]), allow_pickle=True)})),
    "member without bytes": ("begin as an npy", lambda: npz({"a.npy": b""})),
    "member with a long name": ("1024", lambda: npz({"." * 60_000 + ".npy": npy()})),
    "member with a header that lies": ("need", lambda: npz({"a.npy": npy(shape="(99,)")})),
    "torch archive": ("not an npy", lambda: npz({"archive/data.pkl": pickle.dumps(1), "archive/version": b"3\n"})),
    "method bzip2": ("method 12", lambda: npz(PAIR, zipfile.ZIP_BZIP2)),
    "method lzma": ("method 14", lambda: npz(PAIR, zipfile.ZIP_LZMA)),
    "method unknown": (
        "method 77",
        lambda: patched(patched(npz(PAIR), LOCAL, 8, "<H", 77), CENTRAL, 10, "<H", 77),
    ),
    "method differs in two places": ("differently", lambda: patched(npz(PAIR), LOCAL, 8, "<H", 8)),
    "flags differ in two places": ("differently", lambda: patched(npz(PAIR), LOCAL, 6, "<H", 8)),
    "name differs in two places": ("not a sound", lambda: npz(PAIR).replace(b"a.npy", b"c.npy", 1)),
    "no local header": ("differently", lambda: npz(PAIR).replace(LOCAL, b"PK\7\7", 1)),
    "checksum wrong": ("CRC", lambda: npz({"a.npy": npy(b"\1\2\3\4")}).replace(b"\1\2\3\4", b"\1\2\3\5")),
    "stored, size differs": ("yet claims", lambda: patched(npz(PAIR), CENTRAL, 24, "<I", 2**20)),
    "overlapping members": ("overlaps", lambda: patched(npz(PAIR), CENTRAL, 42, "<I", 0, which=1)),
    "quoted overlap": ("overlaps", quoted_overlap),
    "member runs into the directory": (
        "reaches beyond",
        lambda: patched(patched(npz(PAIR), CENTRAL, 20, "<II", 9999, 9999, which=1), LOCAL, 18, "<II", 9999, 9999),
    ),
    "deflated noise": (
        "not a sound",
        lambda: patched(npz({"a.npy": zeros(100)}, zipfile.ZIP_DEFLATED), LOCAL, 35, "<8s", b"\xff" * 8),
    ),
    "deflated, header lies": ("need", lambda: npz({"a.npy": npy(EIGHT, shape="(9,)")}, zipfile.ZIP_DEFLATED)),
    "deflated, more than claimed": ("CRC", shrunk_member),
    "deflated, less than claimed": ("ends before", grown_member),
    "claims 1.6 GB in 100 bytes": ("bomb", lambda: claims(1_600_000_000 + len(SPACED))),
    "bomb of zeros": ("bomb", lambda: npz({"a.npy": zeros(18 << 20)}, zipfile.ZIP_DEFLATED)),
    "bomb of many members": (
        "bomb",
        lambda: npz({f"{n}.npy": zeros(4 << 20) for n in range(5)}, zipfile.ZIP_DEFLATED),
    ),
    "an npy": ("cut short", lambda: npy()),
    "zeros": ("cut short", lambda: b"\0" * 4096),
}

# ------------------------------------------------------------------ index


INDEX = {
    "empty file": ("not valid JSON", lambda: b""),
    "an array": ("not a JSON object", lambda: b"[]"),
    "no weight_map": ("no weight_map", lambda: b"{}"),
    "an empty weight_map": ("no weight_map", lambda: b'{"weight_map":{}}'),
    "weight_map as list": ("no weight_map", lambda: b'{"weight_map":["a"]}'),
    "shard as number": ("not a file name", lambda: b'{"weight_map":{"a":1}}'),
    "shard as null": ("not a file name", lambda: b'{"weight_map":{"a":null}}'),
    "tensor twice": ("twice", lambda: b'{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}'),
    "NaN": ("number NaN", lambda: b'{"metadata":{"total_size":NaN},"weight_map":{"a":"x"}}'),
    "1e999": ("number 1e999", lambda: b'{"metadata":{"total_size":1e999},"weight_map":{"a":"x"}}'),
    "depth bomb": ("too deeply", lambda: b'{"weight_map":' + b"[" * 100_000),
    "item bomb": ("items", lambda: b'{"weight_map":{"a":[' + b"1," * 3_000_000 + b"1]}}"),
    "past the cap": ("is allowed", lambda: b" " * 25_000_001),
    "invalid UTF-8": ("UTF-8", lambda: b'{"weight_map":{"\xff":"x"}}'),
    "shard missing": ("no such file", lambda: b'{"weight_map":{"a":"missing.safetensors"}}'),
    "too many shards": (
        "are allowed",
        lambda: json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(5000)}}).encode(),
    ),
}

SHARD_NAMES = {
    "parent": "../outside.safetensors",
    "grandparent": "../../outside.safetensors",
    "within and out": "sub/../../outside.safetensors",
    "absolute": "/etc/passwd",
    "subfolder": "sub/inside.safetensors",
    "trailing slash": "inside.safetensors/",
    "backslash": "..\\outside.safetensors",
    "device path": "\\\\.\\pipe\\x",
    "empty": "",
    "dot": ".",
    "dots": "..",
    "NUL": "inside.safetensors\0.txt",
    "lone surrogate": "\ud800.safetensors",
    "escape sequence": "\x1b]0;title\x07.safetensors",
    "newline": "a\nb.safetensors",
    "right-to-left": "a\u202esrotsnetefas.b",
}

ENDINGS = {
    ".safetensors": SAFETENSORS,
    ".npy": NPY,
    ".npz": NPZ,
    ".safetensors.index.json": INDEX,
}

CASES = {
    f"{ending[1:].split('.')[-1] if ending.endswith('json') else ending[1:]}: {name}": Case(ending, says, build)
    for ending, cases in ENDINGS.items()
    for name, (says, build) in cases.items()
}
