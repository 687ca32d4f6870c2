"""
Converts chat ``messages`` to Responses input items, in the same order (client contracts 1.2). Must not know any other
parameter.

The system and developer messages before any other message become ``instructions``; later ones become developer
messages, since the upstream refuses the role ``system``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gptmock.dialects.bodies import missing
from gptmock.dialects.chat.content import decode_parts
from gptmock.dialects.chat.types import CalledFunction, ChatMessage, ToolCall
from gptmock.dialects.decoded_messages import DecodedMessages, arguments_text, decoded_messages
from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.dialects.presentation import without_thinking
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    Content,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    InputText,
    Message,
    OutputText,
    RefusalPart,
)

_ROLES = "'system', 'developer', 'user', 'assistant', 'tool' and 'function'"


@dataclass(slots=True)
class _Decoding:
    """The items so far, and the calls that still lack an output."""

    items: list[InputItem] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    """Calls without an output: the client's call id to ``function`` or ``custom``."""
    seen: dict[str, str] = field(default_factory=dict)
    """All calls: the client's call id to ``function`` or ``custom``."""
    legacy: dict[str, deque[str]] = field(default_factory=dict)
    """Function name to the generated ids of its deprecated ``function_call`` calls without an output."""
    legacy_calls: int = 0


def decode_messages(messages: list[ChatMessage]) -> DecodedMessages:
    """
    Convert the messages of a request.

    Raises:
        BadRequest: an unknown role, an unsupported content part, a tool message without its call, or a call without
            its tool message.
    """
    leading = 0
    texts: list[str] = []
    while leading < len(messages) and messages[leading].role in ("system", "developer"):
        texts.append(_system_text(messages[leading], leading))
        leading += 1
    state = _Decoding()
    for index, message in enumerate(messages[leading:], start=leading):
        _message(message, f"messages[{index}]", state)
    if state.waiting:
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(state.waiting)}",
            param="messages",
        )
    return decoded_messages(texts, state.items)


def _message(message: ChatMessage, within: str, state: _Decoding) -> None:
    match message.role:
        case "system" | "developer":
            _append(state, "developer", decode_parts(message.content, assistant=False, within=f"{within}.content"))
        case "user":
            _append(state, "user", decode_parts(message.content, assistant=False, within=f"{within}.content"))
        case "assistant":
            _assistant(message, within, state)
        case "tool":
            _tool(message, within, state)
        case "function":
            _function(message, within, state)
        case _:
            raise BadRequest(
                f"Invalid value for '{within}.role': '{message.role[:40]}'. Supported values are {_ROLES}.",
                param=f"{within}.role",
            )


def _append(state: _Decoding, role: str, content: list[Content]) -> None:
    if content:
        state.items.append(Message("developer" if role == "developer" else "user", content))


def _system_text(message: ChatMessage, index: int) -> str:
    parts = decode_parts(message.content, assistant=False, within=f"messages[{index}].content")
    if any(not isinstance(part, InputText) for part in parts):
        raise BadRequest(
            "System messages can hold only text.", code="unsupported_content_type", param=f"messages[{index}].content"
        )
    return "\n".join(part.text for part in parts if isinstance(part, InputText))


# --- Assistant ------------------------------------------------------------------------


def _assistant(message: ChatMessage, within: str, state: _Decoding) -> None:
    content = decode_parts(message.content, assistant=True, within=f"{within}.content")
    if message.refusal:
        content.append(RefusalPart(message.refusal))
    if message.audio is not None and not content:
        raise BadRequest(
            "Audio of an earlier answer cannot be sent; send its transcript as content.",
            code="unsupported_content_type",
            param=f"{within}.audio",
        )
    content = _without_thinking(content)
    if content:
        state.items.append(Message("assistant", content))
    for index, call in enumerate(message.tool_calls or ()):
        _call(call, f"{within}.tool_calls[{index}]", state)
    if message.function_call is not None:
        if not message.function_call.name:
            raise missing(f"{within}.function_call.name")
        _legacy_call(message.function_call, state)


def _without_thinking(content: list[Content]) -> list[Content]:
    if not content or not isinstance(first := content[0], OutputText):
        return content
    text = without_thinking(first.text)
    if text == first.text:
        return content
    return [OutputText(text), *content[1:]] if text else content[1:]


def _call(call: ToolCall, within: str, state: _Decoding) -> None:
    if not call.id:
        raise missing(f"{within}.id")
    sent = upstream_call_id(call.id)
    if call.custom is not None:
        if not call.custom.name:
            raise missing(f"{within}.custom.name")
        state.items.append(CustomToolCall(sent, upstream_name(call.custom.name), call.custom.input or ""))
        state.waiting[call.id] = state.seen[call.id] = "custom"
        return
    if call.function is None:
        raise missing(f"{within}.function")
    if not call.function.name:
        raise missing(f"{within}.function.name")
    state.items.append(FunctionCall(sent, upstream_name(call.function.name), arguments_text(call.function.arguments)))
    state.waiting[call.id] = state.seen[call.id] = "function"


def _legacy_call(function: CalledFunction, state: _Decoding) -> None:
    # The id depends only on the position, so that the next turn of the conversation generates the same one.
    call_id = f"call_legacy_{state.legacy_calls}"
    state.legacy_calls += 1
    state.items.append(FunctionCall(call_id, upstream_name(function.name), arguments_text(function.arguments)))
    state.waiting[call_id] = state.seen[call_id] = "function"
    state.legacy.setdefault(function.name, deque()).append(call_id)


# --- Results --------------------------------------------------------------------------


def _tool(message: ChatMessage, within: str, state: _Decoding) -> None:
    if not message.tool_call_id:
        raise missing(f"{within}.tool_call_id")
    kind = state.seen.get(message.tool_call_id)
    if kind is None:
        raise BadRequest(
            "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
            param=f"{within}.tool_call_id",
        )
    state.waiting.pop(message.tool_call_id, None)
    call_id = upstream_call_id(message.tool_call_id)
    output = _output(message, within)
    state.items.append(
        FunctionCallOutput(call_id, output) if kind == "function" else CustomToolCallOutput(call_id, output)
    )


def _function(message: ChatMessage, within: str, state: _Decoding) -> None:
    if not message.name:
        raise missing(f"{within}.name")
    waiting = state.legacy.get(message.name)
    if not waiting:
        raise BadRequest(
            "Invalid parameter: messages with role 'function' must be a response to a preceding message with "
            "'function_call' of that name.",
            param=f"{within}.name",
        )
    call_id = waiting.popleft()
    state.waiting.pop(call_id, None)
    state.items.append(FunctionCallOutput(call_id, _output(message, within)))


def _output(message: ChatMessage, within: str) -> str | list[Content]:
    parts = decode_parts(message.content, assistant=False, within=f"{within}.content")
    if all(isinstance(part, InputText) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, InputText))
    return parts
