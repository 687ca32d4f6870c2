"""
Converts Ollama ``messages`` to Responses input items (client contracts 5.3 and 5.4). Must not know any other parameter.

The system messages before any other message become ``instructions``; later ones become developer messages. Ollama's
tool calls have no ids: ids are generated from the position, so that the next turn of the conversation generates the
same ones. A tool result is matched to its call by id if it has one, else by the tool's name, else by order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gptmock.dialects.decoded_messages import DecodedMessages, arguments_text, decoded_messages
from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.dialects.ollama.request import user_content
from gptmock.dialects.ollama_chat.types import OllamaMessage, ToolCall
from gptmock.dialects.presentation import without_thinking
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    Content,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    Message,
    OutputText,
)

_SYSTEM = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class _OpenCall:
    """A call that still lacks its result."""

    given_id: str | None
    """The client's id, if it sent one."""
    call_id: str
    """The ``call_id`` sent upstream."""
    name: str


@dataclass(slots=True)
class _Decoding:
    items: list[InputItem] = field(default_factory=list)
    open: list[_OpenCall] = field(default_factory=list)
    """The open calls of the last assistant message with calls, in order."""
    closing: int = 0
    """Index in ``items`` at which missing results are inserted: behind the last call or result."""
    ids: set[str] = field(default_factory=set)


def decode_messages(messages: list[OllamaMessage], images: list[str] | None) -> DecodedMessages:
    """
    Convert the messages of a request.

    Args:
        messages: at least one.
        images: further images of the last user message.

    Raises:
        BadRequest: an unknown role, an invalid image, or a result without a call.
    """
    roles = [message.role.strip().lower() for message in messages]
    leading = next((index for index, role in enumerate(roles) if role not in _SYSTEM), len(messages))
    texts = [message.content or "" for message in messages[:leading]]
    last_user = max((index for index, role in enumerate(roles) if role == "user"), default=None)
    state = _Decoding()
    for index in range(leading, len(messages)):
        more = images if index == last_user else None
        _message(messages[index], roles[index], index, state, more_images=more)
    _close(state)
    return decoded_messages(texts, state.items)


def _message(message: OllamaMessage, role: str, index: int, state: _Decoding, *, more_images: list[str] | None) -> None:
    within = f"messages[{index}]"
    match role:
        case "system" | "developer":
            _append(state, Message("developer", user_content(message.content or "", None, within=within)))
        case "user":
            content = user_content(message.content or "", message.images, within=f"{within}.")
            _append(state, Message("user", [*content, *user_content("", more_images, within="")]))
        case "assistant":
            _assistant(message, index, state)
        case "tool":
            _result(message, within, state)
        case _:
            raise BadRequest(
                f"Invalid value for '{within}.role': '{message.role[:40]}'. Supported values are 'system', 'user', "
                "'assistant' and 'tool'.",
                param=f"{within}.role",
            )


def _append(state: _Decoding, message: Message) -> None:
    if message.content:
        state.items.append(message)


def _assistant(message: OllamaMessage, index: int, state: _Decoding) -> None:
    _close(state)
    text = without_thinking(message.content or "")
    _append(state, Message("assistant", [OutputText(text)] if text else []))
    for number, call in enumerate(message.tool_calls or ()):
        call_id = _call_id(call, index, number, state)
        arguments = arguments_text(call.function.arguments)
        state.items.append(FunctionCall(call_id, upstream_name(call.function.name), arguments))
        state.open.append(_OpenCall(call.id, call_id, call.function.name))
        state.closing = len(state.items)


def _call_id(call: ToolCall, index: int, number: int, state: _Decoding) -> str:
    given = upstream_call_id(call.id) if call.id else ""
    # Some clients restart their ids in every message; the upstream requires unique ones.
    call_id = given if given and given not in state.ids else f"call_{index}_{number}"
    state.ids.add(call_id)
    return call_id


def _result(message: OllamaMessage, within: str, state: _Decoding) -> None:
    if not state.open:
        raise BadRequest(
            "A message with role 'tool' must follow an assistant message whose 'tool_calls' still lack a result.",
            param=within,
        )
    call = _answered(message, state.open)
    state.open.remove(call)
    content = user_content(message.content or "", message.images, within=f"{within}.")
    state.items.append(FunctionCallOutput(call.call_id, _output(content, message)))
    state.closing = len(state.items)


def _answered(message: OllamaMessage, waiting: list[_OpenCall]) -> _OpenCall:
    by_id = (call for call in waiting if message.tool_call_id and call.given_id == message.tool_call_id)
    name = message.tool_name or message.name
    by_name = (call for call in waiting if name and call.name == name)
    return next(by_id, None) or next(by_name, None) or waiting[0]


def _output(content: list[Content], message: OllamaMessage) -> str | list[Content]:
    return content if message.images else message.content or ""


def _close(state: _Decoding) -> None:
    """Add empty results for open calls: Ollama clients may omit a result, but the upstream requires one per call."""
    missing = [FunctionCallOutput(call.call_id, "") for call in state.open]
    state.items[state.closing : state.closing] = missing
    state.open.clear()
