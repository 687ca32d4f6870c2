"""Converts images of requests to the URLs that the upstream accepts."""

from __future__ import annotations

import base64
import binascii
import re

from gptmock.errors import BadRequest

_DATA_URL = re.compile(r"data:(?P<mime>[^;,]*)(?P<parameters>(?:;[^;,]*)*),(?P<data>.*)\Z", re.DOTALL)
_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


def image_address(url: str, *, within: str) -> str:
    """
    The image as a URL: an http(s) URL unchanged, a data URL if it is valid, bare base64 as a data URL whose media type
    is detected from magic bytes.

    Raises:
        BadRequest: ``invalid_image``, for anything else.
    """
    if url.startswith(("https://", "http://")):
        return url
    if match := _DATA_URL.match(url):
        if not match["mime"].startswith("image/") or _decoded(match["data"]) is None:
            raise _no_image(within)
        return url
    data = _decoded(url)
    mime = next((mime for mime, magic in _MAGIC.items() if data and data.startswith(magic)), None)
    if mime is None:
        raise _no_image(within)
    return f"data:{mime};base64,{url}"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _no_image(param: str) -> BadRequest:
    return BadRequest(
        "The image is neither an http(s) URL nor base64 data of a PNG, JPEG, GIF or WebP image.",
        code="invalid_image",
        param=param,
    )
