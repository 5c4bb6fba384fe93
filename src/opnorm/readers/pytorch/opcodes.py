"""The opcodes of pickle's protocols 2 to 5, by the byte that stands for them, and what follows each in the file."""

from __future__ import annotations

import struct

REFUSED = {
    b"i": "INST",
    b"o": "OBJ",
    b"\x81": "NEWOBJ",
    b"\x92": "NEWOBJ_EX",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"P": "PERSID",
    b"0": "POP",
    b"1": "POP_MARK",
    b"2": "DUP",
    b"\x97": "NEXT_BUFFER",
    b"\x98": "READONLY_BUFFER",
    b"I": "INT",
    b"L": "LONG",
    b"F": "FLOAT",
    b"S": "STRING",
    b"V": "UNICODE",
    b"g": "GET",
    b"p": "PUT",
    b"d": "DICT",
    b"l": "LIST",
}
CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
FIXED = {b"J": struct.Struct("<i"), b"K": struct.Struct("<B"), b"M": struct.Struct("<H"), b"G": struct.Struct(">d")}
SIZED = {
    b"X": (4, "text"),
    b"\x8c": (1, "text"),
    b"\x8d": (8, "text"),
    b"T": (4, "old text"),
    b"U": (1, "old text"),
    b"B": (4, "bytes"),
    b"C": (1, "bytes"),
    b"\x8e": (8, "bytes"),
    b"\x96": (8, "bytes"),
    b"\x8a": (1, "whole"),
    b"\x8b": (4, "whole"),
}
"""Opcode → (bytes of its length, what follows)."""

TUPLES = {b")": 0, b"\x85": 1, b"\x86": 2, b"\x87": 3}
