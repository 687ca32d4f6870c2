import hashlib
import random
import uuid
from typing import Any

import msgspec
import pytest

from gptmock.protocol.cache_key import client_cache_key, first_user_item, prompt_cache_key
from gptmock.protocol.request import (
    FunctionTool,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    Message,
    OutputText,
    Tool,
)

USER = Message("user", [InputText("hi")])
TOOL = FunctionTool("f", {}, strict=False)
BASE: dict[str, Any] = {"instructions": "i", "tools": [TOOL], "first_user_item": USER}


def test_the_key_is_a_uuid_of_36_characters():
    for key in (prompt_cache_key("t", **BASE), client_cache_key("t", "s")):
        assert len(key) == 36
        assert str(uuid.UUID(key)) == key
        assert uuid.UUID(key).version == 8
        assert uuid.UUID(key).variant == uuid.RFC_4122


def test_the_key_never_changes_between_versions():
    # Another key would make every conversation's cache cold once.
    assert prompt_cache_key("t", **BASE) == "fc60abff-f810-8e81-84bf-18076e1255d3"
    assert client_cache_key("t", "s") == "8ac04134-7081-8f88-b143-307a8cc2770a"


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "u"},
        {"instructions": "j"},
        {"tools": []},
        {"tools": [FunctionTool("g", {}, strict=False)]},
        {"first_user_item": Message("user", [InputText("ho")])},
        {"first_user_item": None},
    ],
    ids=repr,
)
def test_each_part_counts(change):
    parts: dict[str, Any] = {"tenant": "t", **BASE}
    assert prompt_cache_key(**parts) == prompt_cache_key(**dict(parts))
    assert prompt_cache_key(**{**parts, **change}) != prompt_cache_key(**parts)


@pytest.mark.check(108)
def test_no_two_pairs_of_tenant_and_session_meet():
    pairs = [("a", "bc"), ("ab", "c"), ('a","b', "c"), ("a", 'b","c'), ("", "abc"), ("abc", "")]
    assert len({client_cache_key(*pair) for pair in pairs}) == len(pairs)


def test_the_first_user_item_is_found_past_others_and_in_plain_objects():
    others: list[InputItem] = [Message("developer", [InputText("d")]), Message("assistant", [OutputText("a")])]
    plain = {"type": "message", "role": "user", "content": "hi"}
    assert first_user_item([*others, USER, Message("user", [InputText("later")])]) is USER
    assert first_user_item([*others, plain]) is plain
    assert first_user_item(others) is None
    assert first_user_item([]) is None


# --- Long texts, which are hashed in pieces --------------------------------------------------

LONG = "".join(random.Random(1).choices('ab"\\/\n\x00\x7f\u0085é\u2028\U0001f600', k=600_000))
LARGE_ITEMS: dict[str, InputItem] = {
    "text": Message("user", [InputText("a"), InputText(LONG), InputText(LONG[:262_144])]),
    "image": Message("user", [InputText("a"), InputImage(LONG), InputImage(LONG, "low")]),
    "file": Message("user", [InputFile(LONG, "name")]),
    "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": LONG, "é": None}, "x", {}]},
    "item with a text": {"role": "user", "content": LONG},
    "members of every type": {"role": "user", "content": LONG, "more": [1, -2.5, 1e300, True, None, [], {}, {"a": []}]},
}


@pytest.mark.parametrize("item", [*LARGE_ITEMS.values(), USER, None], ids=[*LARGE_ITEMS, "small", "none"])
@pytest.mark.parametrize("instructions", ["", LONG], ids=["short", "long"])
def test_the_key_of_a_long_conversation_is_the_hash_of_its_json(item: InputItem | None, instructions: str):
    tools: list[Tool] = [TOOL, {"type": "x", "parameters": {"a": [1, {}]}}]
    whole = b"prefix\0" + msgspec.json.encode(["t", instructions, tools, item])
    key = prompt_cache_key("t", instructions=instructions, tools=tools, first_user_item=item)
    digest = hashlib.sha256(whole).hexdigest()
    # Version and variant have six bits of their own.
    assert (key[:8], key[9:13], key[15:18], key[20:23], key[24:]) == (
        digest[:8],
        digest[8:12],
        digest[13:16],
        digest[17:20],
        digest[20:32],
    )
