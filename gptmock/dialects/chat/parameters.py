"""
The parameters that the upstream does not support (client contracts 1.4). Those that are mapped or emulated are in
``request.py``. Token limits and sampling parameters are ignored, since most clients send them with every call.
"""

from __future__ import annotations

from collections.abc import Iterator

from gptmock.dialects.chat.types import ChatBody
from gptmock.dialects.parameters import Fate, Rule


def _only_text(modalities: list[str]) -> bool:
    return set(modalities) <= {"text"}


RULES: tuple[Rule, ...] = (
    Rule("n", Fate.REJECT, "one answer for each request is all there is", lambda n: n == 1),
    Rule("modalities", Fate.REJECT, "only text is available", _only_text),
    Rule("max_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("max_completion_tokens", Fate.IGNORE, "the upstream takes no token limit"),
    Rule("temperature", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("top_p", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("presence_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("frequency_penalty", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("seed", Fate.IGNORE, "the upstream takes no sampling parameters"),
    Rule("logit_bias", Fate.IGNORE, "the upstream takes no sampling parameters", lambda bias: not bias),
    Rule("logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda wanted: not wanted),
    Rule("top_logprobs", Fate.IGNORE, "the upstream gives no log probabilities", lambda count: not count),
    Rule("audio", Fate.IGNORE, "only text is available"),
    Rule("prediction", Fate.IGNORE, "a hint for speed that the upstream does not take"),
    Rule("metadata", Fate.IGNORE, "nothing is stored for chat completions", lambda data: not data),
    Rule("store", Fate.IGNORE, "nothing is stored for chat completions", lambda wanted: not wanted),
    Rule("moderation", Fate.IGNORE, "the upstream moderates as it sees fit"),
    Rule("user", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("safety_identifier", Fate.IGNORE, "the upstream knows the account, and nobody else"),
    Rule("prompt_cache_retention", Fate.IGNORE, "the upstream decides"),
    Rule("prompt_cache_options", Fate.IGNORE, "the upstream decides"),
)


def asked_efforts(body: ChatBody) -> Iterator[tuple[str, str]]:
    """What the request says of effort, in whichever of the fields that clients use; the first decides."""
    reasoning = body.reasoning
    for param, effort in (
        ("reasoning_effort", body.reasoning_effort),
        ("reasoning.effort", reasoning.effort if reasoning else None),
        ("reasoningEffort", body.reasoningEffort),
    ):
        if effort is not None:
            yield param, effort
    if reasoning is not None and reasoning.enabled is False:
        yield "reasoning.enabled", "none"
    thinking = body.thinking
    if thinking is False or (isinstance(thinking, dict) and thinking.get("type") == "disabled"):
        yield "thinking", "none"
    if body.enable_thinking is False:
        yield "enable_thinking", "none"


def without_effect(body: ChatBody) -> Iterator[str]:
    """
    Members that are known and have no effect in this body: others decide what they ask for, or thinking is switched on,
    which only an effort does. Named under ``GPTMOCK_STRICT_PARAMETERS`` too, and not refused.
    """
    if body.messages is not None:
        yield from (name for name in ("input", "instructions") if getattr(body, name))
    if body.tools and body.functions:
        yield "functions"
    if body.function_call is not None and (body.tools or (body.tool_choice is not None and not body.functions)):
        yield "function_call"
    if body.tool_choice is not None and body.functions and not body.tools:
        yield "tool_choice"
    asked = list(asked_efforts(body))
    yield from (param for param, effort in asked if effort != asked[0][1])
    heard = {param for param, _ in asked}
    if body.reasoning is not None and body.reasoning.enabled is not None and "reasoning.enabled" not in heard:
        yield "reasoning.enabled"
    yield from (
        name for name in ("thinking", "enable_thinking") if getattr(body, name) is not None and name not in heard
    )
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        yield "stream_options.include_obfuscation"
