"""
Multipart forms (RFC 7578) as their parts, bounded. Sanic takes the parts apart; what it would lose silently, or take
long for, is refused before. Knows no field by name.
"""

from __future__ import annotations

import re

from sanic.headers import parse_content_header
from sanic.request.form import parse_multipart_form

from gptmock.dialects.forms import Form, FormFile
from gptmock.errors import BadRequest

FORM_TYPE = "multipart/form-data"
MAX_PARTS = 64
MAX_PART_HEAD_BYTES = 4096
"""The headers of one part: name, file name and content type."""
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]\Z")
"""RFC 2046 5.1.1."""


def is_form(content_type: str) -> bool:
    """Whether this is the content type of a multipart form."""
    return content_type.partition(";")[0].strip().lower() == FORM_TYPE


def read_form(body: bytes, content_type: str) -> Form:
    """
    Take a form apart.

    Args:
        body: as it was sent; its size is bounded as that of any body.
        content_type: the header, whose type is ``FORM_TYPE``.

    Raises:
        BadRequest: ``invalid_form``, it is no whole form, or has too many or too long parts.
    """
    boundary = str(parse_content_header(content_type)[1].get("boundary") or "")
    if not _BOUNDARY.match(boundary):
        raise _unreadable("the header Content-Type has no valid boundary")
    _check(body, boundary.encode())
    try:
        fields, files = parse_multipart_form(body, boundary.encode())  # type: ignore[no-untyped-call] # Sanic's
    except (ValueError, LookupError) as error:
        raise _unreadable("the headers or the text of a part cannot be read") from error
    return Form(
        tuple((name, text) for name, texts in fields.items() for text in texts),
        tuple(FormFile(name, file.name, file.type, file.body) for name, several in files.items() for file in several),
    )


def _check(body: bytes, boundary: bytes) -> None:
    """Check that every part ends, and that no boundary stands where Sanic would find one and the standard does not."""
    delimiter = b"--" + boundary
    place, parts = body.find(delimiter), 0
    while place >= 0:
        after = place + len(delimiter)
        if body.startswith(b"--", after):
            if body.count(boundary) != parts + 1:
                raise _unreadable("its boundary stands within the data")
            return
        parts += 1
        if parts > MAX_PARTS:
            raise _unreadable(f"it has more than {MAX_PARTS} parts")
        head_end = body.find(b"\r\n\r\n", after, after + MAX_PART_HEAD_BYTES)
        if head_end < 0:
            raise _unreadable("the headers of a part do not end, or are too long")
        # The line end before a delimiter belongs to it; a part without data has that of its headers.
        place = body.find(b"\r\n" + delimiter, head_end + 2)
        place += 2 if place >= 0 else 0
    raise _unreadable("it ends before its last boundary")


def _unreadable(reason: str) -> BadRequest:
    return BadRequest(f"The multipart form cannot be read: {reason}.", code="invalid_form")
