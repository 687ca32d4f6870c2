import base64
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from gptmock.dialects.token_estimate import estimated_text_tokens, estimated_tokens
from gptmock.dialects.tool_declarations import declaration
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
    assert tokens(InputImage(url)) == expected + 7
    assert tokens(InputImage("https://example.test/a.png")) == 1105 + 7


@pytest.mark.check(235)
def test_a_document_counts_by_its_pages():
    pdf = b"%PDF-1.4 /Type /Pages /Type /Page /Type/Page"
    url = f"data:application/pdf;base64,{base64.b64encode(pdf).decode()}"
    assert tokens(InputFile(url)) == 3000 + 7
    assert tokens(InputFile(file_url="https://example.test/a")) == 1500 + 7


LIVE = json.loads((Path(__file__).parents[1] / "live_exchanges.json").read_text(encoding="utf-8"))
COUNTED = [
    (one["request_body"], int(re.findall(r'"usage":\{"input_tokens":(\d+)', one["response_body"])[-1]))
    for one in LIVE["exchanges"]
    if one["status"] == 200
]


def as_messages(body):
    """A recorded request as a Messages request that asks the same."""
    messages = [
        {"role": item["role"], "content": [{"type": "text", "text": part["text"]} for part in item["content"]]}
        for item in body["input"]
    ]
    tools = [
        {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"], "strict": True}
        for tool in body.get("tools", [])
    ]
    schema = body.get("text", {}).get("format", {}).get("schema")
    wanted = {"output_config": {"format": {"type": "json_schema", "schema": schema}}} if schema else {}
    return {"messages": messages, **({"tools": tools} if tools else {}), **wanted}


@pytest.mark.check(235)
@pytest.mark.parametrize(("body", "recorded"), COUNTED, ids=[str(tokens) for _, tokens in COUNTED])
def test_counts_are_near_the_recorded_ones(body, recorded):
    request = understood(as_messages(body)).request
    by_table = estimated_tokens(request, LIVE["o200k_tokens"].__getitem__)
    assert abs(by_table - recorded) <= 0.1 * recorded
    assert 0.95 * recorded <= estimated_tokens(request) <= 1.4 * recorded


def test_a_tool_is_counted_as_the_type_that_the_model_reads():
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "unit": {"enum": ["c", "f"]},
            "at": {"type": ["number", "null"], "minimum": 0},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/t"}},
            "place": {"anyOf": [{"type": "object", "properties": {"x": {"const": 1}}}, {"type": "null"}]},
            "odd": True,
        },
        "required": ["city"],
    }
    tool = {"type": "function", "name": "f", "description": "Says\nit.", "parameters": schema}
    assert declaration(tool) == (
        '// Says\n// it.\ntype f = (_: {\n// Where.\ncity: string,\nunit?: "c" | "f",\n'
        'at?: number | null // {"minimum":0}\n,\ntags?: #/$defs/t[],\nplace?: {\nx?: 1,\n} | null,\n'
        "odd?: true,\n}) => any;\n\n"
    )
    assert declaration({**tool, "parameters": {"type": "object"}}).endswith("type f = () => any;\n\n")
    assert declaration({"type": "web_search"}) == '{"type":"web_search"}'
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    assert '"properties"' in declaration({**tool, "parameters": deep})


def test_all_that_goes_upstream_counts():
    small = estimated_tokens(understood({}).request)
    for more in (
        {"system": "word " * 50},
        {"tools": [TOOL]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"messages": [{"role": "user", "content": "word " * 50}]},
    ):
        assert estimated_tokens(understood(more).request) > small + 5
    assert tokens(InputText("word " * 20)) == 21 + 7


@pytest.mark.parametrize(("name", "text", "o200k"), TEXTS, ids=[name for name, _, _ in TEXTS])
def test_a_long_text_is_estimated_by_pieces(name, text, o200k):
    many = 100_000 // len(text) + 1
    assert 0.95 * o200k * many <= estimated_text_tokens(text * many) <= 2 * o200k * many, name


def test_a_counter_of_texts_can_be_given():
    request = understood({"system": "abc", "tools": [TOOL]}).request
    assert json.loads(request.to_json())["instructions"] == "abc"
    assert estimated_tokens(request, lambda _: 0) == 3 + 4 + 13
