"""
How the tests of a whole run are spread over its processes (pytest-xdist): the order of the stages, the units that stay
together, and the seconds that each stage took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import pytest
from xdist.scheduler import LoadScopeScheduling

STAGES = ("core", "fuzz", "clients", "faults")
_FIRST = "tests/cli/"
"""The longest of the core: begun last, it would be waited for."""
_EACH = ("tests/faults/", "tests/test_readme.py")
"""Each test is a unit here: they start servers of their own, or are of several stages."""


def stage_of(item: pytest.Item) -> str:
    """The stage of a test, as its markers tell."""
    return next((stage for stage in STAGES[1:] if item.get_closest_marker(stage)), STAGES[0])


def unit_of(nodeid: str) -> str:
    """What one process runs at a stretch: a file, or a test alone."""
    return nodeid if nodeid.startswith(_EACH) else nodeid.partition("::")[0]


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """
    The core first, then the made-up requests, then clients and faults side by side: the clients mostly compute, the
    faults mostly wait.
    """
    stages: dict[str, list[list[pytest.Item]]] = {stage: [] for stage in STAGES}
    units: dict[str, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: not item.nodeid.startswith(_FIRST)):
        unit = unit_of(item.nodeid)
        stage = stage_of(item)
        if (stage + unit) not in units:
            units[stage + unit] = []
            stages[stage].append(units[stage + unit])
        units[stage + unit].append(item)
    sequence = [*stages["core"], *stages["fuzz"], *_mixed(stages["clients"], stages["faults"])]
    return list(chain.from_iterable(sequence))


def _mixed(*parts: list[list[pytest.Item]]) -> list[list[pytest.Item]]:
    """The units of all parts, each part spread evenly and in its own order."""
    placed = [((number + 0.5) / len(part), unit) for part in parts for number, unit in enumerate(part)]
    return [unit for _, unit in sorted(placed, key=lambda place: place[0])]


class StageScheduling(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Gives each process the next unit in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


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
