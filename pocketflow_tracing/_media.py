"""Images, audio and PDFs inside of values, shown as type and size.

They are found by their first bytes, as data URIs, or as the base64 that APIs of LLMs take.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import NamedTuple

from ._time import sleep
from .records import Json

__all__ = ["BEGINNINGS", "Made", "Medium", "medium", "mime_of_bytes", "mime_of_text", "size_of_text", "summary"]

SENDABLE = frozenset({
    "image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif", "image/svg+xml", "image/tiff", "image/bmp",
    "image/avif", "image/heic", "audio/mpeg", "audio/mp3", "audio/wav", "audio/ogg", "audio/oga", "audio/aac",
    "audio/mp4", "audio/flac", "audio/opus", "audio/webm", "application/pdf",
})  # fmt: skip
"""The types of these kinds that Langfuse takes (`langfuse.api.MediaContentType`)."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
_BOXES = {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"M4A ": "audio/mp4"}
BEGINNINGS = frozenset({"data", "iVBO", "/9j/", "R0lG", "JVBE", "UklG", "SUQz", "T2dn", "Zkxh"})
"""How a text may begin that holds a medium: a data URI, or the base64 of one of the beginnings above."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{256}").match
_LONGEST_HEADER = 200
_PIECE = 1 << 18
"""Characters of base64 that are decoded before other threads may run, about 0.3 ms."""


class Medium(NamedTuple):
    """One image, sound or PDF that stands in a record as its summary.

    Args:
        id: of its content, as the Langfuse SDK makes it: two of the same content are one there.
        hash: SHA-256 of the content, base64.
        mime: its type.
        size: of the content, bytes.
        content: the bytes.
        source: "bytes" or "base64_data_uri", what the user's program held.
    """

    id: str
    hash: str
    mime: str
    size: int
    content: bytes
    source: str

    @property
    def reference(self) -> str:
        """The text that stands for it in Langfuse (`langfuse.media.LangfuseMedia`)."""
        return f"@@@langfuseMedia:type={self.mime}|id={self.id}|source={self.source}@@@"


def mime_of_bytes(content: bytes) -> str | None:
    """The type that bytes are of by how they begin, None for anything that is no image, sound or PDF."""
    for magic, mime in _MAGIC:
        if content.startswith(magic):
            return mime
    if content.startswith(b"RIFF"):
        return _RIFF.get(content[8:12])
    if content[4:8] == b"ftyp":
        return _BOXES.get(content[8:12])
    if content.startswith(b"BM") and content[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return None


def mime_of_text(text: str) -> str | None:
    """The type of a medium that a text holds, as a data URI or as bare base64, None for any other text."""
    if text.startswith("data:"):
        return _mime_of_uri(text)
    if text[:4] not in BEGINNINGS or _BASE64(text) is None:
        return None
    return mime_of_bytes(b64decode(text[:16]))


def _mime_of_uri(text: str) -> str | None:
    header, comma, _ = text[5:_LONGEST_HEADER].partition(",")
    parts = header.lower().split(";")
    if not comma or "base64" not in parts[1:]:
        return None
    mime = parts[0].strip()
    return mime if mime.startswith(("image/", "audio/")) or mime == "application/pdf" else None


def size_of_text(text: str, size: int | None = None) -> int:
    """About the bytes that a data URI or base64 holds, not decoded; `size` is its own where only its beginning is here."""
    if size is not None:
        return (size - _start(text)) * 3 // 4
    return (len(text) - _start(text)) * 3 // 4 - text[-2:].count("=")


def _start(text: str) -> int:
    return text.index(",") + 1 if text.startswith("data:") else 0


def summary(mime: str, size: int) -> dict[str, Json]:
    """What stands in a record in the place of a medium."""
    kind = "pdf" if mime == "application/pdf" else mime.partition("/")[0]
    return {"__type__": kind, "mime": mime, "size": size}


def medium(value: bytes | str, mime: str) -> Medium | None:
    """A medium ready to be sent, None when Langfuse does not take its type or the data URI cannot be decoded.

    Args:
        value: bytes, a data URI or base64.
        mime: their type.
    """
    if mime not in SENDABLE:
        return None
    content = value if isinstance(value, bytes) else _decoded(value)
    if not content:
        return None
    digest = b64encode(sha256(content).digest()).decode()
    source = "bytes" if isinstance(value, bytes) else "base64_data_uri"
    return Medium(digest.replace("+", "-").replace("/", "_")[:22], digest, mime, len(content), content, source)


class Made:
    """The media that have been made of a batch's values: one that many spans show is decoded once, and held once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes | str, str, Medium | None]] = {}  # by id of the value, which it keeps alive

    def medium(self, value: bytes | str, mime: str) -> Medium | None:
        """As the function of this name."""
        known = self._known.get(id(value))
        if known is None or known[1] != mime:
            known = self._known[id(value)] = value, mime, medium(value, mime)
        return known[2]


def _decoded(text: str) -> bytes | None:
    pieces = []
    try:
        for position in range(_start(text), len(text), _PIECE):
            pieces.append(b64decode(text[position : position + _PIECE].translate(_URL_SAFE), validate=True))
            sleep(0)  # an event loop must not feel a large image
    except (binascii.Error, ValueError):
        return None
    return b"".join(pieces)


_URL_SAFE = str.maketrans("-_", "+/")
