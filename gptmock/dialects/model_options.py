"""What a request asks of its model beside the words: how hard to think, and how fast. Knows no client's field names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import UNSET, UnsetType

from gptmock.catalog import EFFORTS, PRIORITY_TIER, Effort, ModelSpec, ResolvedModel, clamp_effort
from gptmock.dialects.bodies import not_one_of
from gptmock.dialects.dialect import Defaults, Terms
from gptmock.protocol.request import ReasoningOptions

SUMMARIES = ("auto", "concise", "detailed", "none")
VERBOSITIES = ("low", "medium", "high")
_ABSENT_TIERS = frozenset({"auto", "default"})
"""What an absent ``service_tier`` means too."""
_TIER_ALIASES: Mapping[str, str] = {"fast": PRIORITY_TIER}
_TIER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)

Ignore: TypeAlias = Callable[[str, str], None]
"""Takes a parameter that has no effect and the reason; refuses it instead if the operator wants that."""


def model_name(asked: str | None, terms: Terms) -> str:
    """The model that a request means: the operator's or the catalogue's own if it names none."""
    return (asked or "").strip() or terms.defaults.model or terms.catalog.default.slug


def known_effort(param: str, effort: str | None) -> Effort | None:
    """
    An effort as the client wrote it.

    Raises:
        BadRequest: there is no such effort.
    """
    if effort is not None and effort not in EFFORTS:
        raise not_one_of(param, EFFORTS)
    return effort


def known_summary(param: str, summary: str) -> str:
    """
    A kind of summary as the client wrote it.

    Raises:
        BadRequest: there is no such kind.
    """
    if summary not in SUMMARIES:
        raise not_one_of(param, SUMMARIES)
    return summary


def verbosity_option(param: str, verbosity: str | None, spec: ModelSpec | None, ignore: Ignore) -> str | None:
    """
    The verbosity as the upstream takes it; a model may not have any.

    Raises:
        BadRequest: there is no such verbosity.
    """
    if verbosity is None:
        return None
    if verbosity not in VERBOSITIES:
        raise not_one_of(param, VERBOSITIES)
    if spec is not None and not spec.supports_verbosity:
        ignore(param, f"{spec.slug} does not have it")
        return None
    return verbosity


def service_tier(asked: str | None, resolved: ResolvedModel, defaults: Defaults, ignore: Ignore) -> str | UnsetType:
    """
    The tier as the upstream takes it; the catalogue's entry of the model decides which there are.

    Raises:
        BadRequest: it is no name of a tier.
    """
    if asked is None:
        return default_tier(resolved, defaults)
    if _TIER.fullmatch(asked) is None:
        known = resolved.spec.tiers if resolved.spec is not None else (PRIORITY_TIER,)
        raise not_one_of("service_tier", (*sorted(_ABSENT_TIERS), *known))
    if asked in _ABSENT_TIERS:
        return UNSET
    wanted = _TIER_ALIASES.get(asked, asked)
    known = (PRIORITY_TIER,) if resolved.spec is None else resolved.spec.tiers
    if wanted not in known:
        ignore("service_tier", f"{resolved.slug} has no tier '{asked}'")
        return UNSET
    return wanted


def reasoning_options(effort: Effort, summary: str, spec: ModelSpec | None, *, shown: bool) -> ReasoningOptions:
    """
    Reasoning as the upstream takes it.

    Args:
        effort: what is wanted; the model gets the nearest that it has.
        summary: ``auto``, ``concise``, ``detailed`` or ``none``.
        spec: the model, if it is known.
        shown: whether anybody will see the thinking; a summary that nobody sees is not asked for.
    """
    clamped = clamp_effort(effort, spec)
    wanted = shown and summary != "none" and clamped != "none"
    return ReasoningOptions(effort=clamped, summary=summary if wanted else None)


def default_tier(resolved: ResolvedModel, defaults: Defaults) -> str | UnsetType:
    """The tier for a request that names none: the suffix of the model's name and the operator may ask for speed."""
    has_tier = resolved.spec is None or PRIORITY_TIER in resolved.spec.tiers
    return PRIORITY_TIER if has_tier and (resolved.fast or defaults.fast) else UNSET
