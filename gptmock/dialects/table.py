"""The table of dialect routes. The HTTP routes, the property tests and the goldens iterate over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptmock.dialects.bodies import Body
from gptmock.dialects.chat import ChatCompletions
from gptmock.dialects.chat.types import ChatBody
from gptmock.dialects.completions import TextCompletions
from gptmock.dialects.completions.types import CompletionBody
from gptmock.dialects.dialect import Dialect
from gptmock.dialects.images import Images
from gptmock.dialects.images.types import EDIT_FORM, EditBody, ImageBody
from gptmock.dialects.messages import Messages
from gptmock.dialects.messages.types import CountBody, MessagesBody
from gptmock.dialects.ollama_chat import OllamaChat
from gptmock.dialects.ollama_chat.types import OllamaChatBody
from gptmock.dialects.ollama_generate import OllamaGenerate
from gptmock.dialects.ollama_generate.types import OllamaGenerateBody
from gptmock.dialects.responses import Responses
from gptmock.dialects.responses.types import ResponsesBody
from gptmock.dialects.transcription.request import TRANSCRIPTION_FORM, TranscriptionBody


@dataclass(frozen=True, slots=True)
class DialectRoute:
    """A dialect and its route."""

    name: str
    method: str
    paths: tuple[str, ...]
    """The first is the documented one, the others are aliases."""
    dialect: Dialect
    body: type[Body] | None = None
    """The model of the request body, for ``/openapi.json``."""
    form: Mapping[str, Any] | None = field(default=None, hash=False)
    """The JSON schema of the multipart form that the body may be; ``None`` if it may be none."""


RESPONSES = DialectRoute(
    "responses", "POST", ("/v1/responses", "/responses", "/backend-api/codex/responses"), Responses(), ResponsesBody
)

DIALECTS: tuple[DialectRoute, ...] = (
    DialectRoute("chat", "POST", ("/v1/chat/completions", "/chat/completions"), ChatCompletions(), ChatBody),
    DialectRoute("completions", "POST", ("/v1/completions", "/completions"), TextCompletions(), CompletionBody),
    RESPONSES,
    DialectRoute("messages", "POST", ("/v1/messages", "/messages"), Messages(), MessagesBody),
    DialectRoute("ollama_chat", "POST", ("/api/chat",), OllamaChat(), OllamaChatBody),
    DialectRoute("ollama_generate", "POST", ("/api/generate",), OllamaGenerate(), OllamaGenerateBody),
)

IMAGE_DIALECTS: tuple[DialectRoute, ...] = (
    DialectRoute(
        "images",
        "POST",
        ("/v1/images/generations", "/images/generations", "/backend-api/codex/images/generations"),
        Images(edits=False),
        ImageBody,
    ),
    DialectRoute(
        "image_edits",
        "POST",
        ("/v1/images/edits", "/images/edits", "/backend-api/codex/images/edits"),
        Images(edits=True),
        EditBody,
        form=EDIT_FORM,
    ),
)
"""Not in ``DIALECTS``: they are served alike, but what they show of a turn is no text; their laws are their own."""

COMPACTION = DialectRoute(
    "compaction",
    "POST",
    ("/v1/responses/compact", "/responses/compact", "/backend-api/codex/responses/compact"),
    Responses(),
    ResponsesBody,
)
"""Not in ``DIALECTS``: it decodes as the Responses dialect, but its reply is not a turn."""

COUNT_TOKENS = DialectRoute(
    "count_tokens", "POST", ("/v1/messages/count_tokens", "/messages/count_tokens"), Messages(), CountBody
)
INPUT_TOKENS = DialectRoute(
    "input_tokens", "POST", ("/v1/responses/input_tokens", "/responses/input_tokens"), Responses(), ResponsesBody
)
"""Both as ``COMPACTION``."""

SIDE_CALLS: tuple[DialectRoute, ...] = tuple(
    DialectRoute(name, "POST", (f"/v1/{path}", f"/{path}", f"/backend-api/codex/{path}"), Responses())
    for name, path in (("memories", "memories/trace_summarize"), ("search", "alpha/search"))
)
"""Calls of Codex that are no turns: passed on and answered as they are."""

TRANSCRIPTION = DialectRoute(
    "transcription",
    "POST",
    ("/v1/audio/transcriptions", "/audio/transcriptions"),
    Responses(),
    TranscriptionBody,
    form=TRANSCRIPTION_FORM,
)
