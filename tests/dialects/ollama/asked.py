"""Decodes bodies of ``/api/chat`` and ``/api/generate``, for the tests of the three Ollama folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gptmock.dialects.dialect import Call, Dialect, ReadyReply, ReplyHead, Turn
from gptmock.dialects.ollama.reply import OllamaReply
from gptmock.dialects.ollama.reply_content import OllamaOptions
from gptmock.dialects.ollama_chat import OllamaChat
from gptmock.dialects.ollama_generate import OllamaGenerate
from gptmock.errors import BadRequest, GptmockError
from tests.playbook import HEAD, terms

CHAT: Dialect = OllamaChat()
GENERATE: Dialect = OllamaGenerate()
USER: Mapping[str, Any] = {"role": "user", "content": "hi"}
PNG = "iVBORw0KGgo="
PNG_URL = f"data:image/png;base64,{PNG}"
ROUTES = [pytest.param(CHAT, id="chat"), pytest.param(GENERATE, id="generate")]


def question(route: Dialect, **members: Any) -> dict[str, Any]:
    """A body that asks something."""
    asked = {"messages": [USER]} if route is CHAT else {"prompt": "hi"}
    return {"model": "gpt-5.5", **asked, **members}


def decoded(route: Dialect, body: Mapping[str, Any] | bytes, **defaults: Any) -> Turn | ReadyReply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return route.decode(Call(data), terms(**defaults))


def understood(route: Dialect, body: Mapping[str, Any], **defaults: Any) -> Turn:
    turn = decoded(route, body, **defaults)
    assert isinstance(turn, Turn)
    return turn


def options_of(turn: Turn) -> OllamaOptions:
    """What the request asks of its reply."""
    assert isinstance(turn.reply, OllamaReply)
    return turn.reply.options


def upstream_body(route: Dialect, body: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """What goes upstream."""
    sent: dict[str, Any] = json.loads(understood(route, body, **defaults).request.to_json())
    return sent


def refused(route: Dialect, body: Mapping[str, Any] | bytes, **defaults: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decoded(route, body, **defaults)
    return caught.value


def told(route: Dialect, error: GptmockError) -> str:
    """The one string of an error."""
    body = json.loads(route.error(error).body)
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    return str(body["error"])


def ready(route: Dialect, body: Mapping[str, Any], head: ReplyHead = HEAD, **defaults: Any) -> dict[str, Any]:
    """The answer without a model turn."""
    reply = decoded(route, body, **defaults)
    assert isinstance(reply, ReadyReply)
    answer: dict[str, Any] = json.loads(reply.document(head))
    return answer
