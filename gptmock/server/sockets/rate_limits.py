"""The event ``codex.rate_limits``: what the backend's headers say of an account's windows. Knows headers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_PREFIX = "x-codex-"
_MEMBERS = {"used_percent": "used-percent", "window_minutes": "window-minutes", "reset_at": "reset-at"}


def rate_limits_event(headers: Mapping[str, str]) -> bytes | None:
    """
    The event for a client whose answer has these headers; ``None`` if they name no window.

    Args:
        headers: names in lower case.
    """
    windows = {name: window for name in ("primary", "secondary") if (window := _window(headers, name)) is not None}
    if not windows:
        return None
    reached = any(window["used_percent"] >= 100 for window in windows.values())
    limits = {"allowed": not reached, "limit_reached": reached, "primary": None, "secondary": None, **windows}
    event = {"type": "codex.rate_limits", "plan_type": headers.get(f"{_PREFIX}plan-type"), "rate_limits": limits}
    return msgspec.json.encode(event)


def _window(headers: Mapping[str, str], name: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for member, header in _MEMBERS.items():
        try:
            found[member] = float(headers[f"{_PREFIX}{name}-{header}"])
        except (KeyError, ValueError):
            if member != "reset_at":
                return None
            found[member] = None
    found["window_minutes"] = int(found["window_minutes"])
    found["reset_at"] = None if found["reset_at"] is None else int(found["reset_at"])
    return found
