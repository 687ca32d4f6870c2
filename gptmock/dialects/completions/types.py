"""
The body of ``POST /v1/completions``, as far as it is read. Unknown keys are ignored and named, ``null`` means absent.

Source: openai/openai-openapi (August 2026), client contracts 2, and the extensions of ChatMock and GPTMock.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import Field

from gptmock.dialects.bodies import ListOf, ParameterBody

JsonObject: TypeAlias = dict[str, Any]
PositiveInt: TypeAlias = Annotated[int, Field(gt=0)]
Number: TypeAlias = int | float


class StreamOptions(ParameterBody):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: Any = None


class CompletionBody(ParameterBody):
    """The whole body."""

    model: str | None = None
    prompt: str | ListOf[str] | ListOf[int] | ListOf[ListOf[int]] | None = None
    """Text; token arrays are decoded only to be refused with a clear message."""
    suffix: str | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | ListOf[str] | None = None
    reasoning_effort: str | None = None
    prompt_cache_key: str | None = None
    responses_tools: ListOf[JsonObject] | None = None
    responses_tool_choice: str | None = None

    n: int | None = None
    best_of: int | None = None
    max_tokens: PositiveInt | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    seed: int | None = None
    logit_bias: JsonObject | None = None
    logprobs: int | None = None
    user: str | None = None
