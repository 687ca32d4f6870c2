import base64
import json
import struct
from pathlib import Path

import pytest

from gptmock.dialects.token_estimate import estimated_text_tokens, estimated_tokens
from gptmock.protocol.request import InputFile, InputImage, InputText, Message, ResponsesRequest
from tests.dialects.messages.asked import TOOL, understood

KNOWN = json.loads(Path(__file__).with_name("token_texts.json").read_text(encoding="utf-8"))["texts"]
TEXTS = [(one["name"], one["text"], one["tokens"]) for one in KNOWN]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1000, 600)
GIF = b"GIF89a" + struct.pack("<HH", 10, 10)
JPEG = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08" + struct.pack(">HH", 512, 513)
WEBP = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (99).to_bytes(3, "little") + (99).to_bytes(3, "little")


def tokens(*parts):
    return estimated_tokens(ResponsesRequest(model="m", input=[Message("user", list(parts))], prompt_cache_key="k"))


@pytest.mark.check(362)
@pytest.mark.parametrize(("name", "text", "o200k"), TEXTS, ids=[name for name, _, _ in TEXTS])
def test_an_estimate_is_never_much_too_low(name, text, o200k):
    estimate = estimated_text_tokens(text)
    assert estimate >= 0.95 * o200k, name
    assert estimate <= 2 * o200k + 2, name


@pytest.mark.check(235)
@pytest.mark.parametrize(
    ("data", "kind", "expected"),
    [
        (PNG, "png", 85 + 170 * 4),
        (GIF, "gif", 85 + 170),
        (JPEG, "jpeg", 85 + 170 * 2),
        (WEBP, "webp", 85 + 170),
        (b"odd", "png", 1105),
        (b"\xff\xd8", "jpeg", 1105),
    ],
)
def test_an_image_counts_by_its_size(data, kind, expected):
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    assert tokens(InputImage(url)) == expected + 4
    assert tokens(InputImage("https://example.test/a.png")) == 1105 + 4


@pytest.mark.check(235)
def test_a_document_counts_by_its_pages():
    pdf = b"%PDF-1.4 /Type /Pages /Type /Page /Type/Page"
    url = f"data:application/pdf;base64,{base64.b64encode(pdf).decode()}"
    assert tokens(InputFile(url)) == 3000 + 4
    assert tokens(InputFile(file_url="https://example.test/a")) == 1500 + 4


def test_all_that_goes_upstream_counts():
    small = estimated_tokens(understood({}).request)
    for more in (
        {"system": "word " * 50},
        {"tools": [TOOL]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"messages": [{"role": "user", "content": "word " * 50}]},
    ):
        assert estimated_tokens(understood(more).request) > small + 8
    assert tokens(InputText("word " * 20)) == 21 + 4


@pytest.mark.parametrize(("name", "text", "o200k"), TEXTS, ids=[name for name, _, _ in TEXTS])
def test_a_long_text_is_estimated_by_pieces(name, text, o200k):
    many = 100_000 // len(text) + 1
    assert 0.95 * o200k * many <= estimated_text_tokens(text * many) <= 2 * o200k * many, name


def test_a_counter_of_texts_can_be_given():
    request = understood({"system": "abc", "tools": [TOOL]}).request
    assert json.loads(request.to_json())["instructions"] == "abc"
    assert estimated_tokens(request, lambda _: 0) == 4 + 8
