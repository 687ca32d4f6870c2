from __future__ import annotations

import json
from typing import Any

import pytest

from gptmock.dialects.responses.codex import forwarded_headers, is_codex, shown_version
from gptmock.errors import BadRequest
from tests.dialects.responses.asked import options_of, refused, understood

AGENT = "codex_exec/0.171.0 (Debian 13.0.0; x86_64) unknown"
CODEX = {"originator": "codex_exec", "user-agent": AGENT}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"originator": "codex_cli_rs"}, True),
        ({"originator": "Codex Desktop"}, True),
        ({"user-agent": AGENT}, True),
        ({"originator": "gptmock", "user-agent": "codex-tui/0.1"}, True),
        ({"originator": "my-codex", "user-agent": "OpenAI/Python 3.3.1"}, False),
        ({"x-codex-window-id": "codex"}, False),
        ({}, False),
    ],
)
def test_who_is_a_codex(headers: dict[str, str], expected: bool):  # noqa: FBT001
    assert is_codex(headers) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"user-agent": "codex_cli_rs/0.172.0 (Debian 13.0.0; x86_64) unknown"}, "0.172.0"),
        ({"user-agent": "codex_cli_rs/0.172.0"}, "0.172.0"),
        ({"originator": "Codex Desktop", "user-agent": "Codex Desktop/0.180.2 (Mac OS 26.0; arm64)"}, "0.180.2"),
        ({"originator": "codex_exec", "version": "0.172.0"}, "0.172.0"),
        ({"originator": "codex_exec", "version": "0.172.0", "user-agent": "my-app/0.300.0"}, "0.172.0"),
        ({"user-agent": "codex_exec/0.173.0 (x)", "version": "0.173.0"}, "0.173.0"),
        ({"user-agent": "codex_exec/0.180.0 (x)", "version": "0.172.9"}, "0.172.9"),
        ({"user-agent": "codex_exec/0.169.0 (x)", "version": "0.180.0"}, "0.169.0"),
        ({"user-agent": "codex-cli/0.1", "originator": "codex_cli_rs"}, None),
        ({"user-agent": "codex_exec/0.172.0-alpha.3 (x)"}, None),
        ({"user-agent": "codex_exec/0.172.0+build (x)"}, None),
        ({"user-agent": "codex_exec/999.0.0 (x)"}, None),
        ({"user-agent": "codex_exec/0.172.0 (x)", "version": "999.0.0"}, None),
        ({"user-agent": "codex_exec/0.172.0 (x)", "version": ""}, None),
        ({"user-agent": "codex_exec/"}, None),
        ({"user-agent": "codex_exec"}, None),
        ({"originator": "codex_exec", "user-agent": "OpenAI/Python 0.172.0"}, None),
        ({"originator": "gptmock", "user-agent": "OpenAI/0.172.0", "version": "0.172.0"}, None),
        ({"user-agent": "not-codex/0.172.0"}, None),
        ({}, None),
    ],
)
def test_which_version_a_codex_shows(headers: dict[str, str], expected: str | None):
    assert shown_version(headers) == expected


def test_which_headers_pass():
    passing = {
        **CODEX,
        "version": "0.170.0",
        "session-id": "s",
        "session_id": "s",
        "thread-id": "t",
        "x-client-request-id": "r",
        "x-codex-window-id": "w",
        "x-codex-routing-hint": "model=gpt-6.2-sol",
        "x-codex-turn-state": "ü",
        "x-openai-subagent": "review",
        "x-openai-internal-codex-responses-lite": "true",
    }
    staying = {
        "authorization": "Bearer sk-client",
        "chatgpt-account-id": "another",
        "cookie": "c",
        "host": "h",
        "content-length": "3",
        "accept": "a",
        "x-stainless-lang": "python",
        "x-openai-client-user-agent": "{}",
        "x-openai-fedramp": "true",
        "x-openai-account-routing-override": "workspace-1",
        "x-openai-internal-codex-residency": "eu",
        "x-codex-workspace-id": "w",
        "x-oai-attestation": "a",
        "oai-device-id": "d",
        "openai-organization": "o",
        "x-forwarded-for": "1.2.3.4",
    }
    assert forwarded_headers({**passing, **staying}) == passing


def test_the_version_is_that_of_the_user_agent_unless_it_is_said():
    assert forwarded_headers({"user-agent": AGENT}) == {**CODEX, "version": "0.171.0"}
    assert forwarded_headers({"user-agent": AGENT, "version": "1.2.3"})["version"] == "1.2.3"
    assert forwarded_headers({"originator": "codex_x", "user-agent": "odd"}) == {
        "originator": "codex_x",
        "user-agent": "odd",
    }


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\x00", "a\x1b[31m"])
def test_a_header_with_a_control_character_is_refused(value: str):
    with pytest.raises(BadRequest) as raised:
        forwarded_headers({**CODEX, "x-codex-window-id": value})
    assert raised.value.code == "invalid_header"
    assert "x-codex-window-id" in raised.value.message
    assert value not in raised.value.message
    assert forwarded_headers({**CODEX, "x-codex-window-id": "a\tb"})


def asked(given: Any = "Hello", **members: Any) -> dict[str, Any]:
    turn = understood(given, headers=CODEX, **members)
    assert options_of(turn).codex
    document: dict[str, Any] = json.loads(turn.request.to_json())
    return document


def test_a_body_is_changed_only_where_the_backend_insists():
    items = [{"type": "hologram", "nothing": None}, {"role": "user", "content": "hi", "id": "u_1"}]
    more = {"tools": [{"type": "mcp"}], "text": {"odd": 1}, "unheard_of": {"a": None}, "metadata": {"m": 1}}
    body = asked(items, prompt_cache_key="k", store=True, stream=False, temperature=1, **more)
    assert body == {
        "model": "gpt-5.5",
        "input": items,
        "prompt_cache_key": "k",
        "store": False,
        "stream": True,
        "temperature": 1,
        **more,
    }


def test_the_operators_defaults_stay_out():
    defaults = {"web_search": True, "fast": True, "reasoning_effort": "high", "strict_parameters": True}
    assert set(asked(defaults=defaults)) == {"model", "input", "prompt_cache_key", "store", "stream"}
    assert asked(model=..., defaults={"model": "gpt-6-sol"})["model"] == "gpt-6-sol"
    assert asked(defaults={"debug_model": "gpt-6-sol"})["model"] == "gpt-6-sol"


def test_the_suffixes_of_a_name_are_the_clients_own():
    body = asked(model="gpt-6.1-sol-ultra-fast", reasoning={"context": "all_turns"})
    assert (body["model"], body["service_tier"]) == ("gpt-6.1-sol", "priority")
    assert body["reasoning"] == {"context": "all_turns", "effort": "max"}
    body = asked(model="gpt-5.5-high-fast", reasoning={"effort": "low"}, service_tier="odd")
    assert (body["reasoning"], body["service_tier"]) == ({"effort": "low"}, "odd")


def test_the_session_of_a_codex_that_names_no_cache_key():
    assert asked("one")["prompt_cache_key"] == asked("one")["prompt_cache_key"] != asked("two")["prompt_cache_key"]


@pytest.mark.parametrize("given", [..., None, "", [], 5, [5]])
def test_there_has_to_be_an_input(given: object):
    assert refused(given, headers=CODEX).status_hint == 400


def test_what_the_reply_owes():
    turn = understood(headers=CODEX, stream=True)
    assert (turn.stream, options_of(turn).echo, turn.forwards_headers, turn.ignored) == (True, {}, True, ())
    assert turn.headers["user-agent"] == AGENT
    assert understood().headers == {}
