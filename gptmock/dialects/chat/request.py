"""Decodes the body of ``POST /v1/chat/completions`` to a ``Turn`` (client contracts 1.1 to 1.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, UnsetType

from gptmock.catalog import ResolvedModel
from gptmock.dialects.bodies import decode_body, missing, validate
from gptmock.dialects.chat.messages import decode_messages
from gptmock.dialects.chat.parameters import RULES, asked_efforts, without_effect
from gptmock.dialects.chat.reply import ChatReply
from gptmock.dialects.chat.responses_input import decode_input
from gptmock.dialects.chat.types import ChatBody, ResponseFormat
from gptmock.dialects.chat.wire import ChatOptions
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.decoded_messages import DecodedMessages
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.identifiers import upstream_name
from gptmock.dialects.model_options import (
    known_effort,
    known_summary,
    model_name,
    reasoning_options,
    service_tier,
    verbosity_option,
)
from gptmock.dialects.parameters import judge, refused, unknown_members
from gptmock.dialects.presentation import shown_style
from gptmock.dialects.stop_sequences import stop_sequences
from gptmock.dialects.text_format import json_schema_format, with_json_mentioned
from gptmock.dialects.tools import (
    FunctionDefinition,
    Toolbox,
    decode_choice,
    decode_tools,
    function_tool,
    renamed_tools,
    requested_searches,
    web_search_from_options,
    with_default_search,
)
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    InputItem,
    JsonObject,
    ReasoningOptions,
    ResponsesRequest,
    TextOptions,
    ToolChoice,
)


@dataclass(slots=True)
class _Decoding:
    """The state of decoding one body: its context, and the parameters found to have no effect."""

    body: ChatBody
    terms: Terms
    resolved: ResolvedModel
    ignored: list[str] = field(default_factory=list)

    def ignore(self, name: str, reason: str) -> None:
        if self.terms.defaults.strict_parameters:
            raise refused(name, reason)
        self.ignored.append(name)


def decode(call: Call, terms: Terms) -> Turn:
    """
    Decode a chat completion request.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    body = decode_body(call.body, ChatBody)
    name = model_name(body.model, terms)
    state = _Decoding(body, terms, terms.catalog.resolve(terms.defaults.debug_model or name))
    state.ignored += judge(body, RULES, strict=terms.defaults.strict_parameters)
    conversation = _conversation(body)
    toolbox = _toolbox(state)
    choice = _choice(body, toolbox)
    if terms.defaults.web_search and body.responses_tool_choice != "none":
        toolbox = with_default_search(toolbox, choice)
    text, items = _text_options(state, conversation.items)
    request = ResponsesRequest(
        model=state.resolved.slug,
        instructions=conversation.instructions,
        input=items,
        tools=list(toolbox.tools) if toolbox.tools else UNSET,
        tool_choice=UNSET if choice is None else choice,
        parallel_tool_calls=_parallel(body, toolbox),
        reasoning=_reasoning(state),
        text=text,
        service_tier=service_tier(body.service_tier, state.resolved, terms.defaults, state.ignore),
        prompt_cache_key=conversation_key(
            call,
            body.prompt_cache_key,
            instructions=conversation.instructions,
            tools=list(toolbox.tools),
            items=conversation.items,
        ),
    )
    return Turn(
        request=request,
        resolved=state.resolved,
        model=name,
        stream=bool(body.stream),
        reply=ChatReply(_reply_options(name, body, terms, json_format=text is not UNSET and text.format is not None)),
        ignored=(*state.ignored, *without_effect(body), *unknown_members(body)),
    )


def _reply_options(name: str, body: ChatBody, terms: Terms, *, json_format: bool) -> ChatOptions:
    return ChatOptions(
        model=name,
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        style=shown_style(terms.defaults.reasoning_style, json_format=json_format),
        stops=stop_sequences(body.stop),
        tool_names=_renamed(body),
        legacy_functions=_legacy(body),
    )


# --- Model and messages ---------------------------------------------------------------


def _conversation(body: ChatBody) -> DecodedMessages:
    if body.messages is None and body.input is not None:
        return decode_input(body.input, body.instructions)
    if body.messages is None:
        raise missing("messages")
    if not body.messages:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    conversation = decode_messages(body.messages)
    if not conversation.items:
        raise BadRequest("The messages hold nothing to answer: all of them are empty.", param="messages")
    return conversation


# --- Tools ----------------------------------------------------------------------------


def _legacy(body: ChatBody) -> bool:
    return bool(body.functions) and not body.tools


def _toolbox(state: _Decoding) -> Toolbox:
    body = state.body
    if _legacy(body):
        tools = [
            function_tool(validate(one, FunctionDefinition, within=f"functions[{index}]"), within=f"functions[{index}]")
            for index, one in enumerate(body.functions or ())
        ]
        return Toolbox((*tools, *_searches(body)))
    return Toolbox((*decode_tools(body.tools or (), within="tools"), *_searches(body)))


def _searches(body: ChatBody) -> list[JsonObject]:
    """Hosted web search: OpenAI's ``web_search_options``, and ``responses_tools`` of ChatMock and GPTMock."""
    searches: list[JsonObject] = []
    if body.web_search_options is not None:
        searches.append(web_search_from_options(body.web_search_options))
    searches += requested_searches(body.responses_tools, body.responses_tool_choice)
    return [] if body.responses_tool_choice == "none" else searches[:1]


def _choice(body: ChatBody, toolbox: Toolbox) -> ToolChoice | None:
    if _legacy(body) or (body.tool_choice is None and not body.tools):
        return _legacy_choice(body.function_call, toolbox)
    return decode_choice(body.tool_choice, toolbox)


def _legacy_choice(choice: str | dict[str, Any] | None, toolbox: Toolbox) -> ToolChoice | None:
    if isinstance(choice, dict):
        name = choice.get("name")
        if not isinstance(name, str) or not name:
            raise missing("function_call.name")
        if upstream_name(name) not in toolbox.kinds:
            raise BadRequest(f"Function call '{name[:64]}' not found in 'functions'.", param="function_call")
        return decode_choice({"type": "function", "name": name}, toolbox)
    if choice not in (None, "none", "auto"):
        raise BadRequest("Invalid value for 'function_call': expected 'none', 'auto' or a name.", param="function_call")
    return decode_choice(choice, toolbox)


def _parallel(body: ChatBody, toolbox: Toolbox) -> bool | UnsetType:
    if _legacy(body):
        # The deprecated ``function_call`` member of a reply holds only one call.
        return False
    if body.parallel_tool_calls is None or not toolbox.tools:
        return UNSET
    return body.parallel_tool_calls


def _renamed(body: ChatBody) -> dict[str, str]:
    return renamed_tools([*(body.functions or ()), *(body.tools or ())])


# --- Reasoning, text, tier ------------------------------------------------------------


def _reasoning(state: _Decoding) -> ReasoningOptions:
    defaults = state.terms.defaults
    param, asked = next(asked_efforts(state.body), ("", None))
    effort = known_effort(param, asked) or state.resolved.effort or defaults.reasoning_effort
    summary = (state.body.reasoning and state.body.reasoning.summary) or defaults.reasoning_summary
    known_summary("reasoning.summary", summary)
    return reasoning_options(effort, summary, state.resolved.spec, shown=defaults.reasoning_style != "hidden")


def _text_options(state: _Decoding, items: list[InputItem]) -> tuple[TextOptions | UnsetType, list[InputItem]]:
    wanted = state.body.response_format
    text_format = None if wanted is None else _format(wanted)
    if text_format is not None and text_format["type"] == "json_object":
        items = with_json_mentioned(items)
    verbosity = verbosity_option("verbosity", state.body.verbosity, state.resolved.spec, state.ignore)
    if text_format is None and verbosity is None:
        return UNSET, items
    return TextOptions(format=text_format, verbosity=verbosity), items


def _format(wanted: ResponseFormat) -> JsonObject | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    if wanted.json_schema is None:
        raise missing("response_format.json_schema")
    given = wanted.json_schema
    return json_schema_format(given.name, given.schema_, strict=given.strict, description=given.description)
