"""
What decoding ``/api/chat`` and ``/api/generate`` have in common: model, ``think``, ``format``, tools, options (client
contracts 5.1, 5.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import EFFORTS, ResolvedModel
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, ReadyReply, ReasoningStyle, Terms, Turn
from gptmock.dialects.image_urls import image_address
from gptmock.dialects.model_options import default_tier, reasoning_options
from gptmock.dialects.ollama.bodies import required_model
from gptmock.dialects.ollama.catalogue import served_model
from gptmock.dialects.ollama.line_encoder import Lines, Shape
from gptmock.dialects.ollama.reply import OllamaReply
from gptmock.dialects.ollama.reply_content import OllamaOptions
from gptmock.dialects.ollama.types import JsonObject, OllamaBody
from gptmock.dialects.stop_sequences import stop_sequences
from gptmock.dialects.text_format import with_json_mentioned
from gptmock.dialects.tools import Toolbox, decode_tools, renamed_tools, requested_searches, with_default_search
from gptmock.errors import BadRequest
from gptmock.protocol.request import (
    Content,
    InputImage,
    InputItem,
    InputText,
    ReasoningOptions,
    ResponsesRequest,
    TextOptions,
)

MAX_STOPS = 64
"""Modelfiles have about ten. Every delta is searched for each sequence."""
_ZERO = re.compile(r"[-+]?(?:0+\.?0*|\.0+)(?:ns|us|µs|ms|s|m|h)?")


@dataclass(frozen=True, slots=True)
class OllamaInput:
    """The parts of a request that the two routes decode differently."""

    instructions: str
    items: list[InputItem]
    tools: tuple[JsonObject, ...] = ()
    ignored: tuple[str, ...] = ()


def turn_of(call: Call, terms: Terms, body: OllamaBody, asked: OllamaInput, shape: Shape) -> Turn:
    """
    The turn for a request of either route.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    name = required_model(body.model)
    resolved = terms.catalog.resolve(terms.defaults.debug_model or name)
    toolbox = _toolbox(body, asked.tools, terms)
    text, items = _text_options(body.format, asked.items)
    reasoning, style = _thinking(body, terms, resolved)
    request = ResponsesRequest(
        model=resolved.slug,
        instructions=asked.instructions,
        input=items,
        tools=list(toolbox.tools) if toolbox.tools else UNSET,
        reasoning=reasoning,
        text=text,
        service_tier=default_tier(resolved, terms.defaults),
        prompt_cache_key=conversation_key(
            call, None, instructions=asked.instructions, tools=list(toolbox.tools), items=asked.items
        ),
    )
    return Turn(
        request=request,
        resolved=resolved,
        model=name,
        stream=body.stream is not False,
        reply=OllamaReply(
            OllamaOptions(
                shape=shape, model=name, style=style, stops=_stops(body), tool_names=renamed_tools(asked.tools)
            )
        ),
        ignored=asked.ignored,
    )


def load_reply(terms: Terms, body: OllamaBody, shape: Shape) -> ReadyReply:
    """
    The reply to a request without messages or prompt, by which Ollama clients load a model, or unload it
    (``keep_alive: 0``).

    Raises:
        BadRequest: no model is named.
        UnknownModel: the model is not in the catalogue; the upstream is not asked.
    """
    name = required_model(body.model)
    served_model(terms.catalog, terms.defaults.debug_model or name)
    reason = "unload" if _is_zero(body.keep_alive) else "load"
    return ReadyReply(lambda head: Lines(shape, name, head).ready(reason))


def _is_zero(duration: Any) -> bool:
    if isinstance(duration, str):
        return _ZERO.fullmatch(duration.strip()) is not None
    return isinstance(duration, int | float) and not isinstance(duration, bool) and duration == 0


def user_content(text: str, images: list[str] | None, *, within: str) -> list[Content]:
    """
    Content parts for a text and its images, which clients send as bare base64.

    Raises:
        BadRequest: ``invalid_image``.
    """
    content: list[Content] = [InputText(text)] if text else []
    for index, image in enumerate(images or ()):
        content.append(InputImage(image_address(image, within=f"{within}images[{index}]")))
    return content


# --- Tools ----------------------------------------------------------------------------


def _toolbox(body: OllamaBody, tools: tuple[JsonObject, ...], terms: Terms) -> Toolbox:
    searches = requested_searches(body.responses_tools, body.responses_tool_choice)[:1]
    toolbox = Toolbox((*decode_tools(tools, within="tools"), *searches))
    if terms.defaults.web_search and body.responses_tool_choice != "none":
        return with_default_search(toolbox, None)
    return toolbox


# --- Thinking, format, stops ------------------------------------------------------------


def _thinking(body: OllamaBody, terms: Terms, resolved: ResolvedModel) -> tuple[ReasoningOptions, ReasoningStyle]:
    """Effort and summary from ``think``; reasoning is always shown in ``thinking``, if at all."""
    think, defaults = body.think, terms.defaults
    if isinstance(think, str) and think not in EFFORTS:
        raise BadRequest(
            f'invalid think value: {_quoted(think)} (must be "high", "medium", "low", true, or false)', param="think"
        )
    if isinstance(think, str):
        effort = think
    else:
        effort = "none" if think is False else resolved.effort or defaults.reasoning_effort
        # ``think: true`` enables reasoning even if the default effort is ``none``.
        effort = "medium" if think is True and effort == "none" else effort
    summary = defaults.reasoning_summary
    if think is not None and effort != "none" and summary == "none":
        # A client that sends ``think`` wants to see the reasoning; the operator's default is for all others.
        summary = "auto"
    shown = defaults.reasoning_style != "hidden" and effort != "none"
    options = reasoning_options(effort, summary, resolved.spec, shown=shown)
    return options, "reasoning-content" if shown else "hidden"


def _text_options(wanted: Any, items: list[InputItem]) -> tuple[TextOptions | UnsetType, list[InputItem]]:
    if wanted is None or wanted == "":
        return UNSET, items
    if wanted in ("json", {}):
        # The upstream requires the word JSON in the input, and Ollama clients do not write it.
        return TextOptions(format={"type": "json_object"}), with_json_mentioned(items)
    if not isinstance(wanted, dict):
        raise BadRequest(
            f'invalid format: {_quoted(wanted)}; expected "json" or a valid JSON Schema object', param="format"
        )
    # Not strict: schemas made for Ollama lack what the upstream's strict mode asks for.
    schema = {"type": "json_schema", "name": "response", "schema": wanted, "strict": False}
    return TextOptions(format=schema), items


def _stops(body: OllamaBody) -> tuple[str, ...]:
    stop = body.options.stop if body.options is not None else None
    return stop_sequences(stop, param="options.stop", limit=MAX_STOPS)


def _quoted(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60]
