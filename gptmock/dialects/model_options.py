"""Model options common to all dialects: model name, reasoning, verbosity, service tier. Knows no client field names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import UNSET, UnsetType

from gptmock.catalog import EFFORTS, PRIORITY_TIER, Effort, ModelSpec, ResolvedModel, clamp_effort
from gptmock.dialects.bodies import not_one_of
from gptmock.dialects.dialect import Defaults, Terms
from gptmock.errors import UnknownModel
from gptmock.protocol.request import ReasoningOptions

SUMMARIES = ("auto", "concise", "detailed", "none")
VERBOSITIES = ("low", "medium", "high")
MAX_NAME_CHARACTERS = 200
"""Of a model name; the longest in the catalogue has some 30."""
_ABSENT_TIERS = frozenset({"auto", "default"})
"""Values of ``service_tier`` with the same meaning as an absent one."""
_TIER_ALIASES: Mapping[str, str] = {"fast": PRIORITY_TIER}
_TIER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}", re.ASCII)

Ignore: TypeAlias = Callable[[str, str], None]
"""Called with a parameter without effect and the reason; raises ``BadRequest`` under strict parameters."""


def model_name(asked: str | None, terms: Terms) -> str:
    """
    The model name of a request; the operator's default or the catalogue's if it has none.

    Raises:
        UnknownModel: it is longer than any name.
    """
    return stripped_name(asked) or terms.defaults.model or terms.catalog.default.slug


def stripped_name(asked: str | None) -> str:
    """
    A model name without white space around it; empty if there is none.

    Raises:
        UnknownModel: it is longer than any name. The upstream would repeat all of it in its error.
    """
    name = (asked or "").strip()
    if len(name) > MAX_NAME_CHARACTERS:
        raise UnknownModel(f"No model has a name of more than {MAX_NAME_CHARACTERS} characters.", param="model")
    return name


def known_effort(param: str, effort: str | None) -> Effort | None:
    """
    The effort, checked.

    Raises:
        BadRequest: it is not one of ``EFFORTS``.
    """
    if effort is not None and effort not in EFFORTS:
        raise not_one_of(param, EFFORTS)
    return effort


def known_summary(param: str, summary: str) -> str:
    """
    The summary setting, checked.

    Raises:
        BadRequest: it is not one of ``SUMMARIES``.
    """
    if summary not in SUMMARIES:
        raise not_one_of(param, SUMMARIES)
    return summary


def verbosity_option(param: str, verbosity: str | None, spec: ModelSpec | None, ignore: Ignore) -> str | None:
    """
    The verbosity to send upstream; ``None`` if absent or if the model does not support it.

    Raises:
        BadRequest: it is not one of ``VERBOSITIES``.
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
    The ``service_tier`` to send upstream; a tier that the model lacks in the catalogue is ignored.

    Raises:
        BadRequest: it cannot be the name of a tier.
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
    ``reasoning`` to send upstream.

    Args:
        effort: replaced by the nearest one that the model supports.
        summary: ``auto``, ``concise``, ``detailed`` or ``none``.
        spec: the model, if it is known.
        shown: whether the reply shows reasoning; if not, no summary is requested.
    """
    clamped = clamp_effort(effort, spec)
    wanted = shown and summary != "none" and clamped != "none"
    return ReasoningOptions(effort=clamped, summary=summary if wanted else None)


def default_tier(resolved: ResolvedModel, defaults: Defaults) -> str | UnsetType:
    """The tier for a request that names none: ``priority`` for the model suffix ``-fast`` or in fast mode."""
    has_tier = resolved.spec is None or PRIORITY_TIER in resolved.spec.tiers
    return PRIORITY_TIER if has_tier and (resolved.fast or defaults.fast) else UNSET
