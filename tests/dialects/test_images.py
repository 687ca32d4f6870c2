import base64
import random

import pytest

from gptmock.dialects.image_urls import image_address
from gptmock.errors import BadRequest

PNG = b"\x89PNG\r\n\x1a\n"
LONG_BYTES = 1_000_000
"""Checked in several pieces."""


def image(size: int = LONG_BYTES) -> str:
    return base64.b64encode(PNG + random.Random(size).randbytes(size - len(PNG))).decode()


def is_accepted(url: str) -> bool:
    try:
        return bool(image_address(url, within="image"))
    except BadRequest:
        return False


def is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


@pytest.mark.parametrize("size", [8, 9, 10, 196_607, 196_608, 196_609, LONG_BYTES, LONG_BYTES + 1, LONG_BYTES + 2])
def test_an_image_of_any_size_is_passed_on_unchanged(size):
    data = image(size)
    assert image_address(data, within="image") == f"data:image/png;base64,{data}"
    url = f"data:image/webp;charset=x;base64,{data}"
    assert image_address(url, within="image") is url


@pytest.mark.parametrize("wrong", ["=", "!", "\n", " ", "-", "_", "é", "\udc80", ",", "AA", "A==="])
def test_base64_is_checked_everywhere(wrong):
    data = image()
    places = [0, 1, 4, 262_143, 262_144, 262_145, 524_288, 600_001, len(data) - 5, len(data) - 1, len(data)]
    for place in places:
        changed = data[:place] + wrong + data[place:]
        replaced = data[:place] + wrong + data[place + len(wrong) :]
        for text in (changed, replaced, changed[:262_144], changed[:262_148], changed[: 262_144 + len(wrong)]):
            assert is_accepted(f"data:image/png;base64,{text}") == is_base64(text), (place, len(text))


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("data:image/png,AAAA", True),
        ("data:image/png;a=b;c,AAAA", True),
        ("data:image/png;base64,AAAA,AAAA", False),
        ("data:image/png;base64", False),
        ("data:image/png;base64,", False),
        ("data:,AAAA", False),
        ("data:ima,ge/png;base64,AAAA", False),
        ("data:;image/png,AAAA", False),
        ("data:text/plain;base64,AAAA", False),
        ("data:" + "x" * LONG_BYTES, False),
        ("data:" + ";" * LONG_BYTES, False),
        ("A" * LONG_BYTES, False),
        ("", False),
    ],
)
def test_only_images_are_accepted(url, accepted):
    assert is_accepted(url) is accepted


def test_the_refusal_names_the_place():
    with pytest.raises(BadRequest) as caught:
        image_address("!", within="messages[0]")
    assert (caught.value.code, caught.value.param) == ("invalid_image", "messages[0]")
