"""
The Responses request sent upstream. The types are an allow-list: the backend answers 400 to unknown members.

Source: upstream protocol 4.4 to 4.7.
"""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

JsonObject: TypeAlias = dict[str, Any]
_NO_MEMBERS = frozenset({"more", "image", "side"})
ENCRYPTED_REASONING = "reasoning.encrypted_content"
_NOT_FOR_COMPACTION = frozenset({"store", "stream", "include", "tool_choice", "client_metadata", "stream_options"})

# --- Content --------------------------------------------------------------------


class InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text of a user, a developer or a tool."""

    text: str


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    """Text of an earlier assistant message."""

    text: str


class RefusalPart(Struct, frozen=True, tag_field="type", tag="refusal"):
    """The refusal in an earlier assistant message."""

    refusal: str


class InputImage(Struct, frozen=True, tag_field="type", tag="input_image"):
    """``image_url`` is a data URL or an http(s) URL."""

    image_url: str
    detail: str | UnsetType = UNSET


class InputFile(Struct, frozen=True, tag_field="type", tag="input_file"):
    """Either of ``file_data``, a data URL, and ``file_url``."""

    file_data: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    file_url: str | UnsetType = UNSET


Content: TypeAlias = InputText | OutputText | RefusalPart | InputImage | InputFile

# --- Items ----------------------------------------------------------------------


class Message(Struct, frozen=True, tag_field="type", tag="message"):
    """A message. The backend refuses the role ``system``."""

    role: Literal["user", "assistant", "developer"]
    content: list[Content]


class FunctionCall(Struct, frozen=True, tag_field="type", tag="function_call"):
    """A function call of an earlier turn; ``arguments`` is JSON text."""

    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Struct, frozen=True, tag_field="type", tag="function_call_output"):
    """The result of a function call."""

    call_id: str
    output: str | list[Content]


class CustomToolCall(Struct, frozen=True, tag_field="type", tag="custom_tool_call"):
    """A custom tool call of an earlier turn, with free text as input."""

    call_id: str
    name: str
    input: str


class CustomToolCallOutput(Struct, frozen=True, tag_field="type", tag="custom_tool_call_output"):
    """The result of a custom tool call."""

    call_id: str
    output: str | list[Content]


InputItem: TypeAlias = Message | FunctionCall | FunctionCallOutput | CustomToolCall | CustomToolCallOutput | JsonObject
"""A ``JsonObject`` is sent unchanged."""

# --- Tools ----------------------------------------------------------------------


class FunctionTool(Struct, frozen=True, tag_field="type", tag="function"):
    """``parameters`` keeps the order of its keys: the prompt cache compares bytes."""

    name: str
    parameters: JsonObject
    strict: bool
    description: str | UnsetType = UNSET


class CustomTool(Struct, frozen=True, tag_field="type", tag="custom"):
    """A tool whose input is free text, optionally constrained by a grammar in ``format``."""

    name: str
    description: str | UnsetType = UNSET
    format: JsonObject | UnsetType = UNSET


Tool: TypeAlias = FunctionTool | CustomTool | JsonObject
ToolChoice: TypeAlias = str | JsonObject

# --- An image -------------------------------------------------------------------


class ImageSource(Struct, frozen=True):
    """An image to change, as a data URL."""

    image_url: str


class ImageRequest(Struct, frozen=True, kw_only=True):
    """The body of ``/images/generations``, or of ``/images/edits`` if it has ``images``. Always for one image."""

    prompt: str
    model: str
    images: list[ImageSource] | UnsetType = UNSET
    background: str | UnsetType = UNSET
    quality: str | UnsetType = UNSET
    size: str | UnsetType = UNSET

    def to_json(self) -> bytes:
        """The request body as JSON."""
        return msgspec.json.encode(self)


class ImageTurn(Struct, frozen=True):
    """What a turn says that makes an image, by the hosted tool if nothing else can."""

    endpoint: ImageRequest | None
    """What to ask the backend's endpoint for images first; ``None`` for what only the tool can do."""


# --- A call beside the turns ----------------------------------------------------


TRANSCRIPTION_PATH = "transcribe"


class SideCall(Struct, frozen=True, kw_only=True):
    """A call of a Codex client that is no turn: sent as it is, and its answer is handed back as it is."""

    path: str
    """Below the backend's base URL, such as ``codex/alpha/search``."""
    body: bytes
    content_type: str = "application/json"


# --- The request ----------------------------------------------------------------


class ReasoningOptions(Struct, frozen=True, omit_defaults=True):
    """``reasoning``; the upstream applies the model's default for an absent member."""

    effort: str | None = None
    summary: str | None = None
    context: str | None = None
    """``auto``, ``all_turns`` or ``current_turn``: which earlier reasoning the model sees."""


class TextOptions(Struct, frozen=True, omit_defaults=True):
    """``text``: structured output and verbosity."""

    format: JsonObject | None = None
    verbosity: str | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """The body of one model call. The backend accepts only these values of ``store`` and ``stream``."""

    model: str
    instructions: str | UnsetType = ""
    """Always sent, except for Codex clients: the backend refused requests without it until mid-2026."""
    input: list[InputItem]
    tools: list[Tool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    reasoning: ReasoningOptions | UnsetType = UNSET
    text: TextOptions | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    prompt_cache_key: str
    include: list[str] | UnsetType = msgspec.field(default_factory=lambda: [ENCRYPTED_REASONING])
    image: ImageTurn | None = None
    """Of a turn that makes an image; no member of the body."""
    side: SideCall | None = None
    """What is sent in the place of this body; no member of it."""
    more: JsonObject = msgspec.field(default_factory=dict)
    """Further members, sent unchanged: those of a Codex client that have no field here."""
    store: Literal[False] = False
    stream: Literal[True] = True

    def to_json(self) -> bytes:
        """The request body as JSON."""
        return msgspec.json.encode(self._members())

    def to_compaction_json(self) -> bytes:
        """The body of ``/responses/compact``, which takes fewer members."""
        members = self._members()
        return msgspec.json.encode({name: members[name] for name in members if name not in _NOT_FOR_COMPACTION})

    def without_reasoning(self) -> Self | None:
        """The same request without reasoning items; ``None`` if it has none."""
        items = [item for item in self.input if not (isinstance(item, dict) and item.get("type") == "reasoning")]
        return None if len(items) == len(self.input) else msgspec.structs.replace(self, input=items)

    def _members(self) -> JsonObject:
        own = {name: getattr(self, name) for name in self.__struct_fields__ if name not in _NO_MEMBERS}
        return {**{name: value for name, value in own.items() if value is not UNSET}, **self.more}
