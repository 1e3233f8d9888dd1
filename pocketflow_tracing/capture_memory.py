"""Whose memory it is that the libraries of frames refer to: a mapped file may have been cut, and who reads it then is ended.

NumPy says what an array's memory belongs to. Arrow and Polars do not, so the system is asked: Linux by two files of /proc
(see proc_pid_pagemap(5) and proc_pid_maps(5)), in some microseconds; elsewhere nobody tells.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Any

from . import _system
from ._guard import Tolerating

__all__ = ["are_of_files", "buffers_of"]

_ENTRY = 8
"""Bytes that say of one page what it is."""
_PRESENT, _SWAPPED, _OF_A_FILE = 1 << 63, 1 << 62, 1 << 61


def are_of_files(columns: list[list[int]]) -> list[bool]:
    """Tell which columns stand in memory of a mapped file, or in such that is shared with other processes.

    Args:
        columns: addresses of each.
    """
    if sys.platform != "linux":
        return [False] * len(columns)
    pages = -1
    with Tolerating(OSError):  # a sandbox may not show it
        pages = _system.open_number("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    if pages < 0:
        return [any(map(_is_in_mapping, addresses)) for addresses in columns]
    try:
        return [any(_is_of_a_file(pages, address) for address in addresses) for addresses in columns]
    finally:
        _system.close_number(pages)


def _is_of_a_file(pages: int, address: int) -> bool:
    said = int.from_bytes(os.pread(pages, _ENTRY, address // mmap.PAGESIZE * _ENTRY), sys.byteorder)
    # one that nobody has touched yet is none
    return bool(said & _OF_A_FILE) if said & (_PRESENT | _SWAPPED) else _is_in_mapping(address)


def _is_in_mapping(address: int) -> bool:
    mappings = b""
    with Tolerating(OSError):
        mappings = Path("/proc/self/maps").read_bytes()
    for mapping in mappings.splitlines():
        place, _rights, _offset, _device, file, *_ = mapping.split()
        begin, _, end = place.partition(b"-")
        if int(begin, 16) <= address < int(end, 16):
            return file != b"0"
    return False


def buffers_of(array: Any) -> list[int]:
    """Where the memory of an Arrow array begins.

    Args:
        array: a `pyarrow.Array` or `ChunkedArray`.
    """
    found: list[int] = []
    for chunk in getattr(array, "chunks", None) or (array,):
        found += [buffer.address for buffer in chunk.buffers() if buffer is not None and buffer.size]
        words = getattr(chunk, "dictionary", None)
        if words is not None:
            found += buffers_of(words)
    return found
