"""
The request that goes upstream: an allow-list made of types, since the backend answers 400 to what it does not know.

Source: upstream protocol 4.4 to 4.7.
"""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

JsonObject: TypeAlias = dict[str, Any]
ENCRYPTED_REASONING = "reasoning.encrypted_content"
_NOT_FOR_COMPACTION = frozenset({"store", "stream", "include", "tool_choice", "client_metadata", "stream_options"})

# --- Content --------------------------------------------------------------------


class InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    """What a user, a developer or a tool says."""

    text: str


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    """What the assistant said before."""

    text: str


class RefusalPart(Struct, frozen=True, tag_field="type", tag="refusal"):
    """What the assistant declined before."""

    refusal: str


class InputImage(Struct, frozen=True, tag_field="type", tag="input_image"):
    """``image_url`` is a data URL or an http(s) URL."""

    image_url: str
    detail: str | UnsetType = UNSET


class InputFile(Struct, frozen=True, tag_field="type", tag="input_file"):
    """``file_data`` is a data URL."""

    file_data: str
    filename: str | UnsetType = UNSET


Content: TypeAlias = InputText | OutputText | RefusalPart | InputImage | InputFile

# --- Items ----------------------------------------------------------------------


class Message(Struct, frozen=True, tag_field="type", tag="message"):
    """``system`` is no role here: the backend refuses it."""

    role: Literal["user", "assistant", "developer"]
    content: list[Content]


class FunctionCall(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call that the assistant made; ``arguments`` is JSON text."""

    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Struct, frozen=True, tag_field="type", tag="function_call_output"):
    """What the call came to."""

    call_id: str
    output: str | list[Content]


class CustomToolCall(Struct, frozen=True, tag_field="type", tag="custom_tool_call"):
    """A call with free text as input."""

    call_id: str
    name: str
    input: str


class CustomToolCallOutput(Struct, frozen=True, tag_field="type", tag="custom_tool_call_output"):
    """What the custom call came to."""

    call_id: str
    output: str | list[Content]


InputItem: TypeAlias = Message | FunctionCall | FunctionCallOutput | CustomToolCall | CustomToolCallOutput | JsonObject
"""A plain object passes as the client wrote it."""

# --- Tools ----------------------------------------------------------------------


class FunctionTool(Struct, frozen=True, tag_field="type", tag="function"):
    """``parameters`` keeps the order of its keys: the prompt cache compares bytes."""

    name: str
    parameters: JsonObject
    strict: bool
    description: str | UnsetType = UNSET


class CustomTool(Struct, frozen=True, tag_field="type", tag="custom"):
    """Free text in, by an optional grammar."""

    name: str
    description: str | UnsetType = UNSET
    format: JsonObject | UnsetType = UNSET


Tool: TypeAlias = FunctionTool | CustomTool | JsonObject
ToolChoice: TypeAlias = str | JsonObject

# --- The request ----------------------------------------------------------------


class ReasoningOptions(Struct, frozen=True, omit_defaults=True):
    """Absent members mean the model's own default."""

    effort: str | None = None
    summary: str | None = None
    context: str | None = None
    """``all_turns`` or ``current_turn``: which earlier thinking the model sees."""


class TextOptions(Struct, frozen=True, omit_defaults=True):
    """Structured output and verbosity."""

    format: JsonObject | None = None
    verbosity: str | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """One model call. ``store`` and ``stream`` are what the backend insists on."""

    model: str
    instructions: str | UnsetType = ""
    """Always sent, but by Codex: omitting it was refused until mid-2026, and the empty string never was."""
    input: list[InputItem]
    tools: list[Tool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    reasoning: ReasoningOptions | UnsetType = UNSET
    text: TextOptions | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    prompt_cache_key: str
    include: list[str] | UnsetType = msgspec.field(default_factory=lambda: [ENCRYPTED_REASONING])
    more: JsonObject = msgspec.field(default_factory=dict)
    """Members as the client wrote them, beside those above: what a Codex client sends needs no name here."""
    store: Literal[False] = False
    stream: Literal[True] = True

    def to_json(self) -> bytes:
        """The body as bytes."""
        return msgspec.json.encode(self._members())

    def to_compaction_json(self) -> bytes:
        """The body of the unary compaction call, which takes fewer members."""
        members = self._members()
        return msgspec.json.encode({name: members[name] for name in members if name not in _NOT_FOR_COMPACTION})

    def without_reasoning(self) -> Self | None:
        """The same request without the thinking of earlier turns; ``None`` when there is none in it."""
        items = [item for item in self.input if not (isinstance(item, dict) and item.get("type") == "reasoning")]
        return None if len(items) == len(self.input) else msgspec.structs.replace(self, input=items)

    def _members(self) -> JsonObject:
        own = {name: getattr(self, name) for name in self.__struct_fields__ if name != "more"}
        return {**{name: value for name, value in own.items() if value is not UNSET}, **self.more}
