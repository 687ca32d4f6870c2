"""Decodes Responses request bodies, for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.responses import Responses
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.errors import BadRequest
from gptmock.simulator.catalogue import load_catalogue
from gptmock.simulator.rules import first_refusal
from tests.playbook import terms

RESPONSES = Responses()


def understood(
    given: Any = "Hello",
    *,
    headers: dict[str, str] | None = None,
    defaults: dict[str, Any] | None = None,
    **members: Any,
) -> Turn:
    """The turn of a body with this input."""
    body = {"model": "gpt-5.5", "input": given, **members}
    body = {name: value for name, value in body.items() if value is not ...}
    return RESPONSES.decode(Call(json.dumps(body).encode(), headers or {}), terms(**(defaults or {})))


def options_of(turn: Turn) -> ResponsesOptions:
    """What the request asks of its reply."""
    assert isinstance(turn.reply, ResponsesReply)
    return turn.reply.options


def sent(given: Any = "Hello", **members: Any) -> dict[str, Any]:
    """The upstream request body, checked by the simulator's rules."""
    turn = understood(given, **members)
    document: dict[str, Any] = msgspec.json.decode(turn.request.to_json())
    assert refusal(document) is None
    return document


def refusal(document: dict[str, Any]) -> Any:
    """The simulator's refusal of a body."""
    model = load_catalogue().find(document["model"], "pro")
    assert model is not None
    return first_refusal(document, model=model, lite=False, account_id="account")


def refused(given: Any = "Hello", **members: Any) -> BadRequest:
    """The ``BadRequest`` for a body."""
    with pytest.raises(BadRequest) as raised:
        understood(given, **members)
    return raised.value
