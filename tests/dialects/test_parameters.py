"""Members of a body that are in no model: accepted by every dialect, not sent upstream, and named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.table import DIALECTS
from gptmock.errors import BadRequest
from tests.playbook import terms

QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "ollama_chat": {"messages": [{"role": "user", "content": "hi"}]},
    "ollama_generate": {"prompt": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1024},
}
ROUTES = {route.name: route for route in DIALECTS}
routes = pytest.mark.parametrize("dialect", ROUTES)
UNKNOWN: Mapping[str, Any] = {
    "typical_p": 1,
    "min_p": 0.0,
    "repetition_penalty": 1.1,
    "zz": False,
    "größe\n": {},
    "aa": [],
}


def understood(dialect: str, *, headers: Mapping[str, str] | None = None, strict: bool = False, **members: Any) -> Turn:
    body = {"model": "gpt-5.5", **QUESTIONS[dialect], **members}
    call = Call(json.dumps(body).encode(), headers or {})
    turn = ROUTES[dialect].dialect.decode(call, terms(strict_parameters=strict))
    assert isinstance(turn, Turn)
    return turn


@pytest.mark.check(116)
@routes
@pytest.mark.parametrize("strict", [False, True])
def test_unknown_members_are_named_in_the_order_of_the_body_and_never_refused(dialect: str, *, strict: bool):
    turn = understood(dialect, strict=strict, **UNKNOWN)
    assert turn.ignored == tuple(UNKNOWN)
    backwards = dict(reversed(list(UNKNOWN.items())))
    assert understood(dialect, strict=strict, **backwards).ignored == tuple(backwards)
    assert turn.request.to_json() == understood(dialect).request.to_json()


@routes
def test_null_is_absent_and_a_plain_question_names_nothing(dialect: str):
    assert understood(dialect, top_k=None).ignored == ()
    assert understood(dialect, strict=True).ignored == ()


@routes
def test_known_parameters_are_named_before_unknown_ones(dialect: str):
    known = {"options": {"odd": 1, "seed": 1}} if dialect.startswith("ollama") else {"temperature": 1}
    named = ("options.seed", "odd", "options.odd") if dialect.startswith("ollama") else ("temperature", "odd")
    assert understood(dialect, odd=1, **known).ignored == named


@routes
@pytest.mark.parametrize(
    "name", ["model_config", "model_fields", "__class__", "model_extra", "ignored", "copy", "json"]
)
def test_names_that_mean_something_to_python_are_names(dialect: str, name: str):
    members: dict[str, Any] = {name: 1}
    assert understood(dialect, **members).ignored == (name,)


@pytest.mark.parametrize(
    ("dialect", "members", "named"),
    [
        (
            "chat",
            {"reasoning": {"effort": "low", "exclude": True, "max_tokens": 9}},
            ("reasoning.exclude", "reasoning.max_tokens"),
        ),
        ("chat", {"stream_options": {"odd": 1}}, ("stream_options.odd",)),
        ("chat", {"response_format": {"type": "text", "odd": 1}}, ("response_format.odd",)),
        (
            "chat",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"odd": 1}, "odd": 1}}},
            ("response_format.json_schema.odd",),
        ),
        ("completions", {"stream_options": {"odd": 1}}, ("stream_options.odd",)),
        ("responses", {"reasoning": {"odd": 1, "mode": None}}, ("reasoning.odd",)),
        ("responses", {"stream_options": {"odd": 1}}, ("stream_options.odd",)),
        ("responses", {"text": {"odd": 1, "format": {"type": "text", "odd": 2}}}, ("text.odd", "text.format.odd")),
        ("ollama_chat", {"options": {"num_gpu": 1, "stop": "x"}}, ("options.num_gpu",)),
        ("ollama_generate", {"options": {"num_gpu": 1, "stop": "x"}}, ("options.num_gpu",)),
    ],
)
def test_members_of_objects_are_named_with_their_path(dialect: str, members: Mapping[str, Any], named: tuple[str, ...]):
    assert understood(dialect, **members).ignored == named
    assert understood(dialect, strict=True, **members).ignored == named


FUNCTION = {"name": "f", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, ("thinking",)),
        ({"thinking": True, "enable_thinking": True}, ("thinking", "enable_thinking")),
        ({"thinking": False, "reasoning_effort": "high"}, ("thinking",)),
        ({"thinking": False, "enable_thinking": False}, ()),
        ({"reasoning": {"enabled": True}}, ("reasoning.enabled",)),
        ({"reasoning": {"enabled": False, "effort": "high"}}, ("reasoning.enabled",)),
        (
            {"reasoning_effort": "high", "reasoning": {"effort": "low"}, "reasoningEffort": "high"},
            ("reasoning.effort",),
        ),
        ({"input": "x", "instructions": "y"}, ("input", "instructions")),
        ({"tools": [TOOL], "functions": [FUNCTION], "function_call": "auto"}, ("functions", "function_call")),
        ({"functions": [FUNCTION], "tool_choice": "auto"}, ("tool_choice",)),
        ({"functions": [FUNCTION], "function_call": "auto"}, ()),
        ({"stream_options": {"include_obfuscation": True}}, ("stream_options.include_obfuscation",)),
        ({"stream_options": {"include_obfuscation": False}}, ()),
    ],
)
def test_chat_names_what_other_members_decide(members: Mapping[str, Any], named: tuple[str, ...]):
    assert understood("chat", **members).ignored == named
    assert understood("chat", strict=True, **members).ignored == named


@pytest.mark.check(357)
@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"store": True}, ("store",)),
        ({"store": False}, ()),
        ({"include": ["nobody.knows"]}, ("include",)),
        ({"include": ["nobody.knows", "reasoning.encrypted_content"]}, ()),
        ({"reasoning": {"context": "odd"}}, ("reasoning.context",)),
        ({"reasoning": {"context": "auto", "summary": "auto", "generate_summary": "auto"}}, ()),
        ({"reasoning": {"summary": "auto", "generate_summary": "concise"}}, ("reasoning.generate_summary",)),
        ({"generate": True}, ()),
    ],
)
def test_responses_names_known_members_in_vain(members: Mapping[str, Any], named: tuple[str, ...]):
    assert understood("responses", **members).ignored == named
    assert understood("responses", strict=True, **members).ignored == named


def test_a_format_is_repeated_without_what_is_unknown():
    turn = understood("responses", text={"format": {"type": "json_schema", "name": "n", "schema": {}, "odd": 1}})
    assert turn.reply.options.echo["text"]["format"] == {  # type: ignore[attr-defined]
        "type": "json_schema",
        "name": "n",
        "schema": {},
    }


def test_of_a_codex_client_everything_passes_and_nothing_is_named():
    body: dict[str, Any] = {"odd": 1, "temperature": 1, "reasoning": {"odd": 1}, "personality": "friendly"}
    turn = understood("responses", headers={"originator": "codex_cli_rs"}, **body)
    assert turn.ignored == ()
    sent = json.loads(turn.request.to_json())
    assert {name: sent[name] for name in body} == body


@pytest.mark.parametrize("name", ["image", "access_programs", "personality", "background_options", "generate"])
def test_what_the_public_api_knows_is_refused_by_strict_parameters(name: str):
    members: dict[str, Any] = {name: False}
    with pytest.raises(BadRequest) as caught:
        understood("responses", strict=True, **members)
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
