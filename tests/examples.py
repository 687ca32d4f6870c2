"""
How many examples property tests try. ``GPTMOCK_EXAMPLES`` multiplies the number of every one of them, for a search for
new faults: ``GPTMOCK_EXAMPLES=10 python -m pytest tests/test_laws.py``.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("GPTMOCK_EXAMPLES", "1"))
USUAL = 100
"""Hypothesis's own number, for a test that names none."""


def examples(usual: int) -> int:
    """The number of examples of a test that tries ``usual`` ones in every run."""
    return max(1, round(usual * FACTOR))
