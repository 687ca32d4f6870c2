"""The doors: one row for each dialect. Routes, laws and goldens iterate over it."""

from __future__ import annotations

from dataclasses import dataclass

from gptmock.dialects.chat import ChatCompletions
from gptmock.dialects.completions import TextCompletions
from gptmock.dialects.dialect import Dialect
from gptmock.dialects.responses import Responses


@dataclass(frozen=True, slots=True)
class Door:
    """Where a dialect is spoken."""

    name: str
    method: str
    paths: tuple[str, ...]
    """The first is the documented one."""
    dialect: Dialect


DIALECTS: tuple[Door, ...] = (
    Door("chat", "POST", ("/v1/chat/completions", "/chat/completions"), ChatCompletions()),
    Door("completions", "POST", ("/v1/completions", "/completions"), TextCompletions()),
    Door("responses", "POST", ("/v1/responses", "/responses"), Responses()),
)

COMPACTION = Door("compaction", "POST", ("/v1/responses/compact", "/responses/compact"), Responses())
"""Speaks the Responses dialect and answers no turn, so it stands apart."""
