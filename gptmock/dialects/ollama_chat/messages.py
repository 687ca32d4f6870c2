"""
Ollama's messages as Responses input items (client contracts 5.3 and 5.4). Must not know any other parameter.

The leading run of system messages becomes the instructions, later ones are developer messages. Calls have no ids in
this protocol: they get ones by position, so that the next turn of the conversation makes the same, and results find
their call by id where there is one, else by the tool's name, else by the order of the calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.dialects.ollama.request import user_content
from gptmock.dialects.ollama_chat.types import CalledFunction, OllamaMessage, ToolCall
from gptmock.dialects.presentation import without_thinking
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    Content,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    InputText,
    Message,
    OutputText,
)

_SYSTEM = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the messages come to."""

    instructions: str
    items: list[InputItem]


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that waits for its result."""

    given_id: str | None
    """As the client has it."""
    call_id: str
    """As sent upstream."""
    name: str


@dataclass(slots=True)
class _Decoding:
    items: list[InputItem] = field(default_factory=list)
    open: list[_Open] = field(default_factory=list)
    """Of the last assistant message with calls, in their order."""
    closing: int = 0
    """Where results that never came are put: behind the last call or result."""
    ids: set[str] = field(default_factory=set)


def decode_messages(messages: list[OllamaMessage], images: list[str] | None) -> Conversation:
    """
    Translate a conversation.

    Args:
        messages: at least one.
        images: further images of the last user message.

    Raises:
        BadRequest: an unknown role, an image that is none, or a result without a call.
    """
    roles = [message.role.strip().lower() for message in messages]
    leading = next((index for index, role in enumerate(roles) if role not in _SYSTEM), len(messages))
    texts = [text for message in messages[:leading] if (text := message.content)]
    last_user = max((index for index, role in enumerate(roles) if role == "user"), default=None)
    state = _Decoding()
    for index in range(leading, len(messages)):
        more = images if index == last_user else None
        _message(messages[index], roles[index], index, state, more_images=more)
    _close(state)
    if not state.items and texts:
        # Nothing but instructions: the upstream wants something to answer to.
        return Conversation("", [Message("developer", [InputText(text)]) for text in texts])
    return Conversation("\n\n".join(texts), state.items)


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
        state.items.append(FunctionCall(call_id, upstream_name(call.function.name), _arguments(call.function)))
        state.open.append(_Open(call.id, call_id, call.function.name))
        state.closing = len(state.items)


def _call_id(call: ToolCall, index: int, number: int, state: _Decoding) -> str:
    given = upstream_call_id(call.id) if call.id else ""
    # Some clients number the calls of each message anew; the upstream wants them apart.
    call_id = given if given and given not in state.ids else f"call_{index}_{number}"
    state.ids.add(call_id)
    return call_id


def _arguments(function: CalledFunction) -> str:
    if isinstance(function.arguments, dict):
        return msgspec.json.encode(function.arguments).decode()
    return function.arguments or "{}"


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


def _answered(message: OllamaMessage, waiting: list[_Open]) -> _Open:
    by_id = (call for call in waiting if message.tool_call_id and call.given_id == message.tool_call_id)
    name = message.tool_name or message.name
    by_name = (call for call in waiting if name and call.name == name)
    return next(by_id, None) or next(by_name, None) or waiting[0]


def _output(content: list[Content], message: OllamaMessage) -> str | list[Content]:
    return content if message.images else message.content or ""


def _close(state: _Decoding) -> None:
    """Results that never came are empty: Ollama's clients may drop one, the upstream would refuse the whole turn."""
    missing = [FunctionCallOutput(call.call_id, "") for call in state.open]
    state.items[state.closing : state.closing] = missing
    state.open.clear()
