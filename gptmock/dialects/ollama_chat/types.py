"""The body of ``POST /api/chat``, as far as it is read."""

from __future__ import annotations

from gptmock.dialects.bodies import Body
from gptmock.dialects.ollama.types import JsonObject, OllamaBody


class CalledFunction(Body):
    """``function`` of a tool call: the arguments are an object, though bridges send text."""

    name: str
    arguments: JsonObject | str | None = None


class ToolCall(Body):
    """One entry of ``tool_calls``; Ollama's protocol has no ids, but clients that got one may send it back."""

    id: str | None = None
    function: CalledFunction


class OllamaMessage(Body):
    """A message of any role; which members count depends on ``role``."""

    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    name: str | None = None
    """What older clients call ``tool_name``."""


class OllamaChatBody(OllamaBody):
    """The whole body."""

    messages: list[OllamaMessage] | None = None
    images: list[str] | None = None
    """The ancestor's: images of the last user message."""
    tools: list[JsonObject] | None = None
