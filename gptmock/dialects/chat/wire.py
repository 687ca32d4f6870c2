"""What chunks and documents of chat completions share besides text and usage: options, annotations, finish reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from gptmock.dialects.dialect import ReasoningStyle
from gptmock.dialects.presentation import Citation, Conclusion

ID_PREFIX = "chatcmpl-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """What a chat request asks of its reply."""

    model: str
    """Repeated as the client wrote it."""
    include_usage: bool = False
    style: ReasoningStyle = "think-tags"
    stops: tuple[str, ...] = ()
    """Stop sequences, emulated here since the upstream knows none."""
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Name sent upstream to the client's own, where they differ."""
    legacy_functions: bool = False
    """The request used ``functions``; the reply answers in that shape."""


class UrlCitation(msgspec.Struct, frozen=True):
    """The nested object of the OpenAI schema."""

    start_index: int
    end_index: int
    url: str
    title: str


class ChatAnnotation(msgspec.Struct, frozen=True):
    """A citation in both shapes: OpenAI's nested one, and the flat fields that the ancestor promised."""

    url_citation: UrlCitation
    start_index: int
    end_index: int
    url: str
    title: str
    type: str = "url_citation"


def chat_annotations(citations: tuple[Citation, ...]) -> list[ChatAnnotation]:
    """All citations of a reply."""
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


def finish_reason(conclusion: Conclusion, *, legacy_functions: bool) -> str:
    """The reason under the name that the request's shape knows."""
    return "function_call" if legacy_functions and conclusion.reason == "tool_calls" else conclusion.reason
