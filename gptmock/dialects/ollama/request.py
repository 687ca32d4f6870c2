"""From the body of either route to a ``Turn``: model, thinking, format, tools, options (client contracts 5.1, 5.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import EFFORTS, ResolvedModel
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, ReadyReply, ReasoningStyle, Terms, Turn
from gptmock.dialects.images import image_address
from gptmock.dialects.model_options import default_tier, reasoning_options
from gptmock.dialects.ollama.bodies import required_model
from gptmock.dialects.ollama.catalogue import living_model
from gptmock.dialects.ollama.line_encoder import Lines, Shape
from gptmock.dialects.ollama.reply import OllamaReply
from gptmock.dialects.ollama.reply_content import OllamaOptions
from gptmock.dialects.ollama.types import JsonObject, OllamaBody
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
"""Modelfiles have about ten; each is looked for in every piece of text."""
_ZERO = re.compile(r"[-+]?(?:0+\.?0*|\.0+)(?:ns|us|µs|ms|s|m|h)?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, as far as the routes differ in how it is written."""

    instructions: str
    items: list[InputItem]
    tools: tuple[JsonObject, ...] = ()
    ignored: tuple[str, ...] = ()


def turn_of(call: Call, terms: Terms, body: OllamaBody, asked: Asked, shape: Shape) -> Turn:
    """
    The turn of a question.

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
    The answer to a request that asks nothing, with which Ollama's clients load a model, or unload it.

    Raises:
        BadRequest: no model is named.
        UnknownModel: there is no such model, as far as the catalogue tells; no upstream is asked.
    """
    name = required_model(body.model)
    living_model(terms.catalog, terms.defaults.debug_model or name)
    reason = "unload" if _is_zero(body.keep_alive) else "load"
    return ReadyReply(lambda head: Lines(shape, name, head).ready(reason))


def _is_zero(duration: Any) -> bool:
    if isinstance(duration, str):
        return _ZERO.fullmatch(duration.strip()) is not None
    return isinstance(duration, int | float) and not isinstance(duration, bool) and duration == 0


def user_content(text: str, images: list[str] | None, *, within: str) -> list[Content]:
    """
    A text and its images, which clients send as bare base64.

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
    """How hard to think, and whether it is shown: in ``thinking``, whatever style the OpenAI routes have."""
    think, defaults = body.think, terms.defaults
    if isinstance(think, str) and think not in EFFORTS:
        raise BadRequest(
            f'invalid think value: {_quoted(think)} (must be "high", "medium", "low", true, or false)', param="think"
        )
    if isinstance(think, str):
        effort = think
    else:
        effort = "none" if think is False else resolved.effort or defaults.reasoning_effort
        # Ollama's own meaning of true, where the default would be not to think.
        effort = "medium" if think is True and effort == "none" else effort
    summary = defaults.reasoning_summary
    if think is not None and effort != "none" and summary == "none":
        # Who asks for thinking wants to see it; the default speaks for those who say nothing.
        summary = "auto"
    shown = defaults.reasoning_style != "hidden" and effort != "none"
    options = reasoning_options(effort, summary, resolved.spec, shown=shown)
    return options, "reasoning-content" if shown else "hidden"


def _text_options(wanted: Any, items: list[InputItem]) -> tuple[TextOptions | UnsetType, list[InputItem]]:
    if wanted is None or wanted == "":
        return UNSET, items
    if wanted in ("json", {}):
        # Clients of Ollama never mention JSON in the prompt; the upstream insists.
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
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > MAX_STOPS:
        raise BadRequest(f"'options.stop' can hold at most {MAX_STOPS} sequences.", param="options.stop")
    return tuple(one for one in stops if one)


def _quoted(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60]
