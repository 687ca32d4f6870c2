"""``usage`` of chat and text completions: the upstream's numbers under the older member names."""

from __future__ import annotations

import msgspec

from gptmock.protocol.items import InputTokensDetails, OutputTokensDetails, ResponseUsage


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


class CompletionUsage(msgspec.Struct, frozen=True):
    """``usage``: integers, never null."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


def completion_usage(usage: ResponseUsage) -> CompletionUsage:
    """Convert the upstream's usage."""
    prompt = usage.input_tokens_details or InputTokensDetails()
    completion = usage.output_tokens_details or OutputTokensDetails()
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens or usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(
            cached_tokens=prompt.cached_tokens,
            cache_write_tokens=msgspec.UNSET if prompt.cache_write_tokens is None else prompt.cache_write_tokens,
        ),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=completion.reasoning_tokens),
    )
