"""Decodes the body of ``POST /v1/responses`` to a ``Turn`` (client contracts 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import UNSET, UnsetType

from gptmock.catalog import ResolvedModel
from gptmock.dialects.bodies import decode_body, missing
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.model_options import (
    known_effort,
    known_summary,
    model_name,
    reasoning_options,
    service_tier,
    verbosity_option,
)
from gptmock.dialects.parameters import judge, refused, unknown_members
from gptmock.dialects.responses.codex import codex_turn, is_codex
from gptmock.dialects.responses.items import decode_input
from gptmock.dialects.responses.parameters import REFUSED, RULES
from gptmock.dialects.responses.previous_response import Continued, continued, pending_snapshot_of
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.dialects.responses.types import (
    CodexBody,
    ReasoningParameter,
    Refused,
    ResponsesBody,
    TextFormat,
    TextParameter,
)
from gptmock.dialects.text_format import json_schema_format, with_json_mentioned
from gptmock.dialects.tools import (
    Toolbox,
    decode_choice,
    decode_flat_tools,
    renamed_tools,
    requested_searches,
    with_default_search,
)
from gptmock.protocol.request import (
    ENCRYPTED_REASONING,
    InputItem,
    JsonObject,
    ReasoningOptions,
    ResponsesRequest,
    TextOptions,
    ToolChoice,
)

_INCLUDABLE = (
    ENCRYPTED_REASONING,
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "web_search_call.action.sources",
)
_CONTEXTS = ("auto", "current_turn", "all_turns")


@dataclass(slots=True)
class _Decoding:
    """The state of decoding one body: its context, and the parameters found to have no effect."""

    body: ResponsesBody
    terms: Terms
    resolved: ResolvedModel
    ignored: list[str] = field(default_factory=list)

    def ignore(self, name: str, reason: str) -> None:
        if self.terms.defaults.strict_parameters:
            raise refused(name, reason)
        self.ignored.append(name)


def decode(call: Call, terms: Terms) -> Turn:
    """
    Decode a Responses request.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    if is_codex(call.headers):
        codex_body = decode_body(call.body, CodexBody)
        judge(codex_body, REFUSED, strict=False)
        _refuse_missing_context(codex_body, call)
        return codex_turn(codex_body, call, terms)
    body = decode_body(call.body, ResponsesBody)
    name = model_name(body.model, terms)
    state = _Decoding(body, terms, terms.catalog.resolve(terms.defaults.debug_model or name))
    state.ignored += judge(body, RULES, strict=terms.defaults.strict_parameters)
    _refuse_missing_context(body, call)
    given = continued(body.input, call.context)
    request = _request(call, given, state)
    is_stored = terms.defaults.store_responses and body.store is not False
    return Turn(
        request=request,
        resolved=state.resolved,
        model=name,
        stream=bool(body.stream),
        reply=ResponsesReply(
            ResponsesOptions(
                model=name,
                echo=_echo(body, name, request),
                tool_names=renamed_tools(body.tools or ()),
                obfuscation=body.stream_options is None or body.stream_options.include_obfuscation is not False,
                stored=is_stored,
            )
        ),
        ignored=(*state.ignored, *_without_effect(body, terms), *unknown_members(body)),
        pending_snapshot=pending_snapshot_of(call.tenant, given, call.context) if is_stored else None,
        account_id=call.context.account_id,
    )


def _without_effect(body: ResponsesBody, terms: Terms) -> Iterator[str]:
    """Known members that have no effect in this body; under strict parameters they are named too, and not refused."""
    if body.store and not terms.defaults.store_responses:
        yield "store"
    if body.include and not set(body.include).intersection(_INCLUDABLE):
        yield "include"
    reasoning = body.reasoning or ReasoningParameter()
    if reasoning.context is not None and reasoning.context not in _CONTEXTS:
        yield "reasoning.context"
    if reasoning.summary and reasoning.generate_summary not in (None, reasoning.summary):
        yield "reasoning.generate_summary"


def _refuse_missing_context(body: Refused, call: Call) -> None:
    # Whoever looks it up refuses what is not found; here it must never be passed over.
    if body.previous_response_id is not None and not call.context.items:
        raise refused("previous_response_id", "no response was looked up; send the whole conversation as 'input'")


def _request(call: Call, given: Continued, state: _Decoding) -> ResponsesRequest:
    body, defaults = state.body, state.terms.defaults
    items = decode_input(given)
    searches = requested_searches(body.responses_tools, body.responses_tool_choice)
    toolbox = Toolbox((*decode_flat_tools(body.tools or (), within="tools"), *searches[:1]))
    choice = _choice(body, toolbox, items)
    if defaults.web_search and body.responses_tool_choice != "none":
        toolbox = with_default_search(toolbox, choice)
    text = _text_options(state)
    if text is not UNSET and text.format is not None and text.format["type"] == "json_object":
        items = with_json_mentioned(items)
    tools = list(toolbox.tools)
    return ResponsesRequest(
        model=state.resolved.slug,
        instructions=body.instructions or "",
        input=items,
        tools=tools or UNSET,
        tool_choice=UNSET if choice is None else choice,
        parallel_tool_calls=UNSET if body.parallel_tool_calls is None or not tools else body.parallel_tool_calls,
        reasoning=_reasoning(state),
        text=text,
        service_tier=service_tier(body.service_tier, state.resolved, defaults, state.ignore),
        prompt_cache_key=conversation_key(
            call, body.prompt_cache_key, instructions=body.instructions or "", tools=tools, items=items
        ),
        include=_include(body),
        more={} if body.client_metadata is None else {"client_metadata": body.client_metadata},
    )


def _choice(body: ResponsesBody, toolbox: Toolbox, items: list[InputItem]) -> ToolChoice | None:
    if any(isinstance(item, dict) and item.get("type") == "additional_tools" for item in items):
        # Tools in ``additional_tools`` items are not in the toolbox, so the choice cannot be checked here.
        return body.tool_choice
    return decode_choice(body.tool_choice, toolbox)


def _include(body: ResponsesBody) -> list[str]:
    """
    The values of ``include`` that the upstream accepts, and always encrypted reasoning: clients send the output back as
    input, and a reasoning item without encrypted content would have to be dropped.
    """
    return list(dict.fromkeys([ENCRYPTED_REASONING, *(one for one in body.include or () if one in _INCLUDABLE)]))


def _reasoning(state: _Decoding) -> ReasoningOptions:
    defaults, asked = state.terms.defaults, state.body.reasoning or ReasoningParameter()
    effort = known_effort("reasoning.effort", asked.effort) or state.resolved.effort or defaults.reasoning_effort
    wanted = asked.summary or asked.generate_summary
    options = reasoning_options(
        effort,
        known_summary("reasoning.summary", wanted or defaults.reasoning_summary),
        state.resolved.spec,
        # A summary that the request asks for is shown even if reasoning is hidden by default.
        shown=wanted is not None or defaults.reasoning_style != "hidden",
    )
    if asked.context not in _CONTEXTS:
        return options
    return ReasoningOptions(effort=options.effort, summary=options.summary, context=asked.context)


def _text_options(state: _Decoding) -> TextOptions | UnsetType:
    asked = state.body.text or TextParameter()
    text_format = _format(asked)
    verbosity = verbosity_option("text.verbosity", asked.verbosity, state.resolved.spec, state.ignore)
    if text_format is None and verbosity is None:
        return UNSET
    return TextOptions(format=text_format, verbosity=verbosity)


def _format(asked: TextParameter) -> JsonObject | None:
    wanted = asked.format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    if wanted.name is None:
        raise missing("text.format.name")
    if wanted.schema_ is None:
        raise missing("text.format.schema")
    return json_schema_format(wanted.name, wanted.schema_, strict=wanted.strict, description=wanted.description)


# --- The echo ---------------------------------------------------------------------------


def _echo(body: ResponsesBody, name: str, request: ResponsesRequest) -> JsonObject:
    """The members of the Response object that repeat the client's request, without what was changed for upstream."""
    return {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "model": name,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": _echoed_reasoning(body, request),
        "safety_identifier": body.safety_identifier,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": _echoed_text(body),
        "tool_choice": "auto" if body.tool_choice is None else body.tool_choice,
        "tools": body.tools or [],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
        "user": body.user,
        "metadata": body.metadata or {},
    }


def _echoed_reasoning(body: ResponsesBody, request: ResponsesRequest) -> JsonObject:
    asked = body.reasoning or ReasoningParameter()
    effort = request.reasoning.effort if request.reasoning is not UNSET else None
    return {"effort": asked.effort or effort, "summary": asked.summary or asked.generate_summary}


def _echoed_text(body: ResponsesBody) -> JsonObject:
    asked = body.text or TextParameter()
    shape: JsonObject = {"type": "text"}
    if asked.format is not None:
        known = set(TextFormat.model_fields)
        shape = asked.format.model_dump(include=known, by_alias=True, exclude_none=True)
    return {"format": shape, "verbosity": asked.verbosity or "medium"}
