"""Images that the simulator makes and takes: real PNG files of any size, one small JPEG and WebP. Pure."""

import base64
import binascii
import hashlib
import math
import re
import struct
import zlib

MAX_PIXELS = 1_572_864
"""What the backend makes at most, whatever was asked for: 1536 x 1024."""
DEFAULT_SIZE = "1024x1024"
SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="  # a 1x1 PNG
_JPEG = (
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJDRENDg8QEBEQCgwS"
    "ExIQEw8QEBD/yQALCAABAAEBAREA/8wABgAQEAX/2gAIAQEAAD8A0s8g/9k="
)
_WEBP = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def picture(size: str | None, output_format: str | None = None, *, seed: str = "", noise_bytes: int = 0) -> str:
    """
    An image as base64.

    Args:
        size: as ``1024x1024``; scaled down to ``MAX_PIXELS``. ``auto`` and None are ``DEFAULT_SIZE``.
        output_format: ``png`` by default. A ``jpeg`` and a ``webp`` are always one pixel.
        seed: of the colour.
        noise_bytes: added to a PNG, in a chunk that no reader looks at.
    """
    if output_format in ("jpeg", "webp"):
        return _JPEG if output_format == "jpeg" else _WEBP
    width, height = made_size(size)
    colour = hashlib.sha256(seed.encode()).digest()[:3]
    rows = (b"\0" + colour * width) * height
    noise = _chunk(b"noIs", hashlib.shake_256(seed.encode()).digest(noise_bytes)) if noise_bytes else b""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = _PNG_HEAD + _chunk(b"IHDR", head) + noise + _chunk(b"IDAT", zlib.compress(rows, 1)) + _chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


def made_size(size: str | None) -> tuple[int, int]:
    """Width and height of the image that is made when ``size`` is asked for."""
    found = SIZE.fullmatch(size or "") or SIZE.fullmatch(DEFAULT_SIZE)
    assert found is not None  # noqa: S101 - the default fits
    width, height = int(found[1]), int(found[2])
    scale = min(1.0, math.sqrt(MAX_PIXELS / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def is_picture(url: object) -> bool:
    """Whether a data URL holds a whole PNG, JPEG or WebP image."""
    if not isinstance(url, str) or not url.startswith("data:image/") or ";base64," not in url:
        return False
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        return False
    if data.startswith(_PNG_HEAD):
        return data.endswith(_chunk(b"IEND", b""))
    if data.startswith(b"\xff\xd8\xff"):
        return data.endswith(b"\xff\xd9")
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
