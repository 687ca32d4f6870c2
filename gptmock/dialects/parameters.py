"""
Checks a body against the dialect's table of unsupported parameters.

IGNORE: accepted without effect and named in ``x-gptmock-ignored``; under ``GPTMOCK_STRICT_PARAMETERS`` a 400.
REJECT: a 400 always, since ignoring it would give a wrong kind of answer.

Members that no model of a body has are always accepted, and named: nobody can tell whether they matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args

from gptmock.dialects.bodies import Body, ParameterBody
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


def unknown_members(body: ParameterBody, *, within: str = "") -> Iterator[str]:
    """
    The paths of the members that are in none of the models, as ``top_k`` and ``reasoning.odd``, in the order in which
    they were sent; those of an object in the body come after its own. ``null`` means absent.
    """
    for name, value in (body.model_extra or {}).items():
        if value is not None:
            yield within + name
    for name in _objects_of(type(body)):
        value = getattr(body, name)
        if value is not None:
            yield from unknown_members(value, within=f"{within}{name}.")


@cache
def _objects_of(model: type[ParameterBody]) -> tuple[str, ...]:
    """The fields that hold objects of parameters; of a union, ``None`` is the only other branch."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(
            isinstance(one, type) and issubclass(one, ParameterBody)
            for one in get_args(field.annotation) or (field.annotation,)
        )
    )


def refused(name: str, reason: str) -> BadRequest:
    """The 400 for a parameter that cannot be honoured."""
    return BadRequest(f"Unsupported parameter: '{name}': {reason}.", code="unsupported_parameter", param=name)
