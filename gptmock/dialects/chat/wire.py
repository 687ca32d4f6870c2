"""What chat chunks and documents have in common: reply options, annotations, images, finish reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gptmock.dialects.dialect import ReasoningStyle
from gptmock.dialects.image_urls import made_image_url
from gptmock.dialects.presentation import Citation, Conclusion
from gptmock.protocol.output_parts import ImageMade

ID_PREFIX = "chatcmpl-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """What rendering a reply needs from its request."""

    model: str
    """The client's model name, repeated in the reply."""
    include_usage: bool = False
    style: ReasoningStyle = "think-tags"
    stops: tuple[str, ...] = ()
    """Stop sequences; emulated, see ``stop_sequences``."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Tool name sent upstream to the client's name, where they differ."""
    legacy_functions: bool = False
    """The request used ``functions``: the reply has ``function_call`` instead of ``tool_calls``."""


class UrlCitation(msgspec.Struct, frozen=True):
    """``url_citation`` of an annotation."""

    start_index: int
    end_index: int
    url: str
    title: str


class ChatAnnotation(msgspec.Struct, frozen=True):
    """An annotation in both forms: OpenAI's nested ``url_citation``, and the flat members of GPTMock."""

    url_citation: UrlCitation
    start_index: int
    end_index: int
    url: str
    title: str
    type: str = "url_citation"


def chat_annotations(citations: tuple[Citation, ...]) -> list[ChatAnnotation]:
    """``annotations`` of the message."""
    return [
        ChatAnnotation(
            url_citation=UrlCitation(one.start_index, one.end_index, one.url, one.title),
            start_index=one.start_index,
            end_index=one.end_index,
            url=one.url,
            title=one.title,
        )
        for one in citations
    ]


def chat_image(image: ImageMade) -> dict[str, Any]:
    """An entry of ``images``: a member of OpenRouter's, which Open WebUI and LibreChat show."""
    return {"type": "image_url", "image_url": {"url": made_image_url(image.data, image.output_format)}}


def finish_reason(conclusion: Conclusion, *, legacy_functions: bool) -> str:
    """``finish_reason``; ``function_call`` instead of ``tool_calls`` for legacy functions."""
    return "function_call" if legacy_functions and conclusion.reason == "tool_calls" else conclusion.reason
