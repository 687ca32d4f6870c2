"""Speaks to Helm's engine (scripts/chart.py) and reads what it has rendered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.deploy.environments import HERE, tool_python

CHART = HERE.parent.parent / "helm" / "gptmock"
KUBERNETES = ("1.30", "1.34", "1.37")
"""Versions whose schemas every object must pass."""
WORKLOADS = ("Deployment", "StatefulSet", "Job", "Pod")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What Helm made of the chart and one value set."""

    objects: list[Manifest]
    """Hooks are among them."""
    notes: str

    def of(self, kind: str) -> list[Manifest]:
        """All objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, ending: str = "") -> Manifest:
        """The only object of a kind whose name ends so."""
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"].endswith(ending)]
        return found

    def pods(self) -> Iterator[tuple[Manifest, Manifest]]:
        """Labels and spec of every pod that an object makes."""
        for one in self.objects:
            if one["kind"] in WORKLOADS:
                pod = one if one["kind"] == "Pod" else one["spec"]["template"]
                yield pod["metadata"].get("labels", {}), pod["spec"]


class Helm:
    """The engine, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One answer; see scripts/chart.py."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def render(self, sets: dict[str, Manifest]) -> dict[str, Rendering]:
        """Every value set; fails with Helm's words if one of them does not render."""
        answers = self.ask("render", chart=str(CHART), values=sets)
        wrong = {name: one["error"] for name, one in answers.items() if "error" in one}
        assert wrong == {}
        return {name: _rendering(one) for name, one in answers.items()}

    def refusals(self, sets: dict[str, Manifest]) -> dict[str, str]:
        """What Helm says against each value set; empty where it says nothing."""
        answers = self.ask("render", chart=str(CHART), values=sets)
        return {name: one.get("error", "") for name, one in answers.items()}


def _rendering(answer: Manifest) -> Rendering:
    texts = [answer["manifest"], *answer["hooks"]]
    return Rendering([one for text in texts for one in yaml.safe_load_all(text) if one], answer["notes"])


@contextmanager
def helm_engine() -> Iterator[Helm]:
    """The engine, until the block ends."""
    command = [str(tool_python("helm")), str(HERE / "scripts" / "chart.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield Helm(process)
        finally:
            process.stdin.close()
            process.wait(30)
