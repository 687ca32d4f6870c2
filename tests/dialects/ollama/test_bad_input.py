"""Any body decodes to a ``Turn`` or a ``ReadyReply``, or raises a ``ClientError``; nothing else is raised."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.dialect import Dialect, ReadyReply
from gptmock.errors import ClientError
from tests.dialects.ollama.asked import CHAT, GENERATE, PNG, ROUTES, decoded, understood
from tests.playbook import HEAD

routes = pytest.mark.parametrize("route", ROUTES)
CALL = {"id": "c1", "function": {"name": "f", "arguments": {"x": 1}}}
GOOD: dict[str, Any] = {
    "model": "gpt-5.5:high",
    "think": "low",
    "format": {"type": "object"},
    "options": {"stop": ["x"], "temperature": 0},
    "keep_alive": "5m",
    "responses_tools": [{"type": "web_search"}],
    "responses_tool_choice": "auto",
    "images": [PNG],
    # Read by one route each.
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "t", "images": [PNG]},
        {"role": "assistant", "content": "<think>a</think>a", "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_name": "f", "tool_call_id": "c1", "content": "x"},
        {"role": "user", "content": "t"},
    ],
    "tools": [{"type": "function", "function": {"name": "f.g", "parameters": {"properties": {}}}}],
    "prompt": "p",
    "suffix": "s",
    "system": "s",
    "template": "t",
    "context": [1],
}
KEYS = sorted({*GOOD, *CALL, "role", "content", "name", "arguments", "parameters", "type", "tool_calls", "stop", "raw"})
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["user", "assistant", "tool", "system", "function", "f", "json", "high", "0", "web_search", PNG]),
)
values = st.recursive(
    scalars,
    lambda some: st.one_of(st.lists(some, max_size=4), st.dictionaries(st.sampled_from(KEYS), some, max_size=5)),
    max_leaves=12,
)


def survives(route: Dialect, body: Any) -> None:
    with contextlib.suppress(ClientError):
        turn = decoded(route, body)
        if isinstance(turn, ReadyReply):
            assert json.loads(turn.document(HEAD))["done"] is True
        else:
            assert json.loads(turn.request.to_json())["input"]


def changed(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """A good body with one member, anywhere inside it, that is something else."""
    body = json.loads(json.dumps(good))
    container = body
    while True:
        key = draw(st.sampled_from(list(container) if isinstance(container, dict) else list(range(len(container)))))
        child = container[key]
        if not isinstance(child, dict | list) or not child or draw(st.booleans()):
            container[key] = draw(values)
            return body
        container = child


@routes
@given(data=st.data())
def test_any_change_of_a_good_body_survives(route, data):
    survives(route, changed(data.draw, GOOD))


@routes
@given(body=st.dictionaries(st.sampled_from(KEYS), values, max_size=6))
def test_any_body_survives(route, body):
    survives(route, body)
    survives(route, {**body, "model": "gpt-5.5"})


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=5), max_size=4))
def test_any_messages_survive(messages):
    survives(CHAT, {"model": "gpt-5.5", "messages": [{"role": "user", "content": "t"}, *messages]})


@routes
@given(data=st.binary(max_size=60))
def test_any_bytes_survive(route, data):
    survives(route, data)


def test_the_good_body_is_good():
    assert len(understood(CHAT, GOOD).request.input) == 7
    assert len(understood(GENERATE, GOOD).request.input) == 3
