"""Reads of image data what its headers say: format, size in pixels, whether it is all there. Decodes no pixel."""

from __future__ import annotations

import struct

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_END = b"IEND"
_PNG_CHUNK_BYTES = 12
"""Of a chunk without data: length, name and checksum."""
_JPEG_SCAN = 0xDA
"""The marker that pixels follow."""
_JPEG_END = b"\xff\xd9"
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""


def whole_image_format(data: bytes | bytearray) -> str | None:
    """
    The format of an image, ``png``, ``jpeg`` or ``webp``; ``None`` for anything else, and for one that is cut.

    Whatever follows the image is tolerated: cameras append films and thumbnails.
    """
    if data.startswith(PNG_MAGIC):
        return "png" if _is_whole_png(data) else None
    if data.startswith(JPEG_MAGIC):
        return "jpeg" if _is_whole_jpeg(data) else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp" if len(data) >= 8 + int.from_bytes(data[4:8], "little") else None
    return None


def _is_whole_png(data: bytes | bytearray) -> bool:
    place = len(PNG_MAGIC)
    while place + _PNG_CHUNK_BYTES <= len(data):
        name, end = (
            data[place + 4 : place + 8],
            place + _PNG_CHUNK_BYTES + int.from_bytes(data[place : place + 4], "big"),
        )
        if name == _PNG_END:
            return end <= len(data)
        place = end
    return False


def _is_whole_jpeg(data: bytes | bytearray) -> bool:
    # The end marker is looked for behind the headers, in which a thumbnail has one of its own.
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _JPEG_SCAN:
            return data.find(_JPEG_END, place) >= 0
        if marker == 0xFF:
            place += 1
        elif marker in _JPEG_BARE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, of a PNG, GIF, JPEG or WebP image."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return struct.unpack(">II", data[16:24])
    if data.startswith(b"GIF8") and len(data) >= 10:
        return struct.unpack("<HH", data[6:10])
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    return _webp_size(data) if data[8:12] == b"WEBP" and len(data) >= 30 else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
