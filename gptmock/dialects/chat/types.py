"""
The body of ``POST /v1/chat/completions``, as far as it is read. Unknown keys are ignored and those of
parameters named, ``null`` means absent.

Source: openai/openai-openapi (August 2026), and the extensions of ChatMock and GPTMock.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from gptmock.dialects.bodies import Body, ListOf, ParameterBody

JsonObject: TypeAlias = dict[str, Any]
PositiveInt: TypeAlias = Annotated[int, Field(gt=0)]
Number: TypeAlias = int | float


class ImageUrl(Body):
    """``image_url`` of a content part."""

    url: str
    detail: str | None = None


class FilePart(Body):
    """``file`` of a content part."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(Body):
    """A content part of any type; which members count depends on ``type``."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    detail: str | None = None
    file: FilePart | None = None
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class CalledFunction(Body):
    """``function`` of a tool call; some clients send the arguments as an object."""

    name: str
    arguments: str | JsonObject | None = None


class CalledCustom(Body):
    """``custom`` of a tool call."""

    name: str
    input: str | None = None


class ToolCall(Body):
    """One entry of ``tool_calls``."""

    id: str
    type: str | None = None
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class ChatMessage(Body):
    """A message of any role; which members count depends on ``role``."""

    role: str
    content: str | ListOf[Part] | None = None
    refusal: str | None = None
    tool_calls: ListOf[ToolCall] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: str | None = None
    name: str | None = None
    audio: JsonObject | None = None


class StreamOptions(ParameterBody):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: Any = None


class JsonSchemaFormat(ParameterBody):
    """``json_schema`` of a response format."""

    name: str
    schema_: JsonObject = Field(alias="schema")
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(ParameterBody):
    """``response_format``."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class ReasoningParameter(ParameterBody):
    """``reasoning`` as clients of OpenRouter, ChatMock and GPTMock send it."""

    effort: str | None = None
    summary: str | None = None
    enabled: bool | None = None


class ChatBody(ParameterBody):
    """The whole body."""

    model: str | None = None
    messages: ListOf[ChatMessage] | None = None
    input: str | ListOf[JsonObject] | None = None
    """Cursor sends a Responses body to the chat route."""
    instructions: str | None = None

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: ListOf[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    functions: ListOf[JsonObject] | None = None
    function_call: str | JsonObject | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoningEffort: str | None = None  # noqa: N815 - as codex-lb's clients write it
    reasoning: ReasoningParameter | None = None
    enable_thinking: bool | None = None
    thinking: bool | JsonObject | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    web_search_options: JsonObject | None = None
    responses_tools: ListOf[JsonObject] | None = None
    responses_tool_choice: str | None = None
    stop: str | ListOf[str] | None = None

    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    seed: int | None = None
    logit_bias: JsonObject | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None
    modalities: ListOf[str] | None = None
    audio: JsonObject | None = None
    prediction: JsonObject | None = None
    metadata: JsonObject | None = None
    store: bool | None = None
    moderation: JsonObject | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonObject | None = None
