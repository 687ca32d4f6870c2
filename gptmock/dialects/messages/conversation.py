"""
Converts ``messages`` to Responses input items, in the same order (next doors A.3). Must not know any other parameter.

Equal histories give equal items, whatever cache marks the client moved and whether a text is a string or a block: the
upstream's prompt cache compares bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from gptmock.dialects.bodies import missing
from gptmock.dialects.dialect import Sealing
from gptmock.dialects.identifiers import upstream_call_id, upstream_name
from gptmock.dialects.messages.content import input_parts, unknown_type
from gptmock.dialects.messages.server_blocks import is_server_block, server_text
from gptmock.dialects.messages.signatures import SealedReasoning, opened
from gptmock.dialects.messages.tool_changes import ToolChanges
from gptmock.dialects.messages.types import Block, InputMessage
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    Content,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    InputText,
    JsonObject,
    Message,
    OutputText,
)

INTERRUPTED = "The call was interrupted: it has no result."
_EMPTY = "(no output)"
_ERROR = "Error: "
_THINKING = frozenset({"thinking", "redacted_thinking"})


@dataclass(slots=True)
class Conversation:
    """What the messages of a request amount to."""

    items: list[InputItem] = field(default_factory=list)
    tools: ToolChanges = field(default_factory=ToolChanges)
    effort: str | None = None
    """The last one that a system message asks for."""
    effort_param: str = ""
    account_id: str | None = None
    """The account whose reasoning is among the items."""
    prefilled: bool = False
    """The last message is the assistant's."""


def decode_messages(messages: list[InputMessage], sealing: Sealing | None, tenant: str) -> Conversation:
    """
    Convert the messages of a request.

    Args:
        messages: as the client sent them.
        sealing: opens the signatures of thinking blocks.
        tenant: whose signatures they have to be.

    Raises:
        BadRequest: an unknown role or block, or a result of a call that no message has.
    """
    first = next((place for place, one in enumerate(messages) if one.role != "system"), None)
    if first is None:
        raise BadRequest("at least one message of the role 'user' is required", param="messages")
    if messages[first].role == "assistant":
        raise BadRequest("the first message must use the 'user' role", param=f"messages[{first}].role")
    decoder = _Decoder(messages, sealing, tenant)
    for place, message in enumerate(messages):
        decoder.message(place, message)
    decoder.interrupt()
    decoder.result.prefilled = messages[-1].role == "assistant"
    if not decoder.result.items:
        raise BadRequest("the messages hold nothing to answer: all of them are empty", param="messages")
    return decoder.result


class _Texts:
    """Texts of an assistant message with nothing else between them; a server's call and its result are one part."""

    def __init__(self) -> None:
        self.parts: list[Content] = []
        self._calls: dict[str, int] = {}
        """Id of a server's call to the place of its part."""

    def add(self, text: str, block: Block) -> None:
        place = self._calls.get(block.tool_use_id or "")
        before = None if place is None else self.parts[place]
        if place is not None and isinstance(before, OutputText):
            self.parts[place] = OutputText(f"{before.text}\n{text}")
            return
        if block.id and is_server_block(block.type):
            self._calls[block.id] = len(self.parts)
        self.parts.append(OutputText(text))


class _Decoder:
    """The items so far, and the calls that still lack an output."""

    def __init__(self, messages: list[InputMessage], sealing: Sealing | None, tenant: str) -> None:
        self.result = Conversation()
        self._waiting: dict[str, None] = {}
        """Ids of calls without an output."""
        self._called: set[str] = set()
        self._outputs: dict[str, int] = {}
        """Call id to the place of its output among the items."""
        self._answered = {
            block.tool_use_id
            for message in messages
            for block in _blocks(message)
            if block.type == "tool_result" and block.tool_use_id
        }
        self._last_user = max((place for place, one in enumerate(messages) if _is_user_turn(one)), default=-1)
        self._sealed = _sealed_reasoning(messages, sealing, tenant)
        self.result.account_id = next((one.account_id for one in reversed(self._sealed.values())), None)

    def message(self, place: int, message: InputMessage) -> None:
        within = f"messages[{place}]"
        match message.role:
            case "system":
                self._system(message, place, within)
            case "user":
                self._user(message, within)
            case "assistant":
                self._assistant(message, place, within)
            case _:
                raise BadRequest(
                    f"'{message.role[:40]}' is none of the roles 'user', 'assistant' and 'system'",
                    param=f"{within}.role",
                )

    def interrupt(self) -> None:
        """Calls that no message answers have an output that says so; the upstream refuses a call without one."""
        for call_id in [one for one in self._waiting if one not in self._answered]:
            self._output(call_id, INTERRUPTED)

    # --- Roles ------------------------------------------------------------------------

    def _system(self, message: InputMessage, place: int, within: str) -> None:
        if message.output_config is not None and message.output_config.effort is not None:
            self.result.effort, self.result.effort_param = (
                message.output_config.effort,
                f"{within}.output_config.effort",
            )
        parts: list[Content] = []
        for number, block in enumerate(_blocks(message)):
            where = f"{within}.content[{number}]"
            if block.type in ("tool_addition", "tool_removal"):
                self.result.tools.change(block, where)
            elif block.type == "text":
                parts += input_parts(block, where)
            else:
                raise unknown_type(block.type, where)
        if message.clear_at != "next_user_message" or place > self._last_user:
            self._say("developer", parts)

    def _user(self, message: InputMessage, within: str) -> None:
        blocks = _blocks(message)
        results = [(number, block) for number, block in enumerate(blocks) if block.type == "tool_result"]
        for number, block in results:
            self._tool_result(block, f"{within}.content[{number}]")
        self.interrupt()
        parts: list[Content] = []
        for number, block in enumerate(blocks):
            if block.type != "tool_result":
                parts += input_parts(block, f"{within}.content[{number}]")
        self._say("user", parts)

    def _assistant(self, message: InputMessage, place: int, within: str) -> None:
        texts = _Texts()
        thoughts: list[InputItem] = []
        for number, block in enumerate(_blocks(message)):
            where = f"{within}.content[{number}]"
            if block.type in _THINKING:
                self._say("assistant", texts.parts)
                texts = _Texts()
                sealed = self._sealed.get((place, number))
                if sealed is not None and sealed.account_id == self.result.account_id:
                    thoughts.append(sealed.item())
                continue
            text, call = _assistant_block(block, where)
            if text or call is not None:
                # A reasoning item that nothing follows is refused by the upstream.
                self.result.items += thoughts
                thoughts = []
            if text:
                texts.add(text, block)
            if call is not None:
                self._say("assistant", texts.parts)
                texts = _Texts()
                self._call(call, block)
        self._say("assistant", texts.parts)

    # --- Items ------------------------------------------------------------------------

    def _say(self, role: Literal["user", "assistant", "developer"], parts: list[Content]) -> None:
        if parts:
            self.result.items.append(Message(role, parts))

    def _call(self, call: FunctionCall, block: Block) -> None:
        call_id = block.id or ""
        self.result.items.append(call)
        self._called.add(call_id)
        self._waiting[call_id] = None

    def _tool_result(self, block: Block, within: str) -> None:
        call_id = block.tool_use_id
        if not call_id:
            raise missing(f"{within}.tool_use_id")
        if call_id not in self._called:
            raise BadRequest(
                f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id[:100]}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in a previous message.",
                param=within,
            )
        self._references(block)
        output = _result(block, within)
        if call_id in self._outputs:
            self._append(call_id, output)
        else:
            self._output(call_id, output)

    def _references(self, block: Block) -> None:
        if isinstance(block.content, list):
            for one in block.content:
                if one.type == "tool_reference" and one.tool_name:
                    self.result.tools.load(one.tool_name)

    def _output(self, call_id: str, output: str | list[Content]) -> None:
        self._waiting.pop(call_id, None)
        self._outputs[call_id] = len(self.result.items)
        self.result.items.append(FunctionCallOutput(upstream_call_id(call_id), output))

    def _append(self, call_id: str, output: str | list[Content]) -> None:
        """A further result for the same call is appended to the first as text."""
        place = self._outputs[call_id]
        first = self.result.items[place]
        assert isinstance(first, FunctionCallOutput)  # noqa: S101 - made by ``_output``
        more = (
            output if isinstance(output, str) else "\n".join(one.text for one in output if isinstance(one, InputText))
        )
        joined: str | list[Content]
        joined = f"{first.output}\n{more}" if isinstance(first.output, str) else [*first.output, InputText(more)]
        self.result.items[place] = FunctionCallOutput(first.call_id, joined)


# --- Blocks ---------------------------------------------------------------------------


def _blocks(message: InputMessage) -> list[Block]:
    content = message.content
    return content if isinstance(content, list) else [Block(type="text", text=content)]


def _is_user_turn(message: InputMessage) -> bool:
    """Whether a user says more than the results of tools."""
    return message.role == "user" and any(block.type != "tool_result" for block in _blocks(message))


def _sealed_reasoning(
    messages: list[InputMessage], sealing: Sealing | None, tenant: str
) -> dict[tuple[int, int], SealedReasoning]:
    """The reasoning that can be opened, by place of message and block."""
    return {
        (place, number): sealed
        for place, message in enumerate(messages)
        if message.role == "assistant"
        for number, block in enumerate(_blocks(message))
        if block.type in _THINKING
        if (sealed := opened(block.signature or block.data, sealing, tenant)) is not None
    }


def _assistant_block(block: Block, within: str) -> tuple[str, FunctionCall | None]:
    """The text of a block, or the call that it is."""
    if block.type == "text":
        if block.text is None:
            raise missing(f"{within}.text")
        return block.text, None
    if block.type == "tool_use":
        return "", _function_call(block, within)
    if is_server_block(block.type):
        return server_text(block), None
    raise unknown_type(block.type, within)


def _function_call(block: Block, within: str) -> FunctionCall:
    if not block.id:
        raise missing(f"{within}.id")
    if not block.name:
        raise missing(f"{within}.name")
    given = block.input if block.input is not None else {}
    if not isinstance(given, dict):
        raise BadRequest("Input should be an object", param=f"{within}.input")
    arguments: JsonObject = given
    return FunctionCall(upstream_call_id(block.id), upstream_name(block.name), msgspec.json.encode(arguments).decode())


def _result(block: Block, within: str) -> str | list[Content]:
    content = block.content
    if isinstance(content, dict):
        raise BadRequest("Input should be a string or a list of blocks", param=f"{within}.content")
    mark = _ERROR if block.is_error else ""
    if not isinstance(content, list):
        return mark + (content or _EMPTY)
    parts = [part for place, one in enumerate(content) for part in input_parts(one, f"{within}.content[{place}]")]
    texts = [part.text for part in parts if isinstance(part, InputText)]
    if len(texts) == len(parts):
        return mark + ("\n".join(texts) or _EMPTY)
    if not mark:
        return parts
    first = next((place for place, part in enumerate(parts) if isinstance(part, InputText)), None)
    if first is None:
        return [InputText(mark.strip()), *parts]
    return [*parts[:first], InputText(mark + texts[0]), *parts[first + 1 :]]
