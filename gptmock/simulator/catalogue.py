"""The model catalogue, filtered by client version and plan. Knows no request."""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any

import msgspec

from gptmock.simulator.steps import Json

SNAPSHOTS: Mapping[str, str] = MappingProxyType({"gpt-5.5": "gpt-5.5-2026-04-23"})
"""Slug to the dated model name in replies."""

GATED_MODELS = frozenset({"gpt-5.6-luna", "gpt-6-luna"})
"""Models that require a Codex ``originator`` if the option ``gate_originator`` is on."""

WIRE_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The accepted values of ``reasoning.effort``. ``ultra`` is only in the catalogue: Codex sends it as ``max``."""


@dataclass(frozen=True)
class Model:
    """One entry of the catalogue."""

    entry: Json

    @property
    def slug(self) -> str:
        """The model id."""
        return str(self.entry["slug"])

    @property
    def reply_name(self) -> str:
        """The model name in replies: the slug, or its dated snapshot."""
        return SNAPSHOTS.get(self.slug, self.slug)

    @cached_property
    def efforts(self) -> tuple[str, ...]:
        """The accepted values of ``reasoning.effort``."""
        levels = [level["effort"] for level in self.entry.get("supported_reasoning_levels") or []]
        return tuple(level for level in levels if level in WIRE_EFFORTS)

    @property
    def default_effort(self) -> str:
        """The effort of a call without one."""
        return str(self.entry.get("default_reasoning_level") or "medium")

    @cached_property
    def tiers(self) -> frozenset[str]:
        """The service tiers accepted."""
        return frozenset(tier["id"] for tier in self.entry.get("service_tiers") or [])

    def minimal_version(self, default: str) -> tuple[int, ...]:
        """The lowest client version that may use it."""
        return parse_version(self.entry.get("minimal_client_version") or default) or (0,)

    def open_to(self, plan: str) -> bool:
        """Whether an account of this plan may use it."""
        plans = self.entry.get("available_in_plans")
        return not plans or plan in plans


@dataclass(frozen=True)
class Catalogue:
    """All models; a client's version and plan decide which it can see."""

    models: Mapping[str, Model]

    @cached_property
    def plans(self) -> frozenset[str]:
        """Every plan named in any entry; accounts of other plans see all models."""
        return frozenset(plan for model in self.models.values() for plan in model.entry.get("available_in_plans") or [])

    def find(self, slug: object, plan: str) -> Model | None:
        """The model with this slug if the plan includes it; ``None`` for unknown and retired ones."""
        model = self.models.get(slug) if isinstance(slug, str) else None
        return model if model is not None and self._open(model, plan) else None

    def without(self, slugs: Collection[str]) -> "Catalogue":
        """The catalogue without these models."""
        if not slugs:
            return self
        return Catalogue({slug: model for slug, model in self.models.items() if slug not in slugs})

    def requiring(self, versions: Mapping[str, str]) -> "Catalogue":
        """The same catalogue where some models need another version of the client; ``versions`` by slug."""
        if not versions:
            return self
        raised = {
            slug: Model({**self.models[slug].entry, "minimal_client_version": version})
            for slug, version in versions.items()
            if slug in self.models
        }
        return Catalogue({**self.models, **raised})

    def listing(self, version: tuple[int, ...], plan: str, default_floor: str) -> bytes:
        """The document of ``GET /models`` for a client of this version and plan."""
        entries = [
            model.entry
            for model in self.models.values()
            if model.minimal_version(default_floor) <= version and self._open(model, plan)
        ]
        return msgspec.json.encode({"models": entries})

    def _open(self, model: Model, plan: str) -> bool:
        return plan not in self.plans or model.open_to(plan)


BASE_INSTRUCTIONS = "You are Codex, a coding agent."
"""Stands for the long prompt of each entry; the Codex CLI refuses a whole list in which one entry has none."""


def load_catalogue() -> Catalogue:
    """Load the catalogue file of the package."""
    text = resources.files("gptmock.simulator").joinpath("models.json").read_bytes()
    document: Any = msgspec.json.decode(text)
    entries = [{"base_instructions": BASE_INSTRUCTIONS, **entry} for entry in document["models"]]
    models = {entry["slug"]: Model(entry) for entry in entries}
    return Catalogue(MappingProxyType(models))


def weak_etag(content: bytes) -> str:
    """The weak entity tag of a document."""
    return f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'


def parse_version(text: str | None) -> tuple[int, ...] | None:
    """The numbers of a version such as ``0.144.0`` or ``0.150.0-alpha.1``; None if it is not one."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$", text or "")
    return tuple(int(number) for number in found.groups()) if found else None
