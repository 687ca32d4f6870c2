"""Decodes the body of ``POST /v1/messages`` to a ``Turn`` (next doors A.3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import PRIORITY_TIER, ResolvedModel
from gptmock.dialects.bodies import decode_body, missing
from gptmock.dialects.claude_models import resolve
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.messages.conversation import Conversation, decode_messages
from gptmock.dialects.messages.parameters import PROMPT_RULES, RULES, reasoning, shows_thinking
from gptmock.dialects.messages.reply import MessagesReply
from gptmock.dialects.messages.schemas import is_strict, without_dialect
from gptmock.dialects.messages.tools import DecodedTools, decode_choice, decode_tools
from gptmock.dialects.messages.types import CountBody, Format, MessagesBody, SystemBlock, Thinking
from gptmock.dialects.messages.wire import MessagesOptions, ThinkingBlocks
from gptmock.dialects.model_options import default_tier, model_name
from gptmock.dialects.parameters import judge, refused, unknown_members
from gptmock.dialects.stop_sequences import stop_sequences
from gptmock.dialects.text_format import json_schema_format
from gptmock.dialects.tools import with_default_search
from gptmock.errors import BadRequest
from gptmock.protocol.request import ENCRYPTED_REASONING, ResponsesRequest, TextOptions

SESSION_HEADER = "x-claude-code-session-id"
AGENT_HEADER = "x-claude-code-agent-id"
SEARCH_SOURCES = "web_search_call.action.sources"
_ATTRIBUTION = "x-anthropic-"
_MAX_STOPS = 100
_INDEX = re.compile(r"\[(\d+)\]")

_Decoded = TypeVar("_Decoded")


@dataclass(slots=True)
class _Decoding:
    """The state of decoding one body: its context, and the parameters found to have no effect."""

    body: CountBody
    call: Call
    terms: Terms
    name: str
    resolved: ResolvedModel
    ignored: list[str] = field(default_factory=list)

    def ignore(self, name: str, reason: str) -> None:
        if self.terms.defaults.strict_parameters:
            raise refused(name, reason)
        self.ignored.append(name)


@dataclass(frozen=True, slots=True)
class _Prompt:
    request: ResponsesRequest
    tools: DecodedTools
    conversation: Conversation


def decode(call: Call, terms: Terms) -> Turn:
    """
    Decode a Messages request.

    Raises:
        BadRequest: the message begins with the path to the field at fault, as ``messages.3.content.0.type``.
    """
    return _with_paths(_turn, call, terms)


def decode_count(call: Call, terms: Terms) -> ResponsesRequest:
    """
    What would go upstream for a body of ``POST /v1/messages/count_tokens``.

    Raises:
        BadRequest: as ``decode``.
    """
    return _with_paths(_counted, call, terms)


def _with_paths(decode_one: Callable[[Call, Terms], _Decoded], call: Call, terms: Terms) -> _Decoded:
    try:
        return decode_one(call, terms)
    except BadRequest as error:
        if error.param is None:
            raise
        where = _INDEX.sub(r".\1", error.param)
        raise BadRequest(f"{where}: {error.message}", code=error.code, param=error.param) from error


def _turn(call: Call, terms: Terms) -> Turn:
    body = decode_body(call.body, MessagesBody)
    state = _decoding(body, call, terms)
    state.ignored += judge(body, RULES, strict=terms.defaults.strict_parameters)
    prompt = _prompt(state)
    prefill = ("prefill",) if prompt.conversation.prefilled else ()
    options = MessagesOptions(
        model=state.name,
        stops=stop_sequences(body.stop_sequences, param="stop_sequences", limit=_MAX_STOPS),
        stream=bool(body.stream),
        thinking=_thinking(body.thinking, prompt.request),
        tool_names=prompt.tools.names,
        request=prompt.request,
        context_window=None if state.resolved.spec is None else state.resolved.spec.context_window,
        sealing=terms.sealing,
        tenant=call.tenant,
    )
    return Turn(
        request=prompt.request,
        resolved=state.resolved,
        model=state.name,
        stream=bool(body.stream),
        reply=MessagesReply(options),
        ignored=(*state.ignored, *prefill, *unknown_members(body)),
        account_id=prompt.conversation.account_id,
    )


def _thinking(thinking: Thinking | None, request: ResponsesRequest) -> ThinkingBlocks:
    if not shows_thinking(thinking):
        return "none"
    has_summary = request.reasoning is not UNSET and request.reasoning.summary is not None
    return "shown" if has_summary else "signed"


def _counted(call: Call, terms: Terms) -> ResponsesRequest:
    body = decode_body(call.body, CountBody)
    state = _decoding(body, call, terms)
    judge(body, PROMPT_RULES, strict=False)
    return _prompt(state).request


def _decoding(body: CountBody, call: Call, terms: Terms) -> _Decoding:
    name = model_name(body.model, terms)
    resolved = terms.catalog.resolve(terms.defaults.debug_model) if terms.defaults.debug_model else resolve(name, terms)
    return _Decoding(body, call, terms, name, resolved)


def _prompt(state: _Decoding) -> _Prompt:
    body, terms = state.body, state.terms
    conversation = decode_messages(body.messages, terms.sealing, state.call.tenant)
    tools = decode_tools(body.tools or [], conversation.tools, state.ignore)
    choice = decode_choice(body.tool_choice, tools)
    toolbox = with_default_search(tools.toolbox, choice) if terms.defaults.web_search else tools.toolbox
    instructions = _instructions(body.system)
    sent = list(toolbox.tools)
    request = ResponsesRequest(
        model=state.resolved.slug,
        instructions=instructions,
        input=conversation.items,
        tools=sent or UNSET,
        tool_choice=UNSET if choice is None else choice,
        parallel_tool_calls=_parallel(body, tools),
        reasoning=reasoning(body, (conversation.effort_param, conversation.effort), state.resolved, terms.defaults),
        text=_text_options(body),
        service_tier=_tier(state),
        prompt_cache_key=conversation_key(
            state.call, _session(state.call, body), instructions=instructions, tools=sent, items=conversation.items
        ),
        include=[ENCRYPTED_REASONING, SEARCH_SOURCES] if toolbox.has_web_search else [ENCRYPTED_REASONING],
    )
    return _Prompt(request, tools, conversation)


def _instructions(system: str | list[SystemBlock] | None) -> str:
    texts = [system] if isinstance(system, str) else [block.text for block in system or ()]
    return "\n\n".join(text for one in texts if (text := _without_attribution(one)))


def _without_attribution(text: str) -> str:
    # The line differs between sessions, and between kinds of calls in one session: nothing would be cached.
    return text.partition("\n")[2].lstrip("\n") if text.startswith(_ATTRIBUTION) else text


def _parallel(body: CountBody, tools: DecodedTools) -> bool | UnsetType:
    choice = body.tool_choice
    if not tools.toolbox.tools or choice is None or not choice.disable_parallel_tool_use:
        return UNSET
    return False


def _text_options(body: CountBody) -> TextOptions | UnsetType:
    config = body.output_config
    param, wanted = "output_config.format", None if config is None else config.format
    if wanted is None:
        param, wanted = "output_format", body.output_format
    return UNSET if wanted is None else TextOptions(format=_format(param, wanted))


def _format(param: str, wanted: Format) -> dict[str, Any]:
    if wanted.type != "json_schema":
        raise BadRequest("Input should be 'json_schema'", param=f"{param}.type")
    if wanted.schema_ is None:
        raise missing(f"{param}.schema")
    schema = without_dialect(wanted.schema_)
    return json_schema_format("output", schema, strict=is_strict(schema, within=f"{param}.schema"), description=None)


def _tier(state: _Decoding) -> str | UnsetType:
    if state.body.speed == "fast":
        if state.resolved.spec is None or PRIORITY_TIER in state.resolved.spec.tiers:
            return PRIORITY_TIER
        state.ignore("speed", f"{state.resolved.slug} has no fast tier")
    return default_tier(state.resolved, state.terms.defaults)


def _session(call: Call, body: CountBody) -> str | None:
    """The session and, in a sub-agent, the agent: each agent is a conversation of its own."""
    # A count has no metadata: what it has under this name was not checked.
    metadata = body.metadata if isinstance(body, MessagesBody) else None
    session = call.headers.get(SESSION_HEADER) or _session_of_user(metadata)
    if not session:
        return None
    agent = call.headers.get(AGENT_HEADER)
    return f"{session}/{agent}" if agent else session


def _session_of_user(metadata: dict[str, Any] | None) -> str | None:
    """Claude Code puts a JSON object into ``metadata.user_id``; of others it is no session."""
    user_id = (metadata or {}).get("user_id")
    if not isinstance(user_id, str) or not user_id.startswith("{"):
        return None
    try:
        session = msgspec.json.decode(user_id, type=dict[str, Any]).get("session_id")
    except (msgspec.DecodeError, RecursionError):
        return None
    return session if isinstance(session, str) else None
