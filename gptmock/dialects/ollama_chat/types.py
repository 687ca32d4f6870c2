"""The body of ``POST /api/chat``, as far as it is read."""

from __future__ import annotations

from gptmock.dialects.bodies import Body, ListOf
from gptmock.dialects.ollama.types import JsonObject, OllamaBody


class CalledFunction(Body):
    """``function`` of a tool call; ``arguments`` is an object, but some clients send JSON text."""

    name: str
    arguments: JsonObject | str | None = None


class ToolCall(Body):
    """One entry of ``tool_calls``; Ollama's API has no ids, but clients may send back those of our replies."""

    id: str | None = None
    function: CalledFunction


class OllamaMessage(Body):
    """A message of any role; which members count depends on ``role``."""

    role: str
    content: str | None = None
    images: ListOf[str] | None = None
    tool_calls: ListOf[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    name: str | None = None
    """The older name of ``tool_name``."""


class OllamaChatBody(OllamaBody):
    """The whole body."""

    messages: ListOf[OllamaMessage] | None = None
    images: ListOf[str] | None = None
    """Images of the last user message; an extension of ChatMock."""
    tools: ListOf[JsonObject] | None = None
