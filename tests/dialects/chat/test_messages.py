import pytest

from tests.dialects.chat.asked import USER, USER_ITEM, items, upstream_body

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}


def text(role, text, kind="input_text"):
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def sent(*messages):
    body = upstream_body({"messages": list(messages)})
    return body["instructions"], body["input"]


# --- Instructions: checks 10, 11 ------------------------------------------------------------


@pytest.mark.check(10)
def test_the_leading_run_becomes_the_instructions():
    messages = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
        {"role": "system", "content": ""},
        USER,
    ]
    assert sent(*messages) == ("a\n\nb\nc", [USER_ITEM])


@pytest.mark.check(11)
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_later_one_stays_in_its_place_as_developer(role):
    assert sent(USER, {"role": role, "content": "x"}, USER) == ("", [USER_ITEM, text("developer", "x"), USER_ITEM])


def test_a_conversation_of_instructions_only_is_answered_as_input():
    assert sent({"role": "system", "content": "a"}, {"role": "system", "content": "b"}) == (
        "",
        [text("developer", "a"), text("developer", "b")],
    )


# --- Users and assistants ----------------------------------------------------------------------


def test_the_name_of_a_message_is_dropped():
    assert items({**USER, "name": "Ada"}) == [USER_ITEM]


def test_an_empty_user_message_is_dropped_and_an_empty_part_too():
    assert items(USER, {"role": "user", "content": ""}, {"role": "user", "content": None}) == [USER_ITEM]
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]
    assert items({"role": "user", "content": parts}) == [USER_ITEM]


def test_assistant_text_is_output_text():
    assert items(USER, {"role": "assistant", "content": "a"})[1] == text("assistant", "a", "output_text")


@pytest.mark.parametrize("content", [None, "", []])
def test_an_assistant_that_says_nothing_is_no_item(content):
    assert items(USER, {"role": "assistant", "content": content}) == [USER_ITEM]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ],
)
def test_a_refusal_is_a_refusal_part(message):
    assert items(USER, message)[1]["content"] == [{"type": "refusal", "refusal": "no"}]


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning", "thinking"])
def test_shown_reasoning_is_dropped(member):
    message = {"role": "assistant", "content": "a", member: "thoughts"}
    assert items(USER, message)[1] == text("assistant", "a", "output_text")


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("<think>t</think>a", "a"),
        ("<think>t</think>\n\na", "a"),
        ("  <think>t</think><think>u</think>a", "a"),
        ("<think>t\n\nu</think>a<think>v</think>b", "a<think>v</think>b"),
        ("a<think>t</think>", "a<think>t</think>"),
        ("<think>t", "<think>t"),
        ("<think></think>a", "a"),
        ("<thinking>t</thinking>a", "<thinking>t</thinking>a"),
    ],
)
def test_a_leading_think_block_is_not_sent_back(content, kept):
    assert items(USER, {"role": "assistant", "content": content})[1] == text("assistant", kept, "output_text")


def test_an_assistant_that_only_thought_is_no_item():
    assert items(USER, {"role": "assistant", "content": "<think>t</think>"}) == [USER_ITEM]


def test_a_user_may_write_think_tags():
    assert items({"role": "user", "content": "<think>t</think>"}) == [text("user", "<think>t</think>")]


def test_audio_of_the_assistant_is_ignored_beside_text():
    message = {"role": "assistant", "content": "a", "audio": {"id": "x"}}
    assert items(USER, message)[1] == text("assistant", "a", "output_text")


# --- Calls: checks 8, 9, 103 ----------------------------------------------------------------------


@pytest.mark.check(8, 9)
def test_text_precedes_the_calls_and_results_follow_with_their_ids():
    second = {**CALL, "id": "c2"}
    got = items(
        USER,
        {"role": "assistant", "content": "a", "tool_calls": [CALL, second]},
        RESULT,
        {**RESULT, "tool_call_id": "c2"},
    )
    assert got == [
        USER_ITEM,
        text("assistant", "a", "output_text"),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        {"type": "function_call_output", "call_id": "c2", "output": "x"},
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"), [('{"a":1}', '{"a":1}'), ("", "{}"), (None, "{}"), ({"a": [1]}, '{"a":[1]}'), ("odd", "odd")]
)
def test_arguments_are_text(arguments, sent):
    call = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
    assert items(USER, {"role": "assistant", "tool_calls": [call]}, RESULT)[1]["arguments"] == sent


@pytest.mark.parametrize(("given", "sent"), [("patch", "patch"), (None, "")])
def test_a_custom_call_and_its_result(given, sent):
    call = {"id": "c1", "type": "custom", "custom": {"name": "p", "input": given}}
    assert items(USER, {"role": "assistant", "tool_calls": [call]}, RESULT)[1:] == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "p", "input": sent},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "x"},
    ]


@pytest.mark.check(103)
def test_long_ids_and_odd_names_are_shortened_alike_on_both_sides():
    call = {"id": "x" * 120, "function": {"name": "mcp.server/" + "y" * 90}}
    got = items(USER, {"role": "assistant", "tool_calls": [call]}, {**RESULT, "tool_call_id": "x" * 120})
    assert got[1]["call_id"] == got[2]["call_id"]
    assert len(got[1]["call_id"]) <= 64
    assert len(got[1]["name"]) <= 64


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("x", "x"),
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        (
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://e/x.png"}}],
            [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://e/x.png"}],
        ),
    ],
)
def test_the_output_of_a_call(content, output):
    got = items(USER, {"role": "assistant", "tool_calls": [CALL]}, {**RESULT, "content": content})
    assert got[2] == {"type": "function_call_output", "call_id": "c1", "output": output}


# --- Deprecated functions: check 50 -----------------------------------------------------------------


@pytest.mark.check(50)
def test_deprecated_calls_are_paired_by_name_in_order():
    def call(name):
        return {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}

    def result(name, content):
        return {"role": "function", "name": name, "content": content}

    got = items(USER, call("f"), call("g"), call("f"), result("f", "1"), result("g", "2"), result("f", "3"))
    assert [item["call_id"] for item in got[1:4]] == ["call_legacy_0", "call_legacy_1", "call_legacy_2"]
    assert [(item["call_id"], item["output"]) for item in got[4:]] == [
        ("call_legacy_0", "1"),
        ("call_legacy_1", "2"),
        ("call_legacy_2", "3"),
    ]
