"""
How the tests of a whole run are spread over its processes (pytest-xdist): the order of the stages, the units that stay
together, and the seconds that each stage took.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from xdist.scheduler import LoadScopeScheduling

STAGES = ("core", "fuzz", "clients", "faults")
_SEPARATE = ("tests/faults/",)
"""Each function is a unit here: most start servers of their own, and few take less than a second."""


def stage_of(names: Iterable[str]) -> str:
    """The stage of a test with these markers."""
    return next((stage for stage in STAGES[1:] if stage in names), STAGES[0])


class StageScheduling(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Gives each process the next unit in the order of collection: a file, or a function where files are long."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, name = nodeid.partition("::")
        return f"{path}::{name.partition('[')[0]}" if path.startswith(_SEPARATE) else path


@dataclass(slots=True)
class StageSeconds:
    """What a stage took: on the clock from its first test to its last, and added up over its tests."""

    began: float = float("inf")
    ended: float = 0.0
    added: float = 0.0

    def add(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        self.began = min(self.began, report.start)
        self.ended = max(self.ended, report.stop)
        self.added += report.duration

    def __str__(self) -> str:
        return f"{max(0.0, self.ended - self.began):.0f} s ({self.added:.0f} s in its tests)"
