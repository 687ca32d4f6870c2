"""Tolerances of timing tests, for busy test machines."""

from __future__ import annotations

GENEROUS = 5


def generous(promised_seconds: float) -> float:
    """The upper bound to assert for something that takes ``promised_seconds`` on an idle machine."""
    return GENEROUS * promised_seconds
