"""PyTorch files that no reader may believe: each named, with a word of the message that must refuse it."""

import io
import pickle
import struct
import zipfile

import torch
from hostile import Case, npy, npz, patched, safetensors
from torch_hostile_pickles import PICKLES
from torch_made import (
    DATA,
    RUN,
    SOUND,
    name,
    pickled,
    saved_zip,
    state,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    tuple_of,
    whole,
)

LOCAL, CENTRAL, END, BEHIND = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\10"
LIVE = pickled(RUN)


def script():
    """A TorchScript program."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def renamed(old, new):
    return torch_zip().replace(old, new)


def overlapping():
    """A second storage whose record lies within the first one's data."""
    inner = npz({"archive/data/1": DATA})
    inner = inner[: inner.index(CENTRAL)]
    two = state(a=tensor(), b=tensor(place=storage(key="1")), c=tensor(place=storage(key="2", count=len(inner) // 4)))
    data = torch_zip(pickled(two), {"0": DATA, "2": inner, "1": DATA})
    return patched(data, CENTRAL, 42, "<I", data.index(LOCAL, data.index(b"data/2") + 4), which=5)


ZIPS = {
    "empty file": ("empty", lambda: b""),
    "end record only": ("too few", lambda: b"PK\3\4"),
    "no pickle": ("0 members FOLDER/data.pkl", lambda: npz({"archive/version": b"3\n"})),
    "two pickles": ("2 members FOLDER/data.pkl", lambda: torch_zip(extra=[("other/data.pkl", LIVE)])),
    "a second pickle beside it": ("'payload.pkl'", lambda: torch_zip(extra=[("archive/payload.pkl", LIVE)])),
    "a member of another folder": ("'other/data/0'", lambda: torch_zip(extra=[("other/data/0", LIVE)])),
    "a pickle as storage": ("archive but not in the pickle", lambda: torch_zip(extra=[("archive/data/1", LIVE)])),
    "a storage deeper": ("archive but not in the pickle", lambda: torch_zip(extra=[("archive/data/1/x", LIVE)])),
    "a storage that is not used": ("archive but not in the pickle", lambda: torch_zip(pickled(b"}"))),
    "a folder": ("not a plain path", lambda: torch_zip(extra=[("archive/data/", b"")])),
    "code": ("TorchScript", lambda: torch_zip(extra=[("archive/code/__torch__.py", b"import os")])),
    "a program": ("TorchScript", script),
    "constants": ("TorchScript", lambda: torch_zip(extra=[("archive/constants.pkl", LIVE)])),
    "member ../": ("plain path", lambda: torch_zip(extra=[("archive/../../data/0", b"x")])),
    "member absolute": ("plain path", lambda: torch_zip(extra=[("/archive/data/1", b"x")])),
    "member of a Windows path": ("plain path", lambda: torch_zip(extra=[("archive/C:/1", b"x")])),
    "member with a backslash": ("plain path", lambda: renamed(b"archive/data/0", b"archive\\data/0")),
    "member with a NUL": ("plain path", lambda: renamed(b"archive/data/0", b"archive/data/\0")),
    "member of a long name": ("plain path", lambda: torch_zip(extra=[("archive/" + "x" * 600, b"")])),
    "member not Unicode": ("not Unicode", lambda: renamed(b"archive/data/0", b"archive/data/\xff")),
    "member twice": ("twice", lambda: torch_zip(extra=[("archive/data/0", DATA)])),
    "pickle twice": ("twice", lambda: torch_zip(extra=[("archive/data.pkl", LIVE)])),
    "deflated": ("compressed", lambda: torch_zip(method=zipfile.ZIP_DEFLATED)),
    "deflated bomb": ("compressed", lambda: torch_zip(storages={"0": bytes(1 << 24)}, method=zipfile.ZIP_DEFLATED)),
    "bzip2": ("method 12", lambda: torch_zip(method=zipfile.ZIP_BZIP2)),
    "encrypted": ("encrypted", lambda: patched(patched(torch_zip(), LOCAL, 6, "<H", 1), CENTRAL, 8, "<H", 1)),
    "method differs": ("differently", lambda: patched(torch_zip(), LOCAL, 8, "<H", 8)),
    "flags differ": ("differently", lambda: patched(torch_zip(), LOCAL, 6, "<H", 0x800)),
    "name differs": ("differently", lambda: torch_zip().replace(b"archive/data/0", b"archive/data/1", 1)),
    "size differs": ("differently", lambda: patched(torch_zip(), LOCAL, 22, "<I", 3, which=3)),
    "checksum differs in two places": ("differently", lambda: patched(torch_zip(), LOCAL, 14, "<I", 3, which=3)),
    "sizes behind the data lie": ("differently", lambda: patched(saved_zip(), BEHIND, 12, "<I", 3)),
    "checksum behind the data lies": ("differently", lambda: patched(saved_zip(), BEHIND, 4, "<I", 3)),
    "record behind the data is none": ("differently", lambda: saved_zip().replace(BEHIND, b"PK\7\11", 1)),
    "stored, size differs": ("yet claims", lambda: patched(torch_zip(), CENTRAL, 24, "<I", 2**20)),
    "64-bit size without it": (
        "without the 64-bit",
        lambda: patched(torch_zip(), CENTRAL, 20, "<II", 2**32 - 1, 2**32 - 1),
    ),
    "extra field damaged": ("extra field", lambda: patched(saved_zip(), b"FB", 2, "<H", 9999)),
    "storage outside the file": ("reaches beyond", lambda: patched(torch_zip(), CENTRAL, 42, "<I", 2**31, which=3)),
    "storage runs into the directory": (
        "reaches beyond",
        lambda: patched(
            patched(torch_zip(), CENTRAL, 20, "<II", 9999, 9999, which=3), LOCAL, 18, "<II", 9999, 9999, which=3
        ),
    ),
    "two members in one place": ("differently", lambda: patched(torch_zip(), CENTRAL, 42, "<I", 0, which=3)),
    "overlapping members": ("overlaps", overlapping),
    "bytes before": ("of a kind", lambda: b"#!/bin/sh\n" + torch_zip()),
    "a dead record before": ("before its first member", lambda: pushed(torch_zip(), LOCAL + bytes(26))),
    "an archive before": ("does not reach", lambda: torch_zip() + torch_zip()),
    "trailing bytes": ("something follows", lambda: torch_zip() + b"\0"),
    "trailing pickle": ("something follows", lambda: torch_zip() + LIVE),
    "archive comment": ("something follows", lambda: patched(torch_zip(), END, 20, "<H", 4) + b"hide"),
    "hole": ("hole", lambda: shifted(torch_zip(), b"\0" * 4)),
    "hole of the size of a record": ("differently", lambda: shifted(torch_zip(), b"\0" * 16)),
    "one of several disks": ("of several", lambda: patched(torch_zip(), END, 4, "<HH", 1, 1)),
    "promises more members": ("too short", lambda: patched(torch_zip(), END, 8, "<HH", 9, 9)),
    "promises fewer members": ("goes on", lambda: patched(torch_zip(), END, 8, "<HH", 1, 1)),
    "directory damaged": ("damaged", lambda: patched(torch_zip(), CENTRAL, 0, "<I", 0)),
    "64-bit locator to nothing": ("64-bit end", lambda: saved_zip().replace(b"PK\6\6", b"PK\6\1")),
    "pickle's checksum wrong": ("checksum", lambda: torch_zip().replace(b"FloatStorage", b"HalfStorage\n", 1)),
    "storage's checksum wrong": ("checksum", lambda: torch_zip().replace(DATA, DATA[::-1], 1)),
    "big-endian": ("byte order 'big'", lambda: big_endian()),
    "version absent": ("version ''", lambda: npz({"archive/data.pkl": SOUND, "archive/data/0": DATA})),
    "version of words": ("version 'abc", lambda: versioned(b"abc")),
    "version of a megabyte": ("64 are allowed", lambda: versioned(b"3" * 1_000_000)),
    "pickle past the cap": ("are allowed", lambda: torch_zip(SOUND + bytes(64 << 20))),
    "second pickle after STOP": ("bytes after the end", lambda: torch_zip(SOUND + LIVE)),
    "one byte after STOP": ("bytes after the end", lambda: torch_zip(SOUND + b"\0")),
    "no STOP": ("ends within its pickle", lambda: torch_zip(SOUND[:-1])),
    "protocol 0": ("protocol 2 to 5", lambda: torch_zip(pickle.dumps({"a": 1}, 0))),
    "protocol 6": ("protocol 2 to 5", lambda: torch_zip(pickled(b"}", 6))),
    "pickle of nothing": ("ends within", lambda: torch_zip(b"")),
    "npz": ("0 members FOLDER/data.pkl", lambda: npz({"a.npy": npy()})),
}


def shifted(data, hole):
    """The last member moved by a hole before the directory."""
    at = data.index(CENTRAL)
    start = struct.unpack_from("<I", data, data.index(END) + 16)[0]
    return patched(data[:at] + hole + data[at:], END, 16, "<I", start + len(hole))


def pushed(data, head):
    """The archive behind `head`, its own positions right."""
    at = -1
    for n in range(data.count(CENTRAL)):
        at = data.index(CENTRAL, at + 1)
        data = patched(data, CENTRAL, 42, "<I", struct.unpack_from("<I", data, at + 42)[0] + len(head), which=n)
    return head + patched(data, END, 16, "<I", data.index(CENTRAL) + len(head))


def big_endian():
    return npz(
        {"archive/data.pkl": SOUND, "archive/byteorder": b"big", "archive/version": b"3", "archive/data/0": DATA}
    )


def versioned(version):
    return npz({"archive/data.pkl": SOUND, "archive/version": version, "archive/data/0": DATA})


def machine(**more):
    return {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}} | more


TWICE = pickle.dumps(["0", "0"], 2)
LEGACIES = {
    "payload as magic number": ("io.open", lambda: torch_legacy(magic=LIVE)),
    "payload as protocol": ("io.open", lambda: torch_legacy(protocol=LIVE)),
    "payload as machine": ("io.open", lambda: torch_legacy(machine=LIVE)),
    "payload as object": ("io.open", lambda: torch_legacy(LIVE)),
    "payload as keys": ("io.open", lambda: torch_legacy(keys=LIVE)),
    "payload in the machine": ("io.open", lambda: torch_legacy(machine=pickled(state(little_endian=RUN)))),
    "payload among the keys": ("io.open", lambda: torch_legacy(keys=pickled(b"]" + RUN + b"a"))),
    "payload between the pickles": ("not a list", lambda: torch_legacy(SOUND + pickled(b"}"))),
    "payload after the storages": ("after its last storage", lambda: torch_legacy(after=LIVE)),
    "tensor as magic number": ("torch._utils", lambda: torch_legacy(magic=SOUND)),
    "storage among the keys": ("points outside", lambda: torch_legacy(keys=pickled(text("0") + b"Q"))),
    "attributes in the machine": ("sets attributes", lambda: torch_legacy(machine=pickled(b"}}b"))),
    "call in the machine": ("calls something", lambda: torch_legacy(machine=pickled(b"N)R"))),
    "wrong magic number": ("not one from torch.save", lambda: torch_legacy(magic=1)),
    "bare pickle": ("not one from torch.save", lambda: pickle.dumps({"a": 1}, 2)),
    "bare payload": ("io.open", lambda: LIVE),
    "protocol 1000": ("another protocol", lambda: torch_legacy(protocol=1000)),
    "big-endian": ("little-endian", lambda: torch_legacy(machine=machine(little_endian=False))),
    "endianness 1": ("little-endian", lambda: torch_legacy(machine=machine(little_endian=1))),
    "machine of a list": (
        "little-endian",
        lambda: torch_legacy(machine=b"\x80\2]."),
    ),
    "keys of a dictionary": ("not a list", lambda: torch_legacy(keys=pickle.dumps({"0": 1}, 2))),
    "keys of numbers": ("not a list", lambda: torch_legacy(keys=pickle.dumps([0], 2))),
    "keys twice": ("different keys", lambda: torch_legacy(keys=TWICE)),
    "keys that are not used": ("or other ones", lambda: torch_legacy(keys=pickle.dumps(["0", "1"], 2))),
    "keys absent": ("or other ones", lambda: torch_legacy(keys=pickle.dumps([], 2))),
    "storage size lies": ("yet stores 5", lambda: torch_legacy(storages={"0": (5, DATA)})),
    "storage size negative": ("yet stores", lambda: torch_legacy(storages={"0": (-4, DATA)})),
    "storage cut short": ("ends before", lambda: torch_legacy(storages={"0": (4, DATA[:-1])})),
    "storage absent": ("ends before", lambda: torch_legacy(storages={}, keys=pickle.dumps(["0"], 2))),
    "storage of 2^61 entries": (
        "ends before",
        lambda: torch_legacy(pickled(state(a=tensor(place=storage(count=2**61))))),
    ),
    "storage longer": ("4 bytes after", lambda: torch_legacy(storages={"0": (4, DATA + b"\0" * 4)})),
    "part past its storage": (
        "reaches past it",
        lambda: torch_legacy(pickled(part(whole(2), whole(3)))),
    ),
    "part of 2^62": ("not an offset", lambda: torch_legacy(pickled(part(whole(2**62), whole(3))))),
    "part negative": ("not an offset", lambda: torch_legacy(pickled(part(whole(-1), whole(3))))),
    "view past its part": (
        "reaches past",
        lambda: torch_legacy(pickled(state(a=tensor(place=part(whole(1), whole(3)))))),
    ),
    "tar": ("tar archive", lambda: b"x" * 257 + b"ustar" + b"\0" * 300),
    "ends in the magic number": ("ends within", lambda: torch_legacy()[:5]),
    "safetensors": ("name it .safetensors", lambda: safetensors({})),
    "HDF5": ("Keras", lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 90),
    "TensorFlow": ("TensorFlow", lambda: b"\0" * 40 + (0xDB4775248B80FB57).to_bytes(8, "little")),
    "gzip": ("gzip", lambda: b"\x1f\x8b" + b"\0" * 40),
    "GGUF": ("llama.cpp", lambda: b"GGUF\3\0\0\0"),
    "pointer of Git LFS": ("git lfs", lambda: b"version https://git-lfs.github.com/spec/v1\n"),
    "web page": ("web page", lambda: b"<!DOCTYPE html>"),
    "noise": ("de ad be ef", lambda: b"\xde\xad\xbe\xef" * 30),
}


def part(start, count):
    """A part of a storage, as files from before 2018 have it."""
    place = tuple_of(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), whole(4))
    return place[:-1] + tuple_of(text("view"), start, count) + b"tQ"


CASES = {
    **{f"zip: {case}": Case(".pt", says, build) for case, (says, build) in ZIPS.items()},
    **{f"legacy: {case}": Case(".pth", says, build) for case, (says, build) in LEGACIES.items()},
    **{
        f"pickle: {case}": Case(
            ".ckpt", says, lambda body=body: torch_zip(pickled(body), None if b"Storage" in body else {})
        )
        for case, (says, body) in PICKLES.items()
    },
}
