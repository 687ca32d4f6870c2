"""
The body of ``POST /v1/messages``, as far as it is read. Unknown keys are ignored and those of parameters named,
``null`` means absent.

Source: next doors A.1 to A.3; anthropics/anthropic-sdk-python 2.14 ``types/beta``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from gptmock.dialects.bodies import Body, ParameterBody

JsonObject: TypeAlias = dict[str, Any]
Number: TypeAlias = int | float


class Source(Body):
    """``source`` of an image or a document; which members count depends on ``type``."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: str | list[Block] | None = None


class Block(Body):
    """A content block of any type; which members count depends on ``type``."""

    type: str
    text: str | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    is_error: bool | None = None
    tool_name: str | None = None
    tool: JsonObject | None = None
    tool_definition: JsonObject | None = None
    content: str | list[Block] | JsonObject | None = None
    url: str | None = None
    """Of a ``web_search_result``."""


class MessageOutput(Body):
    """``output_config`` of a message: the effort from there on."""

    effort: str | None = None


class InputMessage(Body):
    """A message of the role ``user``, ``assistant`` or ``system``."""

    role: str
    content: str | list[Block]
    output_config: MessageOutput | None = None
    clear_at: str | None = None


class SystemBlock(Body):
    """A block of ``system``."""

    type: str | None = None
    text: str


class Format(ParameterBody):
    """``output_config.format``, and ``output_format`` of the older beta."""

    type: str
    schema_: JsonObject | None = Field(None, alias="schema")


class OutputConfig(ParameterBody):
    """``output_config``."""

    effort: str | None = None
    format: Format | None = None


class Thinking(ParameterBody):
    """``thinking``."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None


class Choice(ParameterBody):
    """``tool_choice``."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ContextManagement(ParameterBody):
    """``context_management``."""

    edits: list[JsonObject] | None = None


class CountBody(ParameterBody):
    """The body of ``POST /v1/messages/count_tokens``: what makes a prompt."""

    model: str | None = None
    messages: list[InputMessage]
    system: str | list[SystemBlock] | None = None
    tools: list[JsonObject] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    context_management: ContextManagement | None = None
    mcp_servers: list[JsonObject] | None = None
    cache_control: JsonObject | None = None
    speed: str | None = None
    thread: Any = None
    compaction: Any = None


class MessagesBody(CountBody):
    """The whole body."""

    max_tokens: Annotated[int, Field(gt=0)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    metadata: JsonObject | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: int | None = None
    service_tier: str | None = None
    container: str | JsonObject | None = None
    inference_geo: str | None = None
    diagnostics: Any = None
    fallbacks: Any = None
    billing_policy: Any = None
    workspace_id: str | None = None
    user_profile_id: str | None = None
    task_budget: Any = None
