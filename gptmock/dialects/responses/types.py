"""
The body of ``POST /v1/responses``, as far as it is read. Unknown keys are ignored and named, ``null`` means absent.

Source: openai/openai-openapi (August 2026), and client contracts 3.2.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field

from gptmock.dialects.bodies import ListOf, ParameterBody

JsonObject: TypeAlias = dict[str, Any]
Number: TypeAlias = int | float


class StreamOptions(ParameterBody):
    """``stream_options``."""

    include_obfuscation: bool | None = None


class ReasoningParameter(ParameterBody):
    """``reasoning``; ``generate_summary`` is the old name of ``summary``."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None


class TextFormat(ParameterBody):
    """``text.format``: flat, unlike chat's."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None
    description: str | None = None


class TextParameter(ParameterBody):
    """``text``."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Refused(ParameterBody):
    """Members that are refused for all clients, Codex included, because they need state that is not kept here."""

    background: bool | None = None
    conversation: str | JsonObject | None = None
    previous_response_id: str | None = None
    prompt: JsonObject | None = None


class ResponsesBody(Refused):
    """The whole body."""

    model: str | None = None
    input: str | ListOf[JsonObject] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    include: ListOf[str] | None = None
    tools: ListOf[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningParameter | None = None
    text: TextParameter | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    client_metadata: dict[str, str] | None = None
    responses_tools: ListOf[JsonObject] | None = None
    responses_tool_choice: str | None = None

    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    top_logprobs: int | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    truncation: str | None = None
    metadata: JsonObject | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonObject | None = None
    context_management: ListOf[JsonObject] | JsonObject | None = None
    moderation: JsonObject | None = None
    background_options: Any = None
    access_programs: Any = None
    image: Any = None
    personality: Any = None
    generate: Any = None


class CodexBody(Refused):
    """The body of a Codex client: other members are sent upstream unchanged."""

    model: str | None = None
    input: str | ListOf[JsonObject] | None = None
    instructions: str | None = None
    stream: bool | None = None
    store: Any = None
    """Ignored: the backend accepts only ``false``."""
    include: ListOf[str] | None = None
    reasoning: JsonObject | None = None
    prompt_cache_key: str | None = None
