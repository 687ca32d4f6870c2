"""
Checks a body against the dialect's table of unsupported parameters.

IGNORE: accepted without effect and named in ``x-gptmock-ignored``; under ``GPTMOCK_STRICT_PARAMETERS`` a 400.
REJECT: a 400 always, since ignoring it would give a wrong kind of answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gptmock.dialects.bodies import Body
from gptmock.errors import BadRequest


class Fate(Enum):
    """What is done with a parameter."""

    IGNORE = "ignore"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row; values for which ``harmless`` is true match the upstream's behaviour and are accepted silently."""

    name: str
    fate: Fate
    reason: str
    harmless: Callable[[Any], bool] = lambda _: False


def judge(body: Body, rules: Iterable[Rule], *, strict: bool, within: str = "") -> tuple[str, ...]:
    """
    The parameters of this body that have no effect, in the order of the table.

    Args:
        body: what was sent; an absent parameter is ``None``.
        rules: the dialect's table.
        strict: refuse what would be ignored.
        within: the path to the body, as ``options``.

    Raises:
        BadRequest: one that is rejected; with ``strict`` also one that would be ignored.
    """
    ignored: list[str] = []
    for rule in rules:
        value = getattr(body, rule.name)
        if value is None or rule.harmless(value):
            continue
        name = f"{within}.{rule.name}" if within else rule.name
        if strict or rule.fate is Fate.REJECT:
            raise refused(name, rule.reason)
        ignored.append(name)
    return tuple(ignored)


def refused(name: str, reason: str) -> BadRequest:
    """The 400 for a parameter that cannot be honoured."""
    return BadRequest(f"Unsupported parameter: '{name}': {reason}.", code="unsupported_parameter", param=name)
