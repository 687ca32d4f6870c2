"""
Every field of a request that a client's library knows, or that gptmock reads, is honoured, refused or named:
``request_fields.json`` says which, with a value that asks for something.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from gptmock.dialects.dialect import Call, Turn
from gptmock.dialects.ollama.types import Options
from gptmock.dialects.table import DIALECTS, IMAGE_DIALECTS
from gptmock.errors import BadRequest
from gptmock.simulator.pictures import PIXEL
from tests.playbook import terms

FIELDS: Mapping[str, Any] = json.loads(Path(__file__).with_name("request_fields.json").read_text(encoding="utf-8"))
ROUTES = {route.name: route for route in (*DIALECTS, *IMAGE_DIALECTS)}
IMAGE = f"data:image/png;base64,{PIXEL}"
QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "messages": {"max_tokens": 1024, "messages": [{"role": "user", "content": "hi"}]},
    "ollama_chat": {"messages": [{"role": "user", "content": "hi"}]},
    "ollama_generate": {"prompt": "hi"},
    "images": {"model": "gpt-image-2", "prompt": "hi"},
    "image_edits": {"model": "gpt-image-2", "prompt": "hi", "images": [{"image_url": IMAGE}]},
}
SO_ANYWAY = {
    "messages": {"max_tokens"},
    "ollama_chat": {"keep_alive"},
    "ollama_generate": {"keep_alive", "raw"},
}
"""Fields for what is so anyway: models stay loaded, no template is put around a prompt, all clients send a limit."""


def fields(fate: str) -> list[ParameterSet]:
    asked = [(dialect, name, {name: value}) for dialect in ROUTES for name, value in FIELDS[dialect][fate].items()]
    asked += [
        (dialect, f"options.{name}", {"options": {name: value}})
        for dialect in ("ollama_chat", "ollama_generate")
        for name, value in FIELDS["options"][fate].items()
    ]
    return [pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in asked]


def understood(dialect: str, members: Mapping[str, Any], **defaults: Any) -> Turn:
    body = {"model": "gpt-5.5", **QUESTIONS[dialect], **members}
    body = {name: value for name, value in body.items() if value is not None}
    turn = ROUTES[dialect].dialect.decode(Call(json.dumps(body).encode()), terms(store_responses=True, **defaults))
    assert isinstance(turn, Turn)
    return turn


def effect(turn: Turn) -> tuple[Any, ...]:
    """All that a request decides."""
    return turn.request.to_json(), turn.stream, turn.pending_snapshot is not None, turn.reply.options  # type: ignore[attr-defined]


@pytest.mark.parametrize("dialect", ROUTES)
def test_every_field_that_is_read_is_listed(dialect: str):
    model = ROUTES[dialect].body
    assert model is not None
    listed = {name for fate in FIELDS[dialect].values() for name in fate}
    assert set(model.model_fields) - listed == SO_ANYWAY.get(dialect, set())


def test_every_option_that_is_read_is_listed():
    assert set(Options.model_fields) <= {name for fate in FIELDS["options"].values() for name in fate}


@pytest.mark.parametrize(("dialect", "name", "members"), fields("honoured"))
def test_a_field_that_is_honoured_has_an_effect(dialect: str, name: str, members: Mapping[str, Any]):
    beside = FIELDS["beside"][dialect].get(name, {})
    turn = understood(dialect, {**beside, **members})
    assert effect(turn) != effect(understood(dialect, beside))
    assert turn.ignored == ()


@pytest.mark.parametrize(("dialect", "name", "members"), fields("refused"))
def test_a_field_that_is_refused_is_a_400_with_its_name(dialect: str, name: str, members: Mapping[str, Any]):
    with pytest.raises(BadRequest) as caught:
        understood(dialect, members)
    assert caught.value.param == name


@pytest.mark.check(116)
@pytest.mark.parametrize(("dialect", "name", "members"), fields("named"))
def test_any_other_field_is_named(dialect: str, name: str, members: Mapping[str, Any]):
    assert understood(dialect, members).ignored == (name,)
