from __future__ import annotations

import base64

import pytest

from gptmock.dialects.image_data import image_size, whole_image_format
from gptmock.simulator.pictures import picture

IMAGES = {kind: base64.b64decode(picture("64x32", kind)) for kind in ("png", "jpeg", "webp")}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_whole_image_is_one_and_no_beginning_of_it(kind):
    data = IMAGES[kind]
    assert whole_image_format(data) == kind
    # What cameras append is no fault.
    assert whole_image_format(data + b"\0film" * 100) == kind
    # The last byte of a RIFF file may be padding.
    assert not any(whole_image_format(data[:end]) for end in range(len(data)))


@pytest.mark.parametrize("kind", IMAGES)
def test_its_size_stands_in_its_head(kind):
    assert image_size(IMAGES[kind]) == ((64, 32) if kind == "png" else (1, 1))


def test_a_thumbnail_does_not_end_its_image():
    thumbnail = IMAGES["jpeg"]
    head = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = IMAGES["jpeg"][:2] + head + IMAGES["jpeg"][2:]
    assert whole_image_format(data) == "jpeg"
    assert whole_image_format(data[:-2]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"GIF89a" + bytes(20),
        b"RIFF\x04\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 20,
        b"\xff\xd8\xff" + b"\xff" * 20,
        b"\xff\xd8\xff\xd8\xff\xd9",
    ],
)
def test_anything_else_is_none(data):
    assert whole_image_format(data) is None
    assert image_size(data[:8]) is None
