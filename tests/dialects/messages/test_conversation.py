import copy
import json
from typing import Any

import pytest

from gptmock.dialects.messages.conversation import INTERRUPTED
from gptmock.dialects.messages.signatures import SealedReasoning, signature_of
from gptmock.errors import BadRequest
from tests.dialects.messages.asked import (
    TOOL,
    USER,
    USER_ITEM,
    assistant,
    call,
    items,
    result,
    text,
    understood,
    upstream_body,
    user,
)
from tests.playbook import RepeatableSealing

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQK"


def said(role, *parts):
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": part} if isinstance(part, str) else part for part in parts]
    return {"type": "message", "role": role, "content": content}


def output_of(*content, **more):
    given = content[0] if len(content) == 1 and (content[0] is None or isinstance(content[0], str)) else list(content)
    return items(USER, assistant(call("c1")), user(result("c1", given, **more)))[2]["output"]


# --- Forms of the same history ---------------------------------------------------------------


@pytest.mark.check(219)
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_string_and_a_list_give_the_same_bytes(role):
    messages: list[dict[str, Any]] = [
        dict(USER),
        {"role": role, "content": "x"},
        {"role": "assistant", "content": "y"},
        dict(USER),
    ]
    marked = copy.deepcopy(messages)
    marked[1]["content"] = [text("x", cache_control={"type": "ephemeral"})]
    marked[2]["content"] = [text("y")]
    assert items(*messages) == items(*marked)


def test_a_system_message_is_a_developer_item_at_its_place():
    system = {"role": "system", "content": [text("S")], "output_config": {"effort": "low"}}
    assert items(system, USER, system) == [said("developer", "S"), USER_ITEM, said("developer", "S")]


@pytest.mark.check(304)
def test_what_is_to_be_cleared_goes_with_the_next_words_of_the_user():
    note = {"role": "system", "content": "note", "clear_at": "next_user_message"}
    begun = [USER, assistant(call("c1")), user(result("c1", "r")), note]
    assert items(*begun)[-1] == said("developer", "note")
    later = [*begun, assistant(call("c2")), user(result("c2", "r"))]
    assert said("developer", "note") in items(*later)
    assert said("developer", "note") not in items(*later, assistant(text("ok")), USER)
    assert said("developer", "note") in items(*later[:3], {**note, "clear_at": "never"}, *later[4:], USER)


# --- Blocks ------------------------------------------------------------------------------------


@pytest.mark.check(220, 236)
@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (text("a", citations=[{"type": "x"}]), [{"type": "input_text", "text": "a"}]),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}},
            [{"type": "input_image", "image_url": "https://example.test/a.png"}],
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            [
                {
                    "type": "input_file",
                    "file_data": f"data:application/pdf;base64,{PDF}",
                    "filename": "document.pdf",
                }
            ],
        ),
        (
            {"type": "document", "title": "t.pdf", "source": {"type": "url", "url": "https://example.test/t"}},
            [{"type": "input_file", "file_url": "https://example.test/t", "filename": "t.pdf"}],
        ),
        (
            {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "data": "D"}},
            [{"type": "input_text", "text": "T\nC\nD"}],
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {
                    "type": "content",
                    "content": [
                        text("a"),
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
            },
            [
                {"type": "input_text", "text": "T"},
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
            ],
        ),
        (
            {"type": "search_result", "source": "https://s.test", "title": "T", "content": [text("a"), text("b")]},
            [{"type": "input_text", "text": "https://s.test\nT\na\nb"}],
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_block_of_a_user(block, parts):
    assert items(user(block)) == [{"type": "message", "role": "user", "content": parts}]
    if block["type"] != "text":
        assert output_of(block) in (parts, "\n".join(part.get("text", "") for part in parts))


@pytest.mark.check(220, 236)
@pytest.mark.parametrize(
    ("block", "place", "words"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "source.type", "no files API"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "source.type", "no files API"),
        ({"type": "document", "source": {"type": "odd"}}, "source.type", "odd"),
        ({"type": "image"}, "source", "Missing"),
        ({"type": "image", "source": {"type": "base64", "data": "?"}}, "source.data", "neither"),
        ({"type": "hologram"}, "type", "hologram"),
        ({"type": "thinking", "thinking": "", "signature": ""}, "type", "thinking"),
    ],
)
def test_a_block_that_cannot_be_sent_is_named_with_its_path(block, place, words):
    for messages, path in (([user(text("a"), block)], "messages.0.content.1"),):
        with pytest.raises(BadRequest, match=words) as caught:
            understood({"messages": messages})
        assert caught.value.message.startswith(f"{path}.{place}: ")


@pytest.mark.check(315)
def test_tools_of_a_server_become_text():
    history = assistant(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {"type": "web_search_result", "url": "https://a.test", "title": "A", "encrypted_content": "e"},
                {"type": "web_search_result", "url": "https://b.test", "title": "B", "encrypted_content": "e"},
            ],
        },
        {"type": "server_tool_use", "id": "s2", "name": "web_search", "input": {"query": "r"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s2",
            "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
        },
        text("found"),
        {"type": "fallback", "from": {}},
        {"type": "compaction", "content": "summary"},
    )
    texts = [
        "[web_search: q]\nA: https://a.test\nB: https://b.test",
        '[web_search: r]\n{"type":"web_search_tool_result_error","error_code":"max_uses_exceeded"}',
        "found",
        "summary",
    ]
    assert items(USER, history, USER) == [USER_ITEM, said("assistant", *texts), USER_ITEM]


PAGE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
SCAN = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}


@pytest.mark.check(315)
@pytest.mark.parametrize(
    ("name", "given", "content", "words"),
    [
        (
            "code_execution",
            {"code": "1+1"},
            {"type": "code_execution_result", "stdout": "2", "stderr": "", "return_code": 0, "content": []},
            "[code_execution: 1+1]\n2",
        ),
        (
            "bash_code_execution",
            {"command": "x", "restart": False},
            {"type": "bash_code_execution_result", "stdout": "a", "stderr": "b", "content": [{"content": "c"}]},
            '[bash_code_execution: {"command":"x","restart":false}]\na\nb\nc',
        ),
        (
            "code_execution",
            {},
            {"type": "encrypted_code_execution_result", "encrypted_stdout": "x", "stderr": "", "return_code": 1},
            '[code_execution]\n{"type":"encrypted_code_execution_result","stderr":"","return_code":1}',
        ),
        (
            "web_fetch",
            {"url": "https://p.test"},
            {"type": "web_fetch_result", "url": "https://p.test", "content": PAGE},
            "[web_fetch: https://p.test]\nhttps://p.test\nwords",
        ),
        ("web_fetch", {}, {"type": "web_fetch_result", "content": SCAN}, '[web_fetch]\n{"type":"document"}'),
        ("text_editor", {}, {"type": "view_result", "content": "line"}, "[text_editor]\nline"),
        ("advisor", None, {"type": "advisor_result", "text": "t"}, "[advisor]\nt"),
        ("mcp", 5, [text("a"), {"type": "x", "content": {"stdout": "b"}}], "[mcp: 5]\na\nb"),
    ],
)
def test_a_call_of_a_server_and_its_result_are_one_text(name, given, content, words):
    history = assistant(
        {"type": "server_tool_use", "id": "s1", "name": name, "input": given},
        {"type": "server_tool_use", "id": "s2", "name": "web_search", "input": {"query": "q"}},
        {"type": f"{name}_tool_result", "tool_use_id": "s1", "content": content},
        {"type": "web_search_tool_result", "tool_use_id": "s2", "content": "none"},
    )
    assert items(USER, history)[1:] == [said("assistant", words, "[web_search: q]\nnone")]


# --- Calls and results -------------------------------------------------------------------------


@pytest.mark.check(221)
def test_results_come_before_the_other_blocks_of_their_message():
    sent = items(
        USER, assistant(text("a"), call("c1", x=1), call("c2")), user(text("b"), result("c2"), result("c1", "r"))
    )
    assert [item.get("role") or item["type"] for item in sent] == [
        "user",
        "assistant",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "user",
    ]
    assert sent[2] == {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x":1}'}
    assert sent[3]["arguments"] == "{}"
    assert sent[4] == {"type": "function_call_output", "call_id": "c2", "output": "(no output)"}
    assert sent[5]["output"] == "r"


@pytest.mark.check(220, 221, 301)
@pytest.mark.parametrize(
    ("content", "more", "output"),
    [
        (("r",), {}, "r"),
        ((None,), {}, "(no output)"),
        ((), {}, "(no output)"),
        ((text("a"), text("b")), {}, "a\nb"),
        (("r",), {"is_error": True}, "Error: r"),
        ((text("a"), text("b")), {"is_error": True}, "Error: a\nb"),
        (
            ({"type": "tool_reference", "tool_name": "A"}, {"type": "tool_reference", "tool_name": "B"}),
            {},
            "Loaded: A\nLoaded: B",
        ),
    ],
)
def test_what_a_result_says(content, more, output):
    assert output_of(*content, **more) == output


@pytest.mark.check(202, 221)
def test_a_result_with_an_image_stays_a_list():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    sent = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
    assert output_of(image) == [sent]
    assert output_of(image, text("a"), is_error=True) == [sent, {"type": "input_text", "text": "Error: a"}]
    assert output_of(image, is_error=True) == [{"type": "input_text", "text": "Error:"}, sent]


@pytest.mark.check(221)
def test_a_further_result_of_a_call_is_appended_to_the_first():
    sent = items(USER, assistant(call("c1")), user(result("c1", "a"), result("c1", [text("b")])))
    assert [item["output"] for item in sent if item["type"] == "function_call_output"] == ["a\nb"]


@pytest.mark.check(221)
def test_a_call_without_a_result_was_interrupted():
    sent = items(USER, assistant(call("c1"), call("c2")), user(result("c2", "r"), text("go on")))
    assert [item["output"] for item in sent if item["type"] == "function_call_output"] == ["r", INTERRUPTED]
    assert sent[-1] == said("user", "go on")
    late = items(USER, assistant(call("c1")), USER, user(result("c1", "late")))
    assert [item["output"] for item in late if item["type"] == "function_call_output"] == ["late"]
    assert items(USER, assistant(call("c1")))[-1]["output"] == INTERRUPTED


@pytest.mark.check(221)
def test_a_result_of_no_call_is_a_400_that_names_it():
    with pytest.raises(BadRequest, match=r"messages\.0\.content\.0: unexpected `tool_use_id`.*toolu_9"):
        understood({"messages": [user(result("toolu_9", "r"))]})


def test_long_ids_are_the_same_for_call_and_result():
    sent = items(USER, assistant(call("c" * 100)), user(result("c" * 100, "r")))
    assert sent[1]["call_id"] == sent[2]["call_id"]
    assert len(sent[1]["call_id"]) <= 64


# --- Order of roles ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "at least one"),
        ([{"role": "system", "content": "s"}], "at least one"),
        ([assistant(text("a"))], "'user' role"),
        ([{"role": "tool", "content": "s"}], "none of the roles"),
        ([user()], "nothing to answer"),
        ([user(text(""))], "nothing to answer"),
    ],
)
def test_a_conversation_that_is_none_is_refused(messages, words):
    with pytest.raises(BadRequest, match=words):
        understood({"messages": messages})


def test_a_prefill_is_history_and_named():
    turn = understood({"messages": [USER, {"role": "assistant", "content": "{"}]})
    assert turn.ignored == ("prefill",)
    assert items(USER, assistant(text("{")))[-1] == said("assistant", "{")


# --- Thinking ----------------------------------------------------------------------------------


def thinking(account="acct", number=1, tenant="", **more):
    sealed = SealedReasoning(account, f"rs_{number}", f"gAAAA{number}")
    return {"type": "thinking", "thinking": "", "signature": signature_of(sealed, RepeatableSealing(), tenant), **more}


def reasoning(number):
    return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": f"gAAAA{number}"}


@pytest.mark.check(207)
def test_thinking_stands_in_front_of_what_follows_it():
    redacted = {"type": "redacted_thinking", "data": thinking(number=2)["signature"]}
    history = assistant(thinking(), text("a"), redacted, call("c1"), thinking(number=3))
    turn = understood({"messages": [USER, history, user(result("c1", "r"))]})
    sent = json.loads(turn.request.to_json())["input"]
    assert sent[1:5] == [
        reasoning(1),
        said("assistant", "a"),
        reasoning(2),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ]
    assert sent[5]["type"] == "function_call_output"
    assert turn.account_id == "acct"


@pytest.mark.check(222)
@pytest.mark.parametrize(
    "block",
    [
        thinking(tenant="another"),
        {**thinking(), "signature": thinking()["signature"][:-9]},
        {**thinking(), "signature": thinking()["signature"].replace("gms1.", "gms1.AAAA")},
        {**thinking(), "signature": "gms1.?"},
        {**thinking(), "signature": "EqQBCkgIARABGAIiQL8="},
        {**thinking(), "signature": ""},
        {"type": "thinking", "thinking": "x"},
        {"type": "redacted_thinking", "data": "x"},
    ],
)
def test_a_signature_that_is_not_ours_is_left_out(block):
    turn = understood({"messages": [USER, assistant(block, text("a")), USER]})
    assert turn.account_id is None
    assert [item["type"] for item in json.loads(turn.request.to_json())["input"]] == ["message"] * 3


@pytest.mark.check(222)
def test_of_several_accounts_the_last_one_keeps_its_thinking():
    history = [assistant(thinking("old", 1), text("a")), USER, assistant(thinking("new", 2), text("b"))]
    turn = understood({"messages": [USER, *history, USER]})
    sent = json.loads(turn.request.to_json())["input"]
    assert [item["id"] for item in sent if item["type"] == "reasoning"] == ["rs_2"]
    assert turn.account_id == "new"


# --- The stable prefix -------------------------------------------------------------------------


@pytest.mark.check(303)
def test_ten_turns_share_the_bytes_of_their_prefix():
    """As Claude Code writes them: the cache mark wanders, and a marked text is a list."""
    history = [
        user(text("<system-reminder>r</system-reminder>"), text("do it")),
        {"role": "system", "content": "skills", "output_config": {"effort": "medium"}},
    ]
    before, before_bytes = None, b""
    for number in range(10):
        marked = copy.deepcopy(history)
        last = marked[-1]
        if isinstance(last["content"], str):
            last["content"] = [text(last["content"], cache_control={"type": "ephemeral"})]
        else:
            last["content"][-1]["cache_control"] = {"type": "ephemeral"}
        system = [text(f"x-anthropic-billing-header: cc_version={number};"), text("You are an agent.")]
        body = {"messages": marked, "system": system, "tools": [TOOL], "metadata": {"user_id": '{"session_id":"s"}'}}
        sent = upstream_body(body)
        if before is not None:
            assert sent["input"][: len(before["input"])] == before["input"]
            assert json.dumps(sent["input"]).encode().startswith(before_bytes[:-1])
            assert {**sent, "input": 0} == {**before, "input": 0}
        before, before_bytes = sent, json.dumps(sent["input"]).encode()
        history.append(assistant(thinking(number=number), call(f"c{number}", n=number)))
        history.append(user(result(f"c{number}", [text("out")] if number % 2 else "out", is_error=number == 3)))
        if number % 3 == 0:
            history.append({"role": "system", "content": "more skills"})
