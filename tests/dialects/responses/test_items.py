from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.responses.asked import refused, sent, understood

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
USER = {"role": "user", "content": "hi"}
BLOB = "gAAAAAabc"


def items(*given: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(list(given))["input"]
    return found


def passed(item: dict[str, Any]) -> Any:
    """One converted item, without checking that the backend accepts it."""
    return understood([item, USER]).request.input[0]


@pytest.mark.check(70)
def test_easy_messages_become_typed_ones():
    given: list[dict[str, Any]] = [
        {"role": "system", "content": "rules"},
        {"role": "developer", "content": [{"type": "text", "text": "more rules"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"role": "assistant", "content": "hello", "phase": "final_answer"},
        {"role": "assistant", "content": [{"type": "input_text", "text": "again"}]},
        {"role": "user", "content": "on"},
    ]
    found = items(*given)
    assert {item["type"] for item in found} == {"message"}
    assert [item["role"] for item in found] == ["developer", "developer", "user", "assistant", "assistant", "user"]
    assert [item["content"][0]["type"] for item in found] == [
        "input_text",
        "input_text",
        "input_text",
        "output_text",
        "output_text",
        "input_text",
    ]
    assert found[3]["phase"] == "final_answer"


@pytest.mark.check(71)
def test_thinking_passes_with_its_encrypted_form_and_not_without():
    bare = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]}
    whole = {**bare, "encrypted_content": BLOB, "status": None, "content": None}
    nameless = {"type": "reasoning", "id": None, "encrypted_content": BLOB}
    found = items(USER, bare, whole, nameless)
    assert found[1:] == [
        {**bare, "encrypted_content": BLOB},
        {"type": "reasoning", "encrypted_content": BLOB, "summary": []},
    ]


def test_the_output_of_a_turn_can_be_sent_back():
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
        "status": "completed",
        "caller": None,
        "created_by": "x",
        "parsed_arguments": {"a": 1},
        "namespace": "n",
    }
    output = {"type": "function_call_output", "id": None, "call_id": "c", "output": "done", "status": None}
    kept = {name: call[name] for name in ("type", "id", "call_id", "name", "arguments", "status")}
    assert items(USER, call, output)[1:] == [
        kept,
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]


def test_ids_that_are_not_the_upstreams_stay_here():
    foreign = {"role": "assistant", "content": "x", "id": "chatcmpl-1", "status": "completed"}
    own = {"role": "assistant", "content": "x", "id": "msg_1", "status": "completed"}
    call = {"type": "custom_tool_call", "id": "toolu_1", "call_id": "c", "name": "f", "input": "x"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "text", "text": "done"}]}
    found = items(USER, foreign, own, call, output)
    assert [item.get("id") for item in found] == [None, None, "msg_1", None, None]
    assert found[4]["output"] == [{"type": "input_text", "text": "done"}]


def test_arguments_as_an_object_become_text():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}}
    output = {"type": "function_call_output", "call_id": "c", "output": "done"}
    assert items(USER, call, output)[1]["arguments"] == '{"a":1}'


@pytest.mark.parametrize(
    "item",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PIXEL},
        {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec"}},
        {"type": "compaction", "encrypted_content": BLOB},
        {"type": "compaction_trigger"},
        {"type": "tool_search_call", "call_id": "c", "arguments": {}, "execution": "client"},
        {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": []},
        {"type": "hologram", "beam": "blue", "nothing": None},
    ],
    ids=lambda item: item["type"],
)
def test_other_items_pass_as_they_are(item: dict[str, Any]):
    assert passed(item) == item


def test_a_member_that_nobody_knows_passes():
    assert passed({**USER, "aura": "green"})["aura"] == "green"
    assert passed({"role": "user", "content": [{"type": "scent", "of": "rose"}]})["content"] == [
        {"type": "scent", "of": "rose"}
    ]


def test_images_and_files():
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low", "file_id": None}
    nested = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
    (message,) = items({"role": "user", "content": [image, nested, file, {"type": "text", "text": "see"}]})
    first, second, third, _ = message["content"]
    assert first == {name: image[name] for name in ("type", "image_url", "detail")}
    assert second == {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "high"}
    assert third == file


@pytest.mark.check(75, 81)
@pytest.mark.parametrize("item", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
@pytest.mark.parametrize("headers", [{}, {"user-agent": "codex_exec/0.169.0"}], ids=["anybody", "codex"])
def test_an_item_by_reference_is_refused(item: dict[str, Any], headers: dict[str, str]):
    assert refused([USER, item], headers=headers).param == "input[1].id"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"content": "x"}, "input[0].type"),
        ({"type": 5}, "input[0].type"),
        ({"type": "message", "content": "x"}, "input[0].role"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": ["user"], "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": 5}, "input[0].content"),
        ({"role": "user", "content": ["x"]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"text": "x"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "input[0].content[0].file_id"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "input[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "input[0].content[0].file_id"),
        ({"type": "function_call", "name": "f"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c"}, "input[0].name"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
    ],
)
def test_an_item_without_what_it_needs(item: dict[str, Any], param: str):
    error = refused([item])
    assert (error.status_hint, error.param) == (400, param)


def test_thinking_alone_is_nothing_to_answer():
    assert refused([{"type": "reasoning", "id": "rs_1", "summary": []}]).param == "input"
