"""The images of an edit: checked before anything is spent, as data URLs for the upstream."""

from __future__ import annotations

import base64
import binascii

from gptmock.dialects.bodies import missing
from gptmock.dialects.forms import FormFile
from gptmock.dialects.image_data import whole_image_format
from gptmock.dialects.images.types import EditedImage
from gptmock.errors import BadRequest

MAX_IMAGES = 5
MAX_IMAGE_BYTES = 20 * 1024 * 1024
_HEAD_CHARACTERS = 64
"""Of a data URL, up to its comma."""
_FORM_NAMES = ("image", "image[]")
_BLOCK_BYTES = 3 * 64 * 1024
"""Encoded or decoded in one step, which holds the interpreter lock (GIL). Whole groups of three."""
_MAX_PADDING = 2
_BLOCK_CHARACTERS = _BLOCK_BYTES // 3 * 4


def is_image_field(name: str) -> bool:
    """Whether a file of this name in a form is an image to change."""
    return name in _FORM_NAMES


def form_image_urls(files: list[FormFile]) -> list[str]:
    """
    The images of a form as data URLs.

    Raises:
        BadRequest: there is none, there are too many, or one is no whole image.
    """
    _check_count(len(files), "image")
    return [_form_url(file, f"image[{place}]") for place, file in enumerate(files)]


def json_image_urls(images: list[EditedImage] | None) -> list[str]:
    """
    The images of a JSON body as data URLs.

    Raises:
        BadRequest: as ``form_image_urls``, or one is not given as a data URL.
    """
    _check_count(len(images or ()), "images")
    return [_json_url(image, f"images[{place}]") for place, image in enumerate(images or ())]


def _check_count(count: int, param: str) -> None:
    if count == 0:
        raise missing(param)
    if count > MAX_IMAGES:
        raise BadRequest(f"'{param}' can hold at most {MAX_IMAGES} images.", param=param)


def _json_url(image: EditedImage, within: str) -> str:
    if image.file_id is not None:
        raise BadRequest(
            "There is no files API here: send the image itself, as a data URL in 'image_url'.",
            code="unsupported_content_type",
            param=f"{within}.file_id",
        )
    param, url = f"{within}.image_url", image.image_url
    if url is None:
        raise missing(param)
    head, comma, _ = url[:_HEAD_CHARACTERS].partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise _invalid("it must be a data URL, such as data:image/png;base64,...; addresses are not fetched", param)
    begin = len(head) + 1
    if (len(url) - begin) // 4 * 3 > MAX_IMAGE_BYTES:
        raise _too_large(param)
    data = _decoded(url, begin, param)
    kind = _kind_of(data, param)
    return url if head == f"data:image/{kind};base64" else f"data:image/{kind};base64,{url[begin:]}"


def _kind_of(data: bytes | bytearray, param: str) -> str:
    if len(data) > MAX_IMAGE_BYTES:
        raise _too_large(param)
    kind = whole_image_format(data)
    if kind is None:
        raise _invalid("it is not a whole PNG, JPEG or WebP image", param)
    return kind


def _form_url(file: FormFile, param: str) -> str:
    data = file.data
    url = bytearray(b"data:image/%b;base64," % _kind_of(data, param).encode())
    for place in range(0, len(data), _BLOCK_BYTES):
        url += base64.b64encode(data[place : place + _BLOCK_BYTES])
    return url.decode()


def _decoded(url: str, begin: int, param: str) -> bytearray:
    # Joined at the end, the blocks would be held twice.
    data = bytearray()
    try:
        for place in range(begin, len(url), _BLOCK_CHARACTERS):
            data += base64.b64decode(url[place : place + _BLOCK_CHARACTERS], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("its base64 cannot be decoded", param) from error
    if 0 <= url.find("=", begin) < len(url) - _MAX_PADDING:
        raise _invalid("its base64 goes on behind its end", param)
    return data


def _invalid(reason: str, param: str) -> BadRequest:
    return BadRequest(f"Invalid image in '{param}': {reason}.", code="invalid_image", param=param)


def _too_large(param: str) -> BadRequest:
    limit = MAX_IMAGE_BYTES // (1024 * 1024)
    return BadRequest(f"The image in '{param}' is larger than {limit} MB.", code="image_too_large", param=param)
