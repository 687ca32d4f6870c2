"""
Parses the upstream's model catalogue (``/codex/models``) into ``ModelSpec``. Pure; knows no account and no client.

Every member but ``slug`` is optional, and the raw entry is kept: Codex clients read more members than we do. Source:
upstream protocol 8.1; openai/codex ``protocol/src/openai_models.rs``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gptmock.catalog import EFFORTS, PRIORITY_TIER, ModelSpec
from gptmock.errors import UpstreamBroken
from gptmock.protocol.items import mended

_TIER_NAMES = {"fast": PRIORITY_TIER}
"""Name in ``additional_speed_tiers`` to id in ``service_tiers``."""
MAX_CONTEXT_WINDOW = 2**31 - 1
"""Tokens; clients read the value into a signed 32-bit integer, so a larger one is ignored."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)", re.ASCII)


class _Level(msgspec.Struct, frozen=True):
    effort: str


class _Tier(msgspec.Struct, frozen=True):
    id: str


class _Upgrade(msgspec.Struct, frozen=True):
    model: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    slug: str
    display_name: str | None = None
    default_reasoning_level: str | None = None
    supported_reasoning_levels: list[_Level] | None = None
    visibility: str | None = None
    supported_in_api: bool | None = None
    priority: float | None = None
    context_window: int | None = None
    support_verbosity: bool | None = None
    service_tiers: list[_Tier] | None = None
    additional_speed_tiers: list[str] | None = None
    input_modalities: list[str] | None = None
    upgrade: _Upgrade | None = None
    minimal_client_version: str | list[int] | None = None
    """``"0.155.0"``; the backend has also sent ``[0, 155, 0]`` (openinterpreter/openinterpreter#1797, July 2026)."""


class _Name(msgspec.Struct, frozen=True):
    """An entry in which only ``slug`` can be read."""

    slug: str


class _Document(msgspec.Struct, frozen=True):
    models: list[msgspec.Raw]


def decode_models(document: bytes) -> tuple[ModelSpec, ...]:
    """
    The models of a catalogue document, in its order; an entry without a ``slug`` is left out.

    Raises:
        UpstreamBroken: it is not a catalogue document, or has no model.
    """
    try:
        entries = msgspec.json.decode(mended(document), type=_Document).models
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unreadable() from error
    specs = {spec.slug: spec for raw in entries if (spec := _spec(bytes(raw))) is not None}
    if not specs:
        raise _unreadable()
    return tuple(specs.values())


def parse_version(text: str | None) -> tuple[int, ...]:
    """The numbers of a version such as ``0.155.0``, ignoring any suffix; empty if the text is no version."""
    found = _VERSION.match(text or "")
    return tuple(int(number) for number in found.groups()) if found else ()


def _spec(raw: bytes) -> ModelSpec | None:
    entry = _decoded(raw)
    if entry is None or not entry.slug.strip():
        return None
    known: dict[str, Any] = {}
    if 0 < (entry.context_window or 0) <= MAX_CONTEXT_WINDOW:
        known["context_window"] = entry.context_window
    if entry.priority is not None:
        known["priority"] = int(entry.priority)
    if entry.input_modalities is not None:
        known["input_modalities"] = tuple(entry.input_modalities)
    if entry.default_reasoning_level in EFFORTS:
        known["default_effort"] = entry.default_reasoning_level
    levels = entry.supported_reasoning_levels or []
    tiers = [*(tier.id for tier in entry.service_tiers or []), *(entry.additional_speed_tiers or [])]
    return ModelSpec(
        slug=entry.slug,
        # An unknown level has no rank among the others, and ``clamp_effort`` needs one.
        efforts=tuple(level.effort for level in levels if level.effort in EFFORTS),
        listed=entry.visibility in (None, "list") and entry.supported_in_api is not False,
        supports_verbosity=entry.support_verbosity is not False,
        tiers=tuple(dict.fromkeys(_TIER_NAMES.get(tier, tier) for tier in tiers)),
        successor=entry.upgrade.model if entry.upgrade is not None else None,
        display_name=entry.display_name,
        minimal_version=_minimal_version(entry.minimal_client_version),
        entry=raw,
        **known,
    )


def _minimal_version(given: str | list[int] | None) -> tuple[int, ...]:
    if isinstance(given, list):
        return tuple(given[:3]) if len(given) >= 3 else ()
    return parse_version(given)


def _decoded(raw: bytes) -> _Entry | None:
    """The entry, reduced to its ``slug`` if a member has an unexpected type; ``None`` without a ``slug``."""
    try:
        return msgspec.json.decode(raw, type=_Entry)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return _Entry(msgspec.json.decode(raw, type=_Name).slug)
    except (msgspec.DecodeError, RecursionError):
        return None


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken("The upstream's list of models cannot be read.", code="upstream_bad_catalogue")
