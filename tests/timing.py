"""How much later than promised a test may still call in time: the machines that run tests have others to serve."""

from __future__ import annotations

GENEROUS = 5


def generous(promised_seconds: float) -> float:
    """The most that a promise may take in a test; what it takes on a quiet machine is measured, not asserted."""
    return GENEROUS * promised_seconds
