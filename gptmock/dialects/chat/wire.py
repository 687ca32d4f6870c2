"""What chat completions put on the wire besides text: usage and citations, for chunks and documents alike."""

from __future__ import annotations

import msgspec

from gptmock.dialects.presentation import Citation, Conclusion
from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseUsage

ID_PREFIX = "chatcmpl-"


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Tokens; counters that the API defaults to 0 are 0."""

    cached_tokens: int
    audio_tokens: int = 0
    cache_write_tokens: int | msgspec.UnsetType = msgspec.UNSET


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Tokens."""

    reasoning_tokens: int
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class ChatUsage(msgspec.Struct, frozen=True):
    """``usage``: integers, never null."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


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


def chat_usage(usage: ResponseUsage) -> ChatUsage:
    """The upstream's numbers under chat's names; none is invented."""
    prompt = usage.input_tokens_details or InputTokensDetails()
    completion = usage.output_tokens_details or OutputTokensDetails()
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens or usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(
            cached_tokens=prompt.cached_tokens,
            cache_write_tokens=msgspec.UNSET if prompt.cache_write_tokens is None else prompt.cache_write_tokens,
        ),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=completion.reasoning_tokens),
    )


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
