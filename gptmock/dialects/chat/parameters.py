"""
What becomes of each parameter that the upstream does not know, as one table (client contracts 1.4).

IGNORE: accepted without effect and named in ``x-gptmock-ignored``; under ``GPTMOCK_STRICT_PARAMETERS`` a 400.
REJECT: a 400 always, since ignoring it would give a wrong kind of answer.
Parameters that are mapped or emulated are in ``request.py`` and not here. Clients that send a token limit or a
temperature with every call are the rule, so these can only be ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gptmock.dialects.chat.types import ChatBody
from gptmock.errors import BadRequest


class Fate(Enum):
    """What is done with a parameter."""

    IGNORE = "ignore"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row; a value for which ``harmless`` holds asks for nothing that is not so anyway."""

    name: str
    fate: Fate
    reason: str
    harmless: Callable[[Any], bool] = lambda _: False


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


def judge(body: ChatBody, *, strict: bool) -> tuple[str, ...]:
    """
    The parameters of this body that have no effect, in the order of the table.

    Raises:
        BadRequest: one that is rejected; with ``strict`` also one that would be ignored.
    """
    ignored: list[str] = []
    for rule in RULES:
        value = getattr(body, rule.name)
        if value is None or rule.harmless(value):
            continue
        if strict or rule.fate is Fate.REJECT:
            raise refused(rule.name, rule.reason)
        ignored.append(rule.name)
    return tuple(ignored)


def refused(name: str, reason: str) -> BadRequest:
    """The 400 for a parameter that cannot be honoured."""
    return BadRequest(f"Unsupported parameter: '{name}': {reason}.", code="unsupported_parameter", param=name)
