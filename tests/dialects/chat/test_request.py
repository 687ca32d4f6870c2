import json
import uuid

import pytest

from gptmock.dialects.chat import ChatCompletions
from gptmock.dialects.chat.wire import ChatOptions
from gptmock.dialects.dialect import Call
from gptmock.errors import BadRequest
from gptmock.protocol.request import ReasoningOptions
from tests.dialects.chat.asked import USER, USER_ITEM, options_of, understood, upstream_body
from tests.playbook import terms

FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
FLAT = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
    "description": "d",
}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
SEARCH = {"type": "web_search"}


@pytest.mark.check(4)
def test_the_smallest_body():
    body = upstream_body({})
    key = body.pop("prompt_cache_key")
    assert str(uuid.UUID(key)) == key
    assert body == {
        "model": "gpt-6.2-sol",
        "instructions": "",
        "input": [USER_ITEM],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }


def test_what_the_reply_owes():
    turn = understood({"model": "GPT-5.5-high", "stream": True, "stream_options": {"include_usage": True}, "stop": "x"})
    assert (turn.model, turn.request.model) == ("GPT-5.5-high", "gpt-5.5")
    assert (turn.stream, options_of(turn).include_usage, options_of(turn).stops) == (True, True, ("x",))
    assert options_of(turn) == ChatOptions(model="GPT-5.5-high", include_usage=True, stops=("x",))
    plain = understood({})
    assert (plain.stream, options_of(plain).include_usage, options_of(plain).stops) == (False, False, ())


def test_the_content_type_does_not_matter():
    data = json.dumps({"messages": [USER]}).encode()
    assert ChatCompletions().decode(Call(data, {"content-type": "text/plain"}), terms()).request.input


# --- Model -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": ""}, {"model": "  "}])
def test_a_missing_model_is_the_default(model):
    assert understood(model).model == "gpt-6.2-sol"
    turn = understood(model, model="gpt-5.5-low")
    assert (turn.model, turn.request.model) == ("gpt-5.5-low", "gpt-5.5")
    assert turn.request.reasoning == ReasoningOptions(effort="low", summary="auto")


def test_an_unknown_model_goes_up_as_written():
    turn = understood({"model": "gpt-9"})
    assert (turn.request.model, turn.resolved.spec) == ("gpt-9", None)


def test_the_debug_model_goes_up_and_the_clients_name_comes_back():
    turn = understood({"model": "gpt-5.5"}, debug_model="gpt-6-sol")
    assert (turn.model, turn.request.model) == ("gpt-5.5", "gpt-6-sol")


# --- Tools: checks 47, 49, 105 ---------------------------------------------------------


@pytest.mark.check(47, 105)
@pytest.mark.parametrize(
    ("tool", "sent"),
    [
        (FUNCTION, FLAT),
        (FLAT, FLAT),
        ({**FUNCTION, "type": None}, FLAT),
        (
            {"type": "function", "function": {"name": "f"}},
            {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
        ),
        (
            {"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}},
            {"type": "function", "name": "f", "parameters": {}, "strict": True},
        ),
        (CUSTOM, {"type": "custom", "name": "c"}),
        (
            {
                "type": "custom",
                "custom": {
                    "name": "c",
                    "description": "d",
                    "format": {"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}},
                },
            },
            {
                "type": "custom",
                "name": "c",
                "description": "d",
                "format": {"type": "grammar", "definition": "x", "syntax": "lark"},
            },
        ),
        (
            {"type": "custom", "name": "c", "format": {"type": "text"}},
            {"type": "custom", "name": "c", "format": {"type": "text"}},
        ),
        (SEARCH, SEARCH),
        (
            {"type": "web_search_preview", "search_context_size": "low"},
            {"type": "web_search", "search_context_size": "low"},
        ),
        ({"type": "web_search_preview_2025_03_11"}, SEARCH),
        ({"type": "image_generation", "size": "auto"}, {"type": "image_generation", "size": "auto"}),
    ],
)
def test_a_tool(tool, sent):
    assert upstream_body({"tools": [tool]})["tools"] == [sent]


@pytest.mark.check(49)
@pytest.mark.parametrize("tools", [{}, {"tools": None}, {"tools": []}])
def test_no_tools_is_no_key(tools):
    assert {"tools", "tool_choice", "parallel_tool_calls"}.isdisjoint(upstream_body(tools))


@pytest.mark.check(49)
def test_the_order_of_tools_and_of_their_keys_is_kept():
    tools = [{"type": "function", "function": {"name": name, "parameters": {"z": 1, "a": 2}}} for name in ("b", "a")]
    sent = understood({"tools": tools}).request.to_json()
    assert sent == understood({"tools": tools}).request.to_json()
    assert sent.index(b'"name":"b"') < sent.index(b'"name":"a"')
    assert sent.count(b'"parameters":{"type":"object","z":1,"a":2,') == 2


@pytest.mark.check(103)
def test_names_that_the_upstream_does_not_take_are_remembered():
    name = "mcp.server/" + "x" * 90
    turn = understood({"tools": [{"type": "function", "function": {"name": name}}, FUNCTION]})
    (sent,) = options_of(turn).tool_names
    assert options_of(turn).tool_names == {sent: name}
    assert json.loads(turn.request.to_json())["tools"][0]["name"] == sent


@pytest.mark.check(48)
@pytest.mark.parametrize(
    ("given", "tools", "sent"),
    [(None, [FUNCTION], None), (False, [FUNCTION], False), (True, [FUNCTION], True), (False, [], None)],
)
def test_parallel_tool_calls(given, tools, sent):
    assert upstream_body({"parallel_tool_calls": given, "tools": tools}).get("parallel_tool_calls") is sent


# --- Tool choice: checks 44, 45, 46 ----------------------------------------------------


@pytest.mark.check(44, 45, 46)
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ("any", "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "custom", "name": "c"}),
        ({"type": "web_search_preview"}, SEARCH),
        (SEARCH, SEARCH),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}]},
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}]},
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search_preview"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [SEARCH]},
        ),
    ],
)
def test_tool_choice(choice, sent):
    assert upstream_body({"tools": [FUNCTION, CUSTOM, SEARCH], "tool_choice": choice}).get("tool_choice") == sent


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_a_choice_that_demands_nothing_is_dropped_without_tools(choice):
    assert "tool_choice" not in upstream_body({"tool_choice": choice})


def test_the_choice_of_a_renamed_tool():
    tool = {"type": "function", "function": {"name": "a.b"}}
    body = upstream_body({"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "a.b"}}})
    assert body["tool_choice"]["name"] == body["tools"][0]["name"] != "a.b"


# --- Deprecated functions: check 50 ----------------------------------------------------


@pytest.mark.check(50)
@pytest.mark.parametrize(
    ("choice", "sent"),
    [(None, None), ("none", "none"), ("auto", "auto"), ({"name": "f"}, {"type": "function", "name": "f"})],
)
def test_deprecated_functions(choice, sent):
    body = {"functions": [FUNCTION["function"]], "function_call": choice}
    turn, up = understood(body), upstream_body(body)
    assert options_of(turn).legacy_functions
    assert up["tools"] == [FLAT]
    assert up.get("tool_choice") == sent
    assert up["parallel_tool_calls"] is False


def test_tools_win_over_functions():
    turn = understood({"functions": [{"name": "g"}], "tools": [FUNCTION]})
    assert not options_of(turn).legacy_functions
    assert json.loads(turn.request.to_json())["tools"] == [FLAT]


# --- Response format: checks 41, 42 ----------------------------------------------------


def test_format_text_says_nothing():
    assert "text" not in upstream_body({"response_format": {"type": "text"}})


@pytest.mark.check(42)
@pytest.mark.parametrize("role", ["user", "developer", "assistant"])
def test_json_object_adds_nothing_where_the_word_stands(role):
    messages = [USER, {"role": role, "content": "answer in JSON"}]
    body = upstream_body({"messages": messages, "response_format": {"type": "json_object"}})
    assert body["text"] == {"format": {"type": "json_object"}}
    assert len(body["input"]) == 2


@pytest.mark.check(42)
def test_json_object_adds_the_word_where_only_the_instructions_have_it():
    messages = [{"role": "system", "content": "JSON only"}, USER]
    body = upstream_body({"messages": messages, "response_format": {"type": "json_object"}})
    assert body["input"][0] == USER_ITEM
    assert body["input"][1]["role"] == "developer"
    assert "JSON" in body["input"][1]["content"][0]["text"]


@pytest.mark.check(41)
@pytest.mark.parametrize(
    ("more", "sent"),
    [({}, {}), ({"strict": True}, {"strict": True}), ({"description": "d", "strict": None}, {"description": "d"})],
)
def test_json_schema(more, sent):
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, **more}}
    body = upstream_body({"response_format": wanted})
    assert body["text"] == {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, **sent}}
    assert len(body["input"]) == 1


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_think_tags_never_stand_in_a_json_answer(kind):
    wanted = {"type": kind, "json_schema": {"name": "n", "schema": {}}}
    assert options_of(understood({"response_format": wanted})).style == "reasoning-content"
    assert options_of(understood({"response_format": wanted}, reasoning_style="hidden")).style == "hidden"
    assert options_of(understood({"response_format": {"type": "text"}})).style == "think-tags"


# --- Reasoning: check 106 --------------------------------------------------------------


@pytest.mark.check(106)
@pytest.mark.parametrize(
    ("body", "effort"),
    [
        ({}, "medium"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": None}, "medium"),
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"reasoningEffort": "high"}, "high"),
        ({"model": "gpt-5.5-high"}, "high"),
        ({"model": "gpt-5.5-high", "reasoning_effort": "low"}, "low"),
        ({"model": "gpt-5.5-high", "reasoning": {"effort": "low"}}, "low"),
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, "low"),
        # Clamped to the model's list: gpt-5.5 has low to xhigh, gpt-6.1-sol up to max.
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "none"}, "low"),
        ({"reasoning_effort": "max"}, "xhigh"),
        ({"reasoning_effort": "ultra"}, "xhigh"),
        ({"model": "gpt-6.1-sol", "reasoning_effort": "ultra"}, "max"),
        ({"model": "gpt-9", "reasoning_effort": "none"}, "none"),
        ({"model": "gpt-9", "reasoning_effort": "ultra"}, "max"),
        # Switched off.
        ({"model": "gpt-9", "reasoning": {"enabled": False}}, "none"),
        ({"model": "gpt-9", "enable_thinking": False}, "none"),
        ({"model": "gpt-9", "thinking": False}, "none"),
        ({"model": "gpt-9", "thinking": {"type": "disabled"}}, "none"),
        ({"model": "gpt-9", "thinking": {"type": "enabled", "budget_tokens": 5}}, "medium"),
        ({"model": "gpt-9", "thinking": False, "reasoning_effort": "high"}, "high"),
        ({"model": "gpt-9", "reasoning": {"enabled": True}}, "medium"),
    ],
)
def test_effort(body, effort):
    assert upstream_body({"model": "gpt-5.5", **body})["reasoning"]["effort"] == effort


@pytest.mark.parametrize("body", [{}, {"reasoning_effort": None}])
def test_the_default_effort_fills_only_what_was_left_out(body):
    assert upstream_body(body, reasoning_effort="high")["reasoning"]["effort"] == "high"
    assert (
        upstream_body({**body, "reasoning": {"effort": "low"}}, reasoning_effort="high")["reasoning"]["effort"] == "low"
    )


@pytest.mark.parametrize(
    ("body", "defaults", "summary"),
    [
        ({}, {}, "auto"),
        ({"reasoning": {"summary": "concise"}}, {}, "concise"),
        ({}, {"reasoning_summary": "detailed"}, "detailed"),
        ({"reasoning": {"summary": "auto"}}, {"reasoning_summary": "none"}, "auto"),
        ({}, {"reasoning_summary": "none"}, None),
        ({"reasoning": {"summary": "none"}}, {}, None),
        ({}, {"reasoning_style": "hidden"}, None),
        ({"model": "gpt-9", "reasoning_effort": "none"}, {}, None),
    ],
)
def test_a_summary_is_asked_for_where_reasoning_is_shown(body, defaults, summary):
    assert upstream_body(body, **defaults)["reasoning"].get("summary") == summary


def test_verbosity():
    assert upstream_body({"verbosity": "low"})["text"] == {"verbosity": "low"}
    wanted = {
        "verbosity": "high",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    }
    assert set(upstream_body(wanted)["text"]) == {"verbosity", "format"}


# --- Tier: check 107 -------------------------------------------------------------------


@pytest.mark.check(107)
@pytest.mark.check(356)
@pytest.mark.parametrize(
    ("body", "defaults", "tier", "ignored"),
    [
        ({}, {}, None, ()),
        ({"service_tier": "priority"}, {}, "priority", ()),
        ({"service_tier": "fast"}, {}, "priority", ()),
        ({"service_tier": "auto"}, {}, None, ()),
        ({"service_tier": "default"}, {}, None, ()),
        ({"service_tier": "flex"}, {}, None, ("service_tier",)),
        ({"service_tier": "scale"}, {}, None, ("service_tier",)),
        ({"service_tier": "ultrafast"}, {}, None, ("service_tier",)),
        ({"model": "gpt-5.5-fast"}, {}, "priority", ()),
        ({"model": "gpt-5.5-fast", "service_tier": "default"}, {}, None, ()),
        ({}, {"fast": True}, "priority", ()),
        ({"service_tier": "auto"}, {"fast": True}, None, ()),
        ({"model": "gpt-5.2", "service_tier": "priority"}, {}, None, ("service_tier",)),
        ({"model": "gpt-5.2-fast"}, {}, None, ()),
        ({"model": "gpt-5.2"}, {"fast": True}, None, ()),
        ({"model": "gpt-9", "service_tier": "priority"}, {}, "priority", ()),
    ],
)
def test_service_tier(body, defaults, tier, ignored):
    assert upstream_body(body, **defaults).get("service_tier") == tier
    assert understood(body, **defaults).ignored == ignored


@pytest.mark.parametrize("body", [{"service_tier": "flex"}, {"model": "gpt-5.2", "service_tier": "priority"}])
def test_strict_refuses_a_tier_that_is_not_had(body):
    with pytest.raises(BadRequest, match="service_tier"):
        understood(body, strict_parameters=True)


# --- Cache key: check 108 --------------------------------------------------------------


def key(body=None, **more):
    return understood(body or {}, **more).request.prompt_cache_key


@pytest.mark.check(108)
def test_the_key_of_a_conversation_stays_the_same_and_is_nobody_elses():
    later = {"messages": [USER, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}
    assert key() == key(later) == key({"temperature": 1})
    others = [key(tenant="t"), key({"tools": [FUNCTION]}), key({"messages": [{"role": "user", "content": "ho"}]})]
    others.append(key({"messages": [{"role": "system", "content": "s"}, USER]}))
    assert len({key(), *others}) == 5


@pytest.mark.check(108)
def test_the_clients_own_key_is_kept_apart_for_each_tenant():
    own = {"prompt_cache_key": "mine"}
    assert key(own, tenant="a") == key({**own, "tools": [FUNCTION]}, tenant="a")
    assert key(own, tenant="a") != key(own, tenant="b")
    assert key(own) != "mine"
    assert len(key({"prompt_cache_key": "x" * 500})) <= 64


@pytest.mark.parametrize("name", ["x-session-id", "session_id", "session-id"])
def test_a_session_header_is_a_key(name):
    assert key(headers={name: "s"}) == key({"prompt_cache_key": "s"})
    assert key({"prompt_cache_key": "own"}, headers={name: "s"}) == key({"prompt_cache_key": "own"})
    assert key(headers={name: ""}) == key()


# --- Stops -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "stops"),
    [
        (None, ()),
        ("x", ("x",)),
        ("", ()),
        ([], ()),
        (["a", "b"], ("a", "b")),
        (["a", ""], ("a",)),
        (["a"] * 4, ("a",) * 4),
    ],
)
def test_stops(stop, stops):
    turn = understood({"stop": stop})
    assert options_of(turn).stops == stops
    assert turn.ignored == ()


# --- Web search ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "tool"),
    [
        ({}, SEARCH),
        ({"search_context_size": "high"}, {**SEARCH, "search_context_size": "high"}),
        (
            {"user_location": {"type": "approximate", "approximate": {"country": "DE", "city": "Köln"}}},
            {**SEARCH, "user_location": {"type": "approximate", "country": "DE", "city": "Köln"}},
        ),
        (
            {"user_location": {"type": "approximate", "country": "DE"}},
            {**SEARCH, "user_location": {"type": "approximate", "country": "DE"}},
        ),
    ],
)
def test_web_search_options(options, tool):
    assert upstream_body({"web_search_options": options})["tools"] == [tool]


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview"])
def test_responses_tools(kind):
    body = {"responses_tools": [{"type": kind}], "tools": [FUNCTION]}
    assert upstream_body(body)["tools"] == [FLAT, SEARCH]
    assert upstream_body({**body, "responses_tool_choice": "auto"})["tools"] == [FLAT, SEARCH]
    assert upstream_body({**body, "responses_tool_choice": "none"})["tools"] == [FLAT]


def test_one_search_is_enough():
    body = {"responses_tools": [SEARCH], "web_search_options": {}}
    assert upstream_body(body, web_search=True)["tools"] == [SEARCH]


@pytest.mark.parametrize(
    ("body", "tools"),
    [
        ({}, [SEARCH]),
        ({"tools": [FUNCTION]}, [FLAT, SEARCH]),
        ({"tools": [FUNCTION], "tool_choice": "auto"}, [FLAT, SEARCH]),
        ({"tools": [FUNCTION], "tool_choice": "none"}, [FLAT]),
        ({"tools": [FUNCTION], "tool_choice": "required"}, [FLAT]),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}}, [FLAT]),
        ({"tools": [{**SEARCH, "search_context_size": "low"}]}, [{**SEARCH, "search_context_size": "low"}]),
        ({"responses_tool_choice": "none"}, None),
    ],
)
def test_the_servers_default_search(body, tools):
    assert upstream_body(body, web_search=True).get("tools") == tools
