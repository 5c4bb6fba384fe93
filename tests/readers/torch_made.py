"""PyTorch files put together opcode by opcode and record by record, sound or not."""

import functools
import io
import pickle
import struct
import zipfile

import numpy as np
import torch
from hostile import npz

# ------------------------------------------------------------------ pickles

MARKER = "opnorm-was-here"


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value):
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*values):
    return b"(" + b"".join(values) + b"t"


def wholes(*values):
    return tuple_of(*map(whole, values))


def call(function, *args):
    return function + tuple_of(*args) + b"R"


def state(**values):
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def pickled(body, protocol=2):
    return bytes([0x80, protocol]) + body + b"."


ORDERED = call(name("collections", "OrderedDict"))
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
OPEN = name("io", "open")
RUN = call(OPEN, text(MARKER), text("w"))
"""What a payload would do: leave a file where the process is."""


def storage(key="0", kind="FloatStorage", count=4, tag="storage"):
    return tuple_of(text(tag), name("torch", kind), text(key), text("cpu"), whole(count)) + b"Q"


def tensor(size=(2, 2), stride=(2, 1), offset=0, place=None, **more):
    given = {"grad": b"\x89", "hooks": ORDERED} | more
    return call(REBUILD, place or storage(), whole(offset), wholes(*size), wholes(*stride), *given.values())


SOUND = pickled(state(a=tensor()))
DATA = np.arange(4, dtype=np.float32).tobytes()

# ------------------------------------------------------------------ the two forms of file


def torch_zip(data=SOUND, storages=None, extra=(), method=zipfile.ZIP_STORED, folder="archive"):
    """An archive as torch.save writes it, but for what is asked for."""
    members = [(f"{folder}/data.pkl", data), (f"{folder}/byteorder", b"little"), (f"{folder}/version", b"3\n")]
    members += [(f"{folder}/data/{key}", raw) for key, raw in ({"0": DATA} if storages is None else storages).items()]
    return npz([*members, *extra], method)


def torch_legacy(
    data=SOUND, storages=None, keys=None, magic=0x1950A86A20F9469CFC6C, protocol=1001, machine=None, after=b""
):
    """Five pickles and the storages; a part that is bytes is put in as it is."""
    storages = {"0": (4, DATA)} if storages is None else storages
    machine = {"protocol_version": 1001, "little_endian": True} if machine is None else machine
    heads = [magic, protocol, machine]
    head = b"".join(part if isinstance(part, bytes) else pickle.dumps(part, 2) for part in heads)
    keys = pickle.dumps(list(storages), 2) if keys is None else keys
    raw = b"".join(struct.pack("<q", count) + content for count, content in storages.values())
    return head + data + keys + raw + after


def object_of(body):
    return torch_zip(pickled(body))


@functools.cache
def saved_zip():
    """What torch.save itself writes, with records behind its members."""
    file = io.BytesIO()
    torch.save({"a": torch.arange(4.0), "b": torch.ones(2)}, file)
    return file.getvalue()


LOCAL, CENTRAL, END, BEHIND = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\10"
