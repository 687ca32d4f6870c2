"""Decodes the body of ``POST /v1/completions``: one upstream request for each prompt (client contracts 2)."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from gptmock.catalog import ResolvedModel
from gptmock.dialects.bodies import decode_body, missing
from gptmock.dialects.completions.reply import CompletionReply
from gptmock.dialects.completions.types import CompletionBody
from gptmock.dialects.completions.wire import CompletionOptions
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.infill import fill_in_the_middle_items
from gptmock.dialects.model_options import default_tier, known_effort, model_name, reasoning_options
from gptmock.dialects.parameters import Fate, Rule, judge, unknown_members
from gptmock.dialects.stop_sequences import stop_sequences
from gptmock.dialects.tools import Toolbox, requested_searches, with_default_search
from gptmock.errors import BadRequest
from gptmock.protocol.request import InputItem, InputText, Message, ReasoningOptions, ResponsesRequest

MAX_PROMPTS = 20
"""LangChain's batch size. Each prompt needs an upstream turn."""

RULES: tuple[Rule, ...] = (
    Rule("n", Fate.REJECT, "one answer for each prompt is all there is", lambda n: n == 1),
    Rule("best_of", Fate.REJECT, "one answer for each prompt is all there is", lambda n: n == 1),
    Rule("max_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("temperature", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("top_p", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("presence_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("frequency_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("seed", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("logit_bias", Fate.IGNORE, "the upstream takes no sampling parameters", lambda bias: not bias),
    Rule("logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda count: not count),
    Rule("user", Fate.IGNORE, "the upstream knows the account, and nobody else"),
)
"""Parameters without effect. The API's own default of 16 for ``max_tokens`` is not applied: it would cut answers."""


def decode(call: Call, terms: Terms) -> Turn:
    """
    Decode a text completion request.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    body = decode_body(call.body, CompletionBody)
    name = model_name(body.model, terms)
    resolved = terms.catalog.resolve(terms.defaults.debug_model or name)
    ignored = judge(body, RULES, strict=terms.defaults.strict_parameters)
    prompts = _prompts(body)
    toolbox = _toolbox(body, terms)
    reasoning = _reasoning(body, terms, resolved)
    requests = []
    for prompt in prompts:
        items = _items(prompt, body.suffix)
        requests.append(
            ResponsesRequest(
                model=resolved.slug,
                input=items,
                tools=list(toolbox.tools) if toolbox.tools else UNSET,
                reasoning=reasoning,
                service_tier=default_tier(resolved, terms.defaults),
                prompt_cache_key=conversation_key(
                    call, body.prompt_cache_key, instructions="", tools=list(toolbox.tools), items=items
                ),
            )
        )
    return Turn(
        request=requests[0],
        resolved=resolved,
        model=name,
        stream=bool(body.stream),
        reply=CompletionReply(
            CompletionOptions(
                model=name,
                include_usage=bool(body.stream_options and body.stream_options.include_usage),
                stops=stop_sequences(body.stop),
                further=tuple(requests[1:]),
                echoes=prompts if body.echo else (),
            )
        ),
        ignored=(*ignored, *_without_effect(body), *unknown_members(body)),
    )


def _without_effect(body: CompletionBody) -> Iterator[str]:
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        yield "stream_options.include_obfuscation"


def _prompts(body: CompletionBody) -> tuple[str, ...]:
    if body.prompt is None:
        raise missing("prompt")
    given = (body.prompt,) if isinstance(body.prompt, str) else tuple(body.prompt)
    prompts = tuple(one for one in given if isinstance(one, str))
    if len(prompts) < len(given):
        raise BadRequest(
            "Token arrays are not supported in 'prompt': tokenisers differ between models. Send text.", param="prompt"
        )
    # With a suffix the prompt may be empty: the cursor is at the beginning of a file.
    if not prompts or (not body.suffix and not all(prompts)):
        raise BadRequest("'prompt' is empty: there is nothing to complete.", param="prompt")
    if len(prompts) > MAX_PROMPTS:
        raise BadRequest(f"'prompt' can hold at most {MAX_PROMPTS} prompts.", param="prompt")
    return prompts


def _items(prompt: str, suffix: str | None) -> list[InputItem]:
    if not suffix:
        return [Message("user", [InputText(prompt)])]
    return fill_in_the_middle_items(prompt, suffix)


def _toolbox(body: CompletionBody, terms: Terms) -> Toolbox:
    searches = requested_searches(body.responses_tools, body.responses_tool_choice)
    if body.responses_tool_choice == "none":
        return Toolbox(())
    toolbox = Toolbox(tuple(searches[:1]))
    return with_default_search(toolbox, None) if terms.defaults.web_search else toolbox


def _reasoning(body: CompletionBody, terms: Terms, resolved: ResolvedModel) -> ReasoningOptions:
    asked = known_effort("reasoning_effort", body.reasoning_effort)
    effort = asked or resolved.effort or terms.defaults.reasoning_effort
    # A text completion cannot show reasoning, so no summary is requested.
    return reasoning_options(effort, "none", resolved.spec, shown=False)
