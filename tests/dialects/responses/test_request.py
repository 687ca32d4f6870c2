from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.responses.asked import options_of, refusal, refused, sent, understood

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
SEARCH = {"type": "web_search"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.check(16, 72)
def test_the_smallest_body():
    body = sent()
    assert len(body.pop("prompt_cache_key")) == 36
    assert body == {
        "model": "gpt-5.5",
        "instructions": "",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }


def test_a_body_without_a_model_gets_the_default():
    assert understood(model=...).model == "gpt-6.2-sol"
    assert understood(model=..., defaults={"model": "gpt-5.5"}).model == "gpt-5.5"


@pytest.mark.check(4)
def test_what_the_upstream_does_not_know_stays_here_and_is_named():
    body: dict[str, Any] = {
        "max_output_tokens": 9,
        "max_tool_calls": 2,
        "top_logprobs": 3,
        "temperature": 0.5,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {},
        "context_management": [],
        "moderation": {},
    }
    turn = understood(**body)
    assert set(turn.ignored) == set(body)
    assert not set(sent(**body, metadata={"a": "b"}, unheard_of=1, stop=["x"])) & {*body, "metadata", "unheard_of"}
    harmless: dict[str, Any] = {
        "top_logprobs": 0,
        "truncation": "disabled",
        "metadata": {"a": "b"},
        "background": False,
        "user": None,
    }
    assert understood(**harmless).ignored == ()


@pytest.mark.check(116)
def test_strict_parameters_refuse_the_first():
    error = refused(temperature=1, max_output_tokens=7, defaults={"strict_parameters": True})
    assert (error.code, error.param) == ("unsupported_parameter", "max_output_tokens")


@pytest.mark.check(74, 75)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", True),
        ("conversation", "conv_1"),
        ("conversation", {"id": "conv_1"}),
        ("prompt", {"id": "pmpt_1"}),
        ("previous_response_id", "resp_1"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"originator": "codex_exec"}], ids=["anybody", "codex"])
def test_what_asks_for_a_state_is_refused(name: str, value: object, headers: dict[str, str]):
    error = refused(headers=headers, **{name: value})
    assert (error.status_hint, error.code, error.param) == (400, "unsupported_parameter", name)


@pytest.mark.parametrize("given", [..., None, "", []])
def test_there_has_to_be_an_input(given: object):
    assert refused(given).param == "input"


def test_the_names_effort_and_the_bodys_own():
    assert sent(model="gpt-5.5-high")["reasoning"]["effort"] == "high"
    assert sent(model="gpt-5.5-high", reasoning={"effort": "low"})["reasoning"]["effort"] == "low"
    assert sent(model="gpt-6.1-sol", reasoning={"effort": "ultra"})["reasoning"]["effort"] == "max"
    assert sent(reasoning={"effort": "minimal"})["reasoning"]["effort"] == "low"
    assert refused(reasoning={"effort": "weird"}).param == "reasoning.effort"


def test_a_summary_by_its_old_name_and_by_its_new():
    assert sent(reasoning={"generate_summary": "concise"})["reasoning"]["summary"] == "concise"
    assert sent(reasoning={"summary": "detailed", "generate_summary": "concise"})["reasoning"]["summary"] == "detailed"
    assert "summary" not in sent(reasoning={"summary": "none"})["reasoning"]
    assert refused(reasoning={"summary": "weird"}).param == "reasoning.summary"


def test_what_the_operator_hides_is_shown_to_whoever_asks():
    hidden = {"reasoning_style": "hidden"}
    assert "summary" not in sent(defaults=hidden)["reasoning"]
    assert sent(reasoning={"summary": "auto"}, defaults=hidden)["reasoning"]["summary"] == "auto"


def test_which_earlier_thinking_the_model_sees():
    assert sent(reasoning={"context": "all_turns"})["reasoning"]["context"] == "all_turns"
    assert "context" not in sent(reasoning={"context": "weird"})["reasoning"]


@pytest.mark.check(107)
@pytest.mark.parametrize(
    ("asked", "expected"), [("priority", "priority"), ("fast", "priority"), ("auto", None), ("flex", None)]
)
def test_the_tier(asked: str, expected: str | None):
    assert sent(service_tier=asked).get("service_tier") == expected


def test_no_other_tier():
    assert refused(service_tier="").param == "service_tier"
    assert understood(service_tier="ultrafast").ignored == ("service_tier",)
    assert understood(service_tier="flex").ignored == ("service_tier",)
    assert sent(model="gpt-5.5-fast")["service_tier"] == "priority"


@pytest.mark.check(41)
def test_text_format_is_flat_already():
    shape = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "d"}
    assert sent(text={"format": shape, "verbosity": "low"})["text"] == {"format": shape, "verbosity": "low"}
    assert "text" not in sent(text={"format": {"type": "text"}})


@pytest.mark.check(42)
def test_a_json_object_is_spoken_of_in_the_input():
    text = {"format": {"type": "json_object"}}
    added = sent("Hello", text=text)["input"]
    assert [item["role"] for item in added] == ["user", "developer"]
    assert len(sent("Hello in JSON", text=text)["input"]) == 1
    assert len(sent([{"role": "user", "content": "as Json"}], text=text)["input"]) == 1


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ({"format": {"type": "weird"}}, "text.format.type"),
        ({"format": {"type": "json_schema", "schema": {}}}, "text.format.name"),
        ({"format": {"type": "json_schema", "name": "n"}}, "text.format.schema"),
        ({"verbosity": "weird"}, "text.verbosity"),
    ],
)
def test_a_text_parameter_that_means_nothing(text: dict[str, Any], param: str):
    assert refused(text=text).param == param


@pytest.mark.check(72)
def test_include_always_has_the_encrypted_thinking():
    include = ["web_search_call.action.sources", "unheard.of", "reasoning.encrypted_content"]
    assert sent(include=include)["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert sent(include=[])["include"] == ["reasoning.encrypted_content"]


def test_client_metadata_passes():
    assert sent(client_metadata={"a": "b"})["client_metadata"] == {"a": "b"}


# --- Tools ------------------------------------------------------------------------------


def test_tools_pass_as_they_are():
    tools = [
        {**FUNCTION, "strict": None, "defer_loading": True},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: A"}},
        {"type": "web_search", "search_context_size": "low"},
        {"type": "image_generation", "size": "1024x1024"},
        {"type": "local_shell"},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{**FUNCTION, "name": "g"}]},
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": {}},
    ]
    assert sent(tools=tools)["tools"] == tools
    assert "strict" not in sent(tools=[FUNCTION])["tools"][0]


def test_a_tool_that_nobody_knows_yet_passes_and_the_upstream_judges():
    turn = understood(tools=[{"type": "hologram", "beam": "blue"}])
    assert turn.request.tools == [{"type": "hologram", "beam": "blue"}]


def test_older_names_and_nested_shapes_are_put_right():
    nested = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    old = [nested, {"type": "web_search_preview_2025_03_11"}, {"type": "function", "name": "bare"}]
    assert sent(tools=old)["tools"] == [
        {**FUNCTION, "strict": False},
        {"type": "web_search"},
        {"type": "function", "name": "bare", "parameters": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize(
    "kind", ["file_search", "code_interpreter", "computer_use_preview", "mcp", "shell", "apply_patch"]
)
def test_what_these_accounts_do_not_have_is_refused(kind: str):
    error = refused(tools=[FUNCTION, {"type": kind}])
    assert (error.code, error.param) == ("unsupported_tool", "tools[1].type")


@pytest.mark.parametrize(
    ("tool", "param"), [({"type": "function"}, "tools[0].name"), ({"type": 5}, "tools[0].type"), ({}, "tools[0].type")]
)
def test_a_tool_without_what_it_needs(tool: dict[str, Any], param: str):
    assert refused(tools=[tool]).param == param


@pytest.mark.check(46)
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        ({"type": "web_search_preview"}, {"type": "web_search"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_the_choice_of_a_tool(choice: object, expected: object):
    assert sent(tools=[FUNCTION, SEARCH], tool_choice=choice)["tool_choice"] == expected


def test_a_choice_within_a_namespace_and_one_that_nobody_has():
    tools = [{"type": "namespace", "name": "n", "tools": [{**FUNCTION, "name": "g"}]}]
    assert sent(tools=tools, tool_choice={"type": "function", "name": "g"})["tool_choice"]["name"] == "g"
    assert refused(tools=tools, tool_choice={"type": "function", "name": "x"}).param == "tool_choice"


def test_tools_that_came_as_input_can_be_chosen():
    extra = {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}
    turn = understood([extra, {"role": "user", "content": "hi"}], tool_choice={"type": "function", "name": "f"})
    assert turn.request.tool_choice == {"type": "function", "name": "f"}


@pytest.mark.check(48)
def test_parallel_calls_are_spoken_of_only_beside_tools():
    assert "parallel_tool_calls" not in sent(parallel_tool_calls=False)
    assert "parallel_tool_calls" not in sent(tools=[FUNCTION])
    assert sent(tools=[FUNCTION], parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_the_operators_web_search_is_added_unless_the_request_speaks_of_it():
    on = {"web_search": True}
    assert sent(defaults=on)["tools"] == [SEARCH]
    assert sent(tools=[FUNCTION], defaults=on)["tools"] == [FUNCTION, SEARCH]
    given = {"type": "web_search", "search_context_size": "low"}
    assert sent(tools=[given], defaults=on)["tools"] == [given]
    assert "tools" not in sent(responses_tool_choice="none", defaults=on)
    assert sent(tools=[FUNCTION], tool_choice="none", defaults=on)["tools"] == [FUNCTION]
    assert sent(responses_tools=[SEARCH])["tools"] == [SEARCH]


@pytest.mark.check(103)
def test_long_names_and_call_ids_are_shortened_on_both_sides():
    name, call_id = "mcp.server/" + "x" * 90, "call_" + "y" * 120
    turn = understood(
        [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"},
            {"type": "function_call_output", "call_id": call_id, "output": "done"},
        ],
        tools=[{**FUNCTION, "name": name}],
        tool_choice={"type": "function", "name": name},
    )
    body = msgspec.json.decode(turn.request.to_json())
    (tool,), (_, call, output) = body["tools"], body["input"]
    assert tool["name"] == call["name"] == body["tool_choice"]["name"]
    assert call["call_id"] == output["call_id"]
    assert max(len(tool["name"]), len(call["call_id"])) <= 64
    assert options_of(turn).tool_names == {tool["name"]: name}
    assert options_of(turn).echo["tools"][0]["name"] == name


# --- The echo ---------------------------------------------------------------------------


@pytest.mark.check(73, 74)
def test_the_echo_is_the_clients_own_request():
    body: dict[str, Any] = {
        "instructions": "be short",
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "truncation": "auto",
        "metadata": {"a": "b"},
        "tools": [{"type": "web_search_preview"}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "prompt_cache_key": "mine",
        "safety_identifier": "s",
        "user": "u",
        "reasoning": {"effort": "ultra", "summary": "concise"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
    }
    echo = options_of(understood(**body)).echo
    unchanged = set(body) - {"truncation", "text"}
    assert {name: echo[name] for name in unchanged} == {name: body[name] for name in unchanged}
    assert echo["truncation"] == "disabled"
    assert echo["text"] == {**body["text"], "verbosity": "medium"}


@pytest.mark.check(73)
def test_the_echo_of_a_request_that_says_nothing():
    echo = options_of(understood(defaults={"web_search": True})).echo
    assert (echo["instructions"], echo["tools"], echo["tool_choice"]) == (None, [], "auto")
    assert (echo["metadata"], echo["text"]) == ({}, {"format": {"type": "text"}, "verbosity": "medium"})
    assert (echo["prompt_cache_key"], echo["safety_identifier"], echo["user"]) == (None, None, None)
    assert echo["reasoning"] == {"effort": "medium", "summary": None}


@pytest.mark.check(108)
def test_the_cache_key_is_the_clients_and_the_tenants():
    key = sent(prompt_cache_key="mine")["prompt_cache_key"]
    assert key == sent("other words", prompt_cache_key="mine")["prompt_cache_key"]
    assert key != "mine"
    assert sent(headers={"x-session-id": "mine"})["prompt_cache_key"] == key


def test_what_the_backend_would_refuse_is_known_to_this_test():
    assert refusal({**sent(), "temperature": 1}) is not None
