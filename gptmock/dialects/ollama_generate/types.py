"""The body of ``POST /api/generate``, as far as it is read."""

from __future__ import annotations

from typing import Any

from gptmock.dialects.bodies import ListOf
from gptmock.dialects.ollama.types import OllamaBody


class OllamaGenerateBody(OllamaBody):
    """The whole body."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: ListOf[str] | None = None
    raw: bool | None = None
    template: str | None = None
    context: ListOf[Any] | None = None
    """Tokens of an earlier turn; ignored, since they are specific to a local model."""
