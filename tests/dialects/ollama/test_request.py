"""The members that ``/api/chat`` and ``/api/generate`` decode in the same way."""

import json

import pytest

from gptmock.dialects.ollama.parameters import OPTION_RULES, RULES
from gptmock.dialects.ollama.types import Options
from gptmock.errors import UnknownModel
from tests.dialects.ollama.asked import (
    CHAT,
    GENERATE,
    ROUTES,
    decoded,
    options_of,
    question,
    ready,
    refused,
    told,
    understood,
    upstream_body,
)

routes = pytest.mark.parametrize("route", ROUTES)
SEARCH = {"type": "web_search"}


# --- Bodies ----------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_called_missing(route, body):
    assert told(route, refused(route, body)) == "missing request body"


@routes
@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_a_400_with_the_decoders_text(route, body):
    error = refused(route, body)
    assert error.status_hint == 400
    assert "JSON" in told(route, error)


@routes
@pytest.mark.parametrize("model", [None, "", "  "])
def test_a_model_is_required(route, model):
    body = question(route, model=model)
    assert told(route, refused(route, body, model="gpt-5.5")) == "model is required"


@routes
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("stream", "yes"),
        ("options", []),
        ("options", {"stop": 5}),
        ("think", 5),
        ("think", []),
        ("responses_tools", {}),
        ("responses_tool_choice", "required"),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
        ("images", "x"),
    ],
)
def test_a_wrong_type_is_a_400_that_names_the_field(route, member, value):
    error = refused(route, question(route, **{member: value}))
    assert str(error.param).startswith(member)
    assert member in told(route, error)


@routes
def test_what_is_unknown_is_ignored_and_named(route):
    plain = upstream_body(route, question(route))
    body = question(route, tool_choice="required", nobody={"knows": 1}, options={"num_gpu": 99, "flux": 1})
    assert upstream_body(route, body) == plain
    named = ("tool_choice", "nobody", "options.num_gpu", "options.flux")
    assert understood(route, body, strict_parameters=True).ignored == named


@routes
def test_streaming_is_the_default(route):
    assert understood(route, question(route)).stream is True
    assert understood(route, question(route, stream=None)).stream is True
    assert understood(route, question(route, stream=False)).stream is False


# --- Models ----------------------------------------------------------------------------


@routes
@pytest.mark.parametrize(
    ("name", "slug", "effort"),
    [
        ("gpt-5.5", "gpt-5.5", "medium"),
        ("GPT-5.5:latest", "gpt-5.5", "medium"),
        ("gpt-5.5:high", "gpt-5.5", "high"),
        ("gpt-5.5-low", "gpt-5.5", "low"),
        ("somebody/else", "somebody/else", "medium"),
    ],
)
def test_a_name_is_resolved_and_repeated_as_it_was_written(route, name, slug, effort):
    turn = understood(route, question(route, model=name))
    assert (turn.request.model, turn.model) == (slug, name)
    assert json.loads(turn.request.to_json())["reasoning"]["effort"] == effort


@routes
def test_a_fast_model_and_a_fast_server_ask_for_priority(route):
    assert upstream_body(route, question(route, model="gpt-5.5-fast"))["service_tier"] == "priority"
    assert upstream_body(route, question(route), fast=True)["service_tier"] == "priority"
    assert "service_tier" not in upstream_body(route, question(route))


# --- Thinking --------------------------------------------------------------------------


@pytest.mark.check(58)
@routes
@pytest.mark.parametrize(
    ("think", "effort", "shown"),
    [
        (None, "medium", True),
        (True, "medium", True),
        (False, "low", False),
        ("none", "low", False),
        ("minimal", "low", True),
        ("low", "low", True),
        ("medium", "medium", True),
        ("high", "high", True),
        ("xhigh", "xhigh", True),
        ("max", "xhigh", True),
    ],
)
def test_think_is_an_effort_and_whether_it_is_shown(route, think, effort, shown):
    turn = understood(route, question(route, think=think))
    reasoning = json.loads(turn.request.to_json())["reasoning"]
    assert reasoning == ({"effort": effort, "summary": "auto"} if shown else {"effort": effort})
    assert options_of(turn).style == ("reasoning-content" if shown else "hidden")


@pytest.mark.check(58)
@routes
@pytest.mark.parametrize("think", ["weird", "", "HIGH"])
def test_another_word_for_think_is_a_400(route, think):
    error = refused(route, question(route, think=think))
    assert error.param == "think"
    assert told(route, error).startswith(f'invalid think value: "{think}" (must be')


@routes
def test_think_false_wins_over_the_name_and_a_level_too(route):
    assert upstream_body(route, question(route, model="gpt-5.5-high", think="low"))["reasoning"]["effort"] == "low"
    assert upstream_body(route, question(route, model="gpt-5.5-high", think=True))["reasoning"]["effort"] == "high"
    assert upstream_body(route, question(route, model="gpt-5.5-high", think=False))["reasoning"]["effort"] == "low"


@routes
def test_the_operator_speaks_for_those_who_say_nothing(route):
    quiet = {"reasoning_effort": "none", "reasoning_summary": "none"}
    assert upstream_body(route, question(route, model="x"), **quiet)["reasoning"] == {"effort": "none"}
    asked = upstream_body(route, question(route, model="x", think=True), **quiet)["reasoning"]
    assert asked == {"effort": "medium", "summary": "auto"}
    given = upstream_body(route, question(route, think="high"), reasoning_summary="detailed")["reasoning"]
    assert given == {"effort": "high", "summary": "detailed"}


@routes
@pytest.mark.parametrize("style", ["think-tags", "o3", "legacy", "reasoning-content"])
def test_every_style_but_hidden_is_thinking_here(route, style):
    assert options_of(understood(route, question(route), reasoning_style=style)).style == "reasoning-content"
    hidden = understood(route, question(route, think=True), reasoning_style="hidden")
    assert options_of(hidden).style == "hidden"
    assert json.loads(hidden.request.to_json())["reasoning"] == {"effort": "medium"}


# --- Format ----------------------------------------------------------------------------


@pytest.mark.check(43)
@routes
@pytest.mark.parametrize("wanted", ["json", {}])
def test_json_is_asked_for_with_the_word_in_the_input(route, wanted):
    sent = upstream_body(route, question(route, format=wanted))
    assert sent["text"] == {"format": {"type": "json_object"}}
    assert sent["input"][-1]["role"] == "developer"
    assert "JSON" in sent["input"][-1]["content"][0]["text"]


@pytest.mark.check(43)
def test_the_word_is_not_added_where_it_stands():
    body = question(GENERATE, prompt="Answer in JSON.", format="json")
    assert len(upstream_body(GENERATE, body)["input"]) == 1


@pytest.mark.check(43)
@routes
def test_a_schema_is_passed_on_and_not_strict(route):
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    sent = upstream_body(route, question(route, format=schema))
    expected = {"type": "json_schema", "name": "response", "schema": schema, "strict": False}
    assert sent["text"] == {"format": expected}
    assert json.dumps(sent["text"]["format"]["schema"]) == json.dumps(schema)
    assert len(sent["input"]) == 1


@routes
@pytest.mark.parametrize("wanted", [None, ""])
def test_no_format_is_none(route, wanted):
    assert "text" not in upstream_body(route, question(route, format=wanted))


@routes
@pytest.mark.parametrize("wanted", ["xml", 5, ["json"], True])
def test_another_format_is_a_400(route, wanted):
    error = refused(route, question(route, format=wanted))
    assert error.param == "format"
    assert told(route, error).startswith(f"invalid format: {json.dumps(wanted)[:50]}")


# --- Options ---------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("name", [rule.name for rule in OPTION_RULES])
def test_an_option_without_effect_is_named_or_refused(route, name):
    body = question(route, options={name: 1})
    assert understood(route, body).ignored == (f"options.{name}",)
    assert refused(route, body, strict_parameters=True).param == f"options.{name}"


def test_every_option_is_in_the_table_or_has_an_effect():
    assert {rule.name for rule in OPTION_RULES} == set(Options.model_fields) - {"stop"}


@routes
@pytest.mark.parametrize(("name", "value"), [(rule.name, True if rule.name != "top_logprobs" else 3) for rule in RULES])
def test_a_parameter_without_effect_is_named_or_refused(route, name, value):
    body = question(route, **{name: value})
    assert understood(route, body).ignored == (name,)
    assert refused(route, body, strict_parameters=True).param == name
    assert understood(route, question(route, **{name: type(value)(0)}), strict_parameters=True).ignored == ()


@routes
@pytest.mark.parametrize("keep_alive", ["5m", "-1", -1, 0, 300, 1.5, "forever", None])
def test_keep_alive_is_accepted_whatever_it_is(route, keep_alive):
    assert understood(route, question(route, keep_alive=keep_alive), strict_parameters=True).ignored == ()


@routes
def test_stop_sequences_are_emulated(route):
    assert options_of(understood(route, question(route, options={"stop": ["a", "", "b"]}))).stops == ("a", "b")
    assert options_of(understood(route, question(route, options={"stop": "a"}))).stops == ("a",)
    assert refused(route, question(route, options={"stop": ["a"] * 65})).param == "options.stop"


# --- Web search ------------------------------------------------------------------------


@routes
def test_web_search_is_asked_for_as_the_ancestors_clients_do(route):
    assert "tools" not in upstream_body(route, question(route))
    preview = [{"type": "web_search_preview", "search_context_size": "low"}]
    sent = upstream_body(route, question(route, responses_tools=preview, responses_tool_choice="auto"))
    assert sent["tools"] == [{"type": "web_search", "search_context_size": "low"}]
    assert "tools" not in upstream_body(route, question(route, responses_tools=preview, responses_tool_choice="none"))
    assert refused(route, question(route, responses_tools=[{"type": "mcp"}])).code == "unsupported_tool"


@routes
def test_the_servers_web_search_is_offered_unless_it_is_switched_off(route):
    assert upstream_body(route, question(route), web_search=True)["tools"] == [SEARCH]
    given = upstream_body(route, question(route, responses_tools=[SEARCH]), web_search=True)
    assert given["tools"] == [SEARCH]
    assert "tools" not in upstream_body(route, question(route, responses_tool_choice="none"), web_search=True)


# --- Load and unload ---------------------------------------------------------------------


@pytest.mark.check(97)
@routes
@pytest.mark.parametrize(
    ("keep_alive", "reason"),
    [
        (None, "load"),
        ("5m", "load"),
        (-1, "load"),
        ("-1", "load"),
        (False, "load"),
        ("0x", "load"),
        (0, "unload"),
        (0.0, "unload"),
        ("0", "unload"),
        ("0s", "unload"),
        ("0m", "unload"),
        ("0.0h", "unload"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_asks_nothing_loads_or_unloads(route, keep_alive, reason, stream):
    body = question(route, model="GPT-5.5:latest", keep_alive=keep_alive, stream=stream, messages=[], prompt="")
    answer = ready(route, body)
    said = {"message": {"role": "assistant", "content": ""}} if route is CHAT else {"response": ""}
    fixed = {"model": "GPT-5.5:latest", "created_at": "2026-09-21T14:13:20Z"}
    assert answer == {**fixed, **said, "done": True, "done_reason": reason}


@routes
def test_what_asks_nothing_needs_a_model_that_is_there(route):
    assert told(route, refused(route, {})) == "model is required"
    for name in ("nobody", "gpt-5"):
        with pytest.raises(UnknownModel) as caught:
            decoded(route, {"model": name})
        assert caught.value.status_hint == 404
        assert told(route, caught.value).startswith(f"model '{name}' not found: ")
    assert ready(route, {"model": "nobody"}, debug_model="gpt-5.5")["done_reason"] == "load"


def test_conversations_have_their_own_cache_keys():
    one = upstream_body(GENERATE, question(GENERATE))["prompt_cache_key"]
    assert one == upstream_body(GENERATE, question(GENERATE, options={"seed": 1}))["prompt_cache_key"]
    assert one != upstream_body(GENERATE, question(GENERATE, prompt="ho"))["prompt_cache_key"]
