import json
from typing import Any

import pytest

from gptmock.dialects.dialect import Call
from gptmock.dialects.messages import Messages
from gptmock.errors import BadRequest
from tests.dialects.messages.asked import TOOL, USER, USER_ITEM, text, understood, upstream_body
from tests.playbook import terms


def test_the_smallest_body():
    assert upstream_body({"model": "gpt-5.5"}) == {
        "model": "gpt-5.5",
        "instructions": "",
        "input": [USER_ITEM],
        "reasoning": {"effort": "medium"},
        "prompt_cache_key": upstream_body({"model": "gpt-5.5"})["prompt_cache_key"],
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }


# --- System and conversation -------------------------------------------------------------------


@pytest.mark.check(218)
@pytest.mark.parametrize(
    ("system", "instructions"),
    [
        ("Be brief.", "Be brief."),
        ([text("a"), text("b", cache_control={"type": "ephemeral"})], "a\n\nb"),
        ([text("x-anthropic-billing-header: cc_version=2.1.332; cch=1;"), text("a")], "a"),
        ("x-anthropic-billing-header: x\nBe brief.", "Be brief."),
        ([], ""),
    ],
)
def test_system_becomes_instructions_without_attribution(system, instructions):
    assert upstream_body({"system": system})["instructions"] == instructions


@pytest.mark.check(218)
def test_an_agent_of_a_session_has_one_cache_key():
    def key(*, session="s", agent=None, tenant="", user_id=None, words="hi"):
        headers = {"x-claude-code-session-id": session} if session else {}
        headers |= {"x-claude-code-agent-id": agent} if agent else {}
        body = {"messages": [{"role": "user", "content": words}], "metadata": {"user_id": user_id} if user_id else {}}
        return upstream_body(body, headers=headers, tenant=tenant)["prompt_cache_key"]

    assert key() == key(words="other") == key(session=None, user_id='{"session_id":"s"}')
    assert len({key(), key(agent="a"), key(agent="b"), key(session="t"), key(tenant="x")}) == 5
    assert key(session=None, user_id="user-1") == key(session=None)
    assert key(session=None) != key(session=None, words="other")


# --- Effort and thinking -----------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.check(224)
@pytest.mark.parametrize(
    ("model", "body", "effort"),
    [
        ("gpt-5.5", {}, "medium"),
        ("gpt-6.2-sol", {}, "low"),
        ("gpt-6.2-sol-high", {}, "high"),
        ("gpt-5.5", {"thinking": {"type": "adaptive"}}, "medium"),
        ("gpt-5.5", {"thinking": {"type": "between_tools"}}, "medium"),
        ("gpt-5.5", {"thinking": {"type": "disabled"}}, "low"),
        ("gpt-5.5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ("gpt-5.5", {"thinking": {"type": "enabled", "budget_tokens": 4096}}, "low"),
        ("gpt-5.5", {"thinking": {"type": "enabled", "budget_tokens": 16384}}, "medium"),
        ("gpt-5.5", {"thinking": {"type": "enabled", "budget_tokens": 16385}}, "high"),
        ("gpt-5.5", {"output_config": {"effort": "xhigh"}, "thinking": {"type": "disabled"}}, "xhigh"),
        ("gpt-5.5", {"output_config": {"effort": "max"}}, "xhigh"),
        ("gpt-6.2-sol", {"output_config": {"effort": "max"}}, "max"),
        (
            "gpt-5.5",
            {
                "output_config": {"effort": "high"},
                "messages": [
                    USER,
                    {**SYSTEM, "output_config": {"effort": "medium"}},
                    {**SYSTEM, "output_config": {"effort": "low"}},
                    {**SYSTEM, "output_config": {}},
                ],
            },
            "low",
        ),
    ],
)
def test_the_effort(model, body, effort):
    assert upstream_body({"model": model, **body})["reasoning"]["effort"] == effort


@pytest.mark.check(224)
def test_an_effort_that_does_not_exist_is_refused_at_its_place():
    with pytest.raises(BadRequest, match=r"output_config\.effort: "):
        understood({"output_config": {"effort": "huge"}})
    with pytest.raises(BadRequest, match=r"messages\.1\.output_config\.effort: "):
        understood({"messages": [USER, {**SYSTEM, "output_config": {"effort": "huge"}}]})


@pytest.mark.check(207)
@pytest.mark.parametrize(
    ("thinking", "summary", "shown"),
    [
        (None, None, "none"),
        ({"type": "disabled"}, None, "none"),
        ({"type": "adaptive"}, "auto", "shown"),
        ({"type": "adaptive", "display": "summarized"}, "auto", "shown"),
        ({"type": "adaptive", "display": "updates"}, "auto", "shown"),
        ({"type": "adaptive", "display": "omitted"}, None, "signed"),
        ({"type": "enabled", "budget_tokens": 2000}, "auto", "shown"),
    ],
)
def test_what_is_shown_of_the_thinking(thinking, summary, shown):
    turn = understood({"thinking": thinking})
    sent = json.loads(turn.request.to_json())
    assert sent["reasoning"].get("summary") == summary
    assert turn.reply.options.thinking == shown  # type: ignore[attr-defined]
    assert sent["include"] == ["reasoning.encrypted_content"]


def test_an_operator_who_hides_thinking_is_obeyed():
    turn = understood({"thinking": {"type": "adaptive"}}, reasoning_style="hidden")
    assert turn.reply.options.thinking == "signed"  # type: ignore[attr-defined]


# --- Other parameters --------------------------------------------------------------------------


@pytest.mark.check(206)
@pytest.mark.parametrize("member", ["output_config", "output_format"])
@pytest.mark.parametrize("closed", [True, False])
def test_structured_output(member, closed):
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    schema |= {"additionalProperties": False} if closed else {}
    wanted = {"type": "json_schema", "schema": {"$schema": "x", **schema}}
    sent = upstream_body({member: {"format": wanted} if member == "output_config" else wanted})
    assert sent["text"]["format"] == {"type": "json_schema", "name": "output", "schema": schema, "strict": closed}


@pytest.mark.parametrize("wanted", [{"type": "text"}, {"type": "json_schema"}])
def test_a_format_that_is_none_is_refused(wanted):
    with pytest.raises(BadRequest, match=r"^output_config\.format\."):
        understood({"output_config": {"format": wanted}})


def test_fast_is_the_priority_tier_where_there_is_one():
    assert upstream_body({"speed": "fast"})["service_tier"] == "priority"
    turn = understood({"speed": "fast", "model": "gpt-daybreak-red-latest"})
    assert turn.ignored == ("speed",)
    assert "service_tier" not in upstream_body({"speed": "standard"})


@pytest.mark.check(306)
def test_what_claude_code_always_sends_is_not_named():
    body = {
        "metadata": {"user_id": '{"session_id":"s"}'},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "mcp_servers": [],
        "tools": [{**TOOL, "cache_control": {"type": "ephemeral"}}],
        "system": [text("a", cache_control={"type": "ephemeral"})],
    }
    assert understood(body, headers={"anthropic-beta": "never-heard-of-2099-01-01"}).ignored == ()
    assert understood({**body, "unheard_of": 1}).ignored == ("unheard_of",)


@pytest.mark.check(316)
def test_servers_of_tools_are_refused():
    with pytest.raises(BadRequest, match="mcp_servers"):
        understood({"mcp_servers": [{"type": "url", "url": "https://x.test", "name": "x"}]})


@pytest.mark.check(318)
def test_the_reply_has_the_name_that_was_asked_for():
    turn = understood({"model": "claude-opus-4-8"})
    assert turn.model == turn.reply.options.model == "claude-opus-4-8"  # type: ignore[attr-defined]
    assert turn.request.model == "gpt-6.2-sol"


BLOCK = {"role": "user", "content": [text("a")]}
BAD_CONTENTS: tuple[Any, ...] = (5, {}, [5], [{}], [{"type": 5}], [{"type": "x"}])
BAD_BLOCKS: tuple[dict[str, Any], ...] = (
    {"type": "text"},
    {"type": "text", "text": 5},
    {"type": "image"},
    {"type": "image", "source": 5},
    {"type": "image", "source": {"type": "base64"}},
    {"type": "image", "source": {"type": "file", "file_id": "f"}},
    {"type": "document", "source": {"type": "text"}},
    {"type": "tool_result"},
    {"type": "tool_result", "tool_use_id": "c"},
    {"type": "tool_use", "id": "c", "name": "f", "input": {}},
)
BAD_ANSWERS: tuple[dict[str, Any], ...] = (
    {"type": "tool_use"},
    {"type": "tool_use", "id": "c"},
    {"type": "tool_use", "id": "c", "name": "f", "input": "x"},
    {"type": "image", "source": {"type": "url", "url": "https://x.test"}},
)
BAD_SCHEMAS: tuple[dict[str, Any], ...] = (
    {"required": 5},
    {"required": [["a"]]},
    {"$defs": [1]},
    {"definitions": "x"},
    {"properties": True},
    {"anyOf": 5},
    {"items": {"anyOf": {"a": 1}}},
    {"properties": {"a": {"anyOf": [{"required": 5}]}}},
)
BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "messages": (
        *(None, 5, "x", {}, [], [5], ["x"], [{}], [{"role": "user"}]),
        *([{"role": role, "content": "a"}] for role in ("tool", "assistant", "", 5, None)),
        *([{"role": "user", "content": one}] for one in BAD_CONTENTS),
        *([{"role": "user", "content": [block]}] for block in BAD_BLOCKS),
        *([BLOCK, {"role": "assistant", "content": [block]}] for block in BAD_ANSWERS),
    ),
    "max_tokens": (None, 0, -1, "5", 1.5),
    "model": (5, {}, []),
    "stream": ("yes", 1),
    "system": (5, {}, [5], [{"type": "text"}]),
    "tools": (5, "x", [5], [{}], [{"name": "f"}], [{"type": "code_execution_20250825"}]),
    "tools.0.input_schema": tuple(
        [{"name": "f", "strict": True, "input_schema": {"type": "object", **one}}] for one in BAD_SCHEMAS
    ),
    "tool_choice": (5, "auto", {}, {"type": "odd"}, {"type": "any"}),
    "thinking": (5, {}, {"type": "odd"}, {"type": "enabled", "budget_tokens": "x"}),
    "output_config": (5, {"effort": 5}, {"effort": "odd"}, {"format": {"type": "odd"}}),
    "output_config.format.schema": tuple({"format": {"type": "json_schema", "schema": one}} for one in BAD_SCHEMAS),
    "context_management": tuple({"edits": one} for one in (5, True, -1, 1.5, "x", [5])),
    "stop_sequences": ("x", [5], ["x"] * 101),
    "thread": ({"type": "x"},),
    "compaction": ({"type": "x"},),
    "mcp_servers": ([{"name": "x"}],),
}
BAD = [(place, value) for place, values in BAD_VALUES.items() for value in values]
"""Bodies that no client should send: the beginning of the path to the mistake, and the value of its first member."""


@pytest.mark.check(238)
@pytest.mark.parametrize(("place", "value"), BAD, ids=lambda one: json.dumps(one)[:60])
def test_a_bad_body_is_a_400_that_says_where(place, value):
    body = {"model": "gpt-5.5", "max_tokens": 64, "messages": [USER], place.partition(".")[0]: value}
    body = {name: value for name, value in body.items() if value is not None}
    with pytest.raises(BadRequest) as caught:
        Messages().decode(Call(json.dumps(body).encode()), terms())
    assert caught.value.message.startswith(place)
    reply = Messages().error(caught.value)
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (400, "invalid_request_error")


def test_there_are_many_bad_bodies():
    assert len(BAD) >= 60
