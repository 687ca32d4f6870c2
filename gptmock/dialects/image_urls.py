"""Images as URLs: those of requests as the upstream accepts them, and those that it has made."""

from __future__ import annotations

import base64
import binascii
import string

from gptmock.errors import BadRequest

_SCHEME = "data:"
_ALPHABET = string.ascii_letters.encode() + string.digits.encode() + b"+/"
_QUAD = 4
"""Characters of base64 that are decoded together."""
_PIECE_CHARACTERS = 256 * 1024
"""Of a long text at a time: a step over all of an image of 20 MB would hold up the whole process. Whole quads."""
_MAGIC_CHARACTERS = 16
"""These decode to more bytes than any entry of ``_MAGIC`` has."""
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
    comma = url.find(",") if url.startswith(_SCHEME) else -1
    if comma >= 0:
        if not url.startswith("image/", len(_SCHEME)) or not _is_base64(url, begin=comma + 1):
            raise _no_image(within)
        return url
    kind = format_of(url) if _is_base64(url) else None
    if kind is None:
        raise _no_image(within)
    return f"data:image/{kind};base64,{url}"


def format_of(data: str) -> str | None:
    """
    The format of an image by its magic bytes, as ``png``.

    Args:
        data: base64, of which only the beginning is read.
    """
    try:
        beginning = base64.b64decode(data[:_MAGIC_CHARACTERS])
    except (binascii.Error, ValueError):
        return None
    mime = next((mime for mime, magic in _MAGIC.items() if beginning.startswith(magic)), None)
    return None if mime is None else mime.removeprefix("image/")


def made_image_url(data: str, output_format: str | None) -> str:
    """
    An image that the upstream has made, as a data URL.

    Args:
        data: base64.
        output_format: what the upstream says it is; its magic bytes are believed before.
    """
    return f"data:image/{format_of(data) or output_format or 'png'};base64,{data}"


def _is_base64(text: str, *, begin: int = 0) -> bool:
    """Whether the text from ``begin`` on is base64 of at least one byte."""
    place = begin
    try:
        while len(text) - place > _PIECE_CHARACTERS:
            if text[place : place + _PIECE_CHARACTERS].encode("ascii").translate(None, _ALPHABET):
                return False
            place += _PIECE_CHARACTERS
        # Padding is judged with the quad before it.
        return bool(base64.b64decode(text[max(begin, place - _QUAD) :], validate=True))
    except (binascii.Error, ValueError):
        return False


def _no_image(param: str) -> BadRequest:
    return BadRequest(
        "The image is neither an http(s) URL nor base64 data of a PNG, JPEG, GIF or WebP image.",
        code="invalid_image",
        param=param,
    )
