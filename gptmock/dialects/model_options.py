"""What a request asks of its model beside the words: how hard to think, and how fast. Knows no client's field names."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gptmock.catalog import Effort, ModelSpec, ResolvedModel, clamp_effort
from gptmock.dialects.dialect import Defaults
from gptmock.protocol.request import ReasoningOptions

PRIORITY_TIER = "priority"


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
    has_tier = resolved.spec is None or resolved.spec.has_priority_tier
    return PRIORITY_TIER if has_tier and (resolved.fast or defaults.fast) else UNSET
