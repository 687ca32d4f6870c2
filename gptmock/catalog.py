"""
The model catalogue: models, their capabilities, resolution of model names with suffixes, and the contract of the cache
of fetched catalogues. Knows no network.

``MODELS`` is the fallback until a catalogue was fetched for an account, and lists the names that the upstream has
retired. Source: the catalogue that Codex CLI 0.171.0 bundles (November 2026), and upstream protocol 8.2, 8.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol, TypeAlias

Effort: TypeAlias = str
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
"""From least to most. ``ultra`` is Codex's own tier: on the wire it is ``max``."""

PRIORITY_TIER = "priority"
"""The ``service_tier`` that users and Codex call fast."""

IMAGE_MODEL = "gpt-image-2"
"""What makes images; not in the catalogue, which lists models for texts."""

_LOW_TO_XHIGH = ("low", "medium", "high", "xhigh")
_LOW_TO_MAX = (*_LOW_TO_XHIGH, "max")
_LOW_TO_ULTRA = (*_LOW_TO_MAX, "ultra")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model as the catalogue describes it."""

    slug: str
    efforts: tuple[Effort, ...]
    default_effort: Effort = "medium"
    context_window: int = 272_000
    """Tokens; the catalogue's ``context_window``, not ``max_context_window``."""
    priority: int = 1000
    """The catalogue's sort key: the lowest is the one to show first."""
    listed: bool = True
    supports_verbosity: bool = True
    tiers: tuple[str, ...] = (PRIORITY_TIER,)
    """The ``service_tier`` values that it takes besides the default."""
    input_modalities: tuple[str, ...] = ("text", "image")
    retired: str | None = None
    """When the upstream stopped serving it to ChatGPT accounts; ``None`` if it still does."""
    successor: str | None = None
    display_name: str | None = None
    minimal_version: tuple[int, ...] = ()
    """Of Codex; an older client is refused this model."""
    entry: bytes | None = field(default=None, repr=False)
    """The JSON of the upstream's own entry, for clients that read it; ``None`` for a row of ours."""


def _retired(slug: str, efforts: tuple[Effort, ...], *, when: str, successor: str = "gpt-5.5") -> ModelSpec:
    return ModelSpec(slug=slug, efforts=efforts, retired=when, successor=successor, tiers=())


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(slug="gpt-6.2-sol", efforts=_LOW_TO_ULTRA, default_effort="low", priority=1, context_window=500_000),
    ModelSpec(slug="gpt-6.2-astra", efforts=_LOW_TO_ULTRA, default_effort="low", priority=2),
    ModelSpec(slug="gpt-6.1-terra", efforts=_LOW_TO_ULTRA, default_effort="low", priority=3, context_window=500_000),
    ModelSpec(slug="gpt-6.1-sol", efforts=_LOW_TO_ULTRA, default_effort="low", priority=4, context_window=500_000),
    ModelSpec(slug="gpt-6-astra", efforts=_LOW_TO_ULTRA, default_effort="low", priority=5),
    ModelSpec(slug="gpt-6-sol", efforts=_LOW_TO_ULTRA, priority=6),
    ModelSpec(slug="gpt-6-luna", efforts=_LOW_TO_MAX, priority=7),
    ModelSpec(slug="gpt-5.6-sol", efforts=_LOW_TO_ULTRA, default_effort="low", priority=8),
    ModelSpec(slug="gpt-5.6-terra", efforts=_LOW_TO_ULTRA, priority=9),
    ModelSpec(slug="gpt-5.6-luna", efforts=_LOW_TO_MAX, priority=10),
    ModelSpec(
        slug="gpt-daybreak-blue-latest",
        efforts=_LOW_TO_ULTRA,
        default_effort="low",
        priority=11,
        listed=False,
        tiers=(),
    ),
    ModelSpec(
        slug="gpt-daybreak-red-latest",
        efforts=_LOW_TO_ULTRA,
        priority=12,
        context_window=372_000,
        listed=False,
        tiers=(),
    ),
    ModelSpec(slug="gpt-5.5", efforts=_LOW_TO_XHIGH, priority=13),
    ModelSpec(slug="codex-auto-review", efforts=_LOW_TO_MAX, priority=43, listed=False),
    # Names of ChatMock's and GPTMock's tables: they resolve, so that the upstream's refusal can be explained.
    _retired("gpt-5.4", _LOW_TO_XHIGH, when="2026-08-31", successor="gpt-5.6-terra"),
    _retired("gpt-5.4-mini", _LOW_TO_XHIGH, when="2026-08-31", successor="gpt-5.6-luna"),
    _retired("gpt-5.3-codex", _LOW_TO_XHIGH, when="2026-06-04"),
    _retired("gpt-5.3-codex-spark", _LOW_TO_XHIGH, when="2026-11"),
    _retired("gpt-5.2", _LOW_TO_XHIGH, when="2026-06-04"),
    _retired("gpt-5.2-codex", _LOW_TO_XHIGH, when="2026-04-14"),
    _retired("gpt-5.1", ("low", "medium", "high"), when="2026-04-14"),
    _retired("gpt-5.1-codex", ("low", "medium", "high"), when="2026-04-14"),
    _retired("gpt-5.1-codex-max", _LOW_TO_XHIGH, when="2026-04-14"),
    _retired("gpt-5.1-codex-mini", ("low", "medium", "high"), when="2026-04-14"),
    _retired("gpt-5-codex", ("low", "medium", "high"), when="2026-04-14"),
    _retired("gpt-5", ("minimal", "low", "medium", "high"), when="2026-04-14"),
    _retired("codex-mini-latest", ("low", "medium", "high"), when="2026-04-14"),
)

ALIASES: Mapping[str, str] = {
    "codex": "codex-mini-latest",
    "codex-mini": "codex-mini-latest",
    "gpt-5.6": "gpt-5.6-sol",
}
"""
Alias to slug, for names that the catalogue lacks: names of ChatMock and GPTMock that no rule covers (``gpt5`` and
``gpt-5-latest`` are covered by rules), and aliases that OpenAI documents.
"""
VENDORS = ("openai/", "chatgpt/", "gptmock/")
"""Vendor prefixes that routers and their clients add; removed if the rest is the name of a model."""
CLAUDE = "claude-"
"""Likewise: Claude Code lists only models whose name begins so."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a client's model name means."""

    slug: str
    """What goes upstream."""
    effort: Effort | None
    fast: bool
    spec: ModelSpec | None
    """``None`` when the catalogue does not know the slug; it goes upstream all the same."""


_SUFFIX = re.compile(
    r"^(?P<base>.*?\S)(?:(?P<join>[-_:])(?P<suffix>none|minimal|low|medium|high|xhigh|max|ultra|fast|latest)"
    r"| ?\((?P<effort>none|minimal|low|medium|high|xhigh|max|ultra)\))$",
    re.ASCII | re.IGNORECASE,
)
_DIGIT_AFTER_GPT = re.compile(r"^gpt(?=\d)")
_UNAMBIGUOUS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh"})
_MAX_SUFFIXES = 8
"""A name with more suffixes is sent upstream unchanged."""


class ModelCatalog:
    """
    The models that an account can use, by name.

    Args:
        models: the models of the catalogue; at least one.
        remembered: further models whose names are resolved, unless ``models`` has the same slug.
        withheld: models of the whole catalogue that the caller may not use; their names are resolved, too.
        etag: the upstream's entity tag of ``models``; ``None`` for the fallback, or for several accounts' models.
    """

    def __init__(
        self,
        models: Iterable[ModelSpec] = MODELS,
        *,
        remembered: Iterable[ModelSpec] = (),
        withheld: Iterable[ModelSpec] = (),
        etag: str | None = None,
    ) -> None:
        self.models = tuple(sorted(models, key=lambda model: (model.retired is not None, model.priority)))
        """All of them, the hidden ones too; living models first."""
        self.listed = tuple(model for model in self.models if model.listed)
        """What ``/v1/models`` shows."""
        self.etag = etag
        self._remembered = tuple(remembered)
        self._withheld = tuple(withheld)
        self._shown = frozenset(model.slug for model in self.models)
        self._by_name = {model.slug.lower(): model for model in (*self._remembered, *self._withheld, *self.models)}

    def limited(self, allows: Callable[[str], bool]) -> ModelCatalog:
        """
        The models that a caller may use. Names mean the same as in the whole catalogue: the name of a model that is
        withheld is not split into another model and a suffix.

        Args:
            allows: whether the caller may use the model of a slug.
        """
        # Without the entity tag, which stands for the whole list.
        return ModelCatalog(
            (model for model in self.models if allows(model.slug)),
            remembered=self._remembered,
            withheld=(*self._withheld, *(model for model in self.models if not allows(model.slug))),
        )

    @property
    def living(self) -> tuple[ModelSpec, ...]:
        """The listed models that the upstream is known to serve, the preferred one first."""
        return tuple(model for model in self.listed if model.retired is None)

    @property
    def default(self) -> ModelSpec:
        """The model for requests that name none."""
        return self.living[0] if self.living else self.models[0]

    def __contains__(self, spec: object) -> bool:
        """Whether the catalogue lists this model; remembered and withheld ones are not in it."""
        return isinstance(spec, ModelSpec) and spec.slug in self._shown

    def withholds(self, spec: ModelSpec) -> bool:
        """Whether this model exists, but the caller may not use it."""
        return spec in self._withheld

    def get(self, slug: str) -> ModelSpec | None:
        """The row of this slug, remembered and withheld ones too."""
        return self._by_name.get(slug.lower())

    def successor(self, spec: ModelSpec) -> ModelSpec | None:
        """The model to use instead of this one: the first in the chain of successors that the catalogue has."""
        seen = {spec.slug}
        following: ModelSpec | None = spec
        while following is not None and following.successor is not None:
            following = self.get(following.successor)
            if following is None or following.slug in seen:
                return None
            if following in self and following.retired is None:
                return following
            seen.add(following.slug)
        return None

    def resolve(self, name: str) -> ResolvedModel:
        """
        Resolve a client's model name: an effort suffix (``-high``, ``_high``, ``:high``, ``(high)``), ``-fast``,
        ``:latest``, an alias, a vendor prefix.

        A name that the catalogue has is not split (such as ``gpt-5.1-codex-max``). If the rest is not in the catalogue,
        only suffixes that no model name ends with are split off, so that no model is replaced silently.
        """
        slug = name.strip()
        if slug.lower().startswith(VENDORS) and (bare := self._resolved(slug.partition("/")[2])).spec is not None:
            return bare
        if slug.lower().startswith(CLAUDE) and (bare := self._resolved(slug[len(CLAUDE) :])).spec is not None:
            return bare
        return self._resolved(slug)

    def _resolved(self, slug: str) -> ResolvedModel:
        peeled = slug
        suffixes: list[re.Match[str]] = []
        while (known := self._known(peeled)) is None and len(suffixes) < _MAX_SUFFIXES:
            match = _SUFFIX.match(peeled)
            if match is None:
                break
            peeled = match["base"]
            suffixes.append(match)
        if known is None:
            # Real model names end with "max", "fast" and "latest": they are suffixes only of a known name.
            suffixes = list(takewhile(_splits_anywhere, suffixes))
            peeled = suffixes[-1]["base"] if suffixes else slug
        words = [(match["suffix"] or match["effort"]).lower() for match in suffixes]
        return ResolvedModel(
            known.slug if known else peeled,
            effort=next((word for word in words if word in EFFORTS), None),
            fast="fast" in words,
            spec=known,
        )

    def _known(self, name: str) -> ModelSpec | None:
        slug = _DIGIT_AFTER_GPT.sub("gpt-", name.lower())
        return self._by_name.get(slug) or self._by_name.get(ALIASES.get(slug, slug))


def _splits_anywhere(match: re.Match[str]) -> bool:
    return match["effort"] is not None or match["join"] == ":" or match["suffix"].lower() in _UNAMBIGUOUS


def clamp_effort(effort: Effort, spec: ModelSpec | None) -> Effort:
    """
    The nearest effort that this model supports; of two equally near ones the lower.

    ``ultra`` becomes ``max``. For an unknown model the effort is unchanged.
    """
    wanted = "max" if effort == "ultra" else effort
    if spec is None:
        return wanted
    offered = tuple(dict.fromkeys("max" if one == "ultra" else one for one in spec.efforts))
    if not offered or wanted in offered:
        return wanted
    rank = EFFORTS.index(wanted)
    return min(offered, key=lambda one: (abs(EFFORTS.index(one) - rank), EFFORTS.index(one)))


def explain_unknown(upstream_says: str, model: ResolvedModel, catalog: ModelCatalog) -> str:
    """The message for an unknown model: the upstream's message, the successor if known, and all models."""
    sentences = [upstream_says.rstrip()]
    spec = model.spec
    if spec is not None:
        successor = catalog.successor(spec)
        instead = f"; use {successor.slug}" if successor is not None else ""
        if spec.retired is not None:
            sentences.append(f"{spec.slug} was retired for ChatGPT accounts ({spec.retired}){instead}.")
        elif catalog.withholds(spec):
            sentences.append(f"Your API key may not use {spec.slug}{instead}.")
        elif spec not in catalog:
            sentences.append(f"This account's catalogue does not have {spec.slug}{instead}.")
        else:
            sentences.append(
                "The catalogue lists it, so this account or this client identity may lack it; "
                f"the operator can set GPTMOCK_ORIGINATOR or GPTMOCK_CODEX_VERSION{instead}."
            )
    sentences.append(f"Models that exist: {', '.join(one.slug for one in catalog.living)}.")
    return " ".join(sentences)


# --- An account's own catalogue ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """One account's catalogue document, as last fetched."""

    document: bytes = field(repr=False)
    """The response body."""
    etag: str | None
    checked_at: float
    """Unix seconds of the last fetch or revalidation."""
    heard: tuple[str, ...] = ()
    """Other entity tags in ``x-models-etag`` headers since, for which a fetch returned the same document."""
    version: str = ""
    """The protocol version that it was fetched with; another version lists other models."""

    def is_named(self, etag: str) -> bool:
        """Whether this entity tag stands for this document (RFC 9110, 8.8.3.2: weak comparison)."""
        return strong_part(etag) in {strong_part(one) for one in (self.etag, *self.heard) if one is not None}


def strong_part(etag: str) -> str:
    """The entity tag without ``W/``."""
    return etag.strip().removeprefix("W/")


class CatalogCache(Protocol):
    """The shared cache of all accounts' catalogues. Losing it does no harm."""

    async def load(
        self, account_id: str, version: str, *, known: CatalogSnapshot | None = None
    ) -> CatalogSnapshot | None:
        """
        The last snapshot of an account; ``None`` when there is none.

        Args:
            account_id: ``Account.id``.
            version: the protocol version that it was fetched with.
            known: the snapshot that the caller has; an unchanged document is not transferred again.

        Raises:
            StoreUnavailable: the store cannot be read.
        """

    async def save(self, account_id: str, snapshot: CatalogSnapshot) -> None:
        """
        Store a snapshot for its version; called by the holder of the claim.

        Raises:
            StoreUnavailable: it is unknown whether it was stored.
        """

    async def claim(self, account_id: str) -> bool:
        """
        Acquire the exclusive, expiring right to fetch this account's catalogue, with any version; false if another
        worker has it.

        Raises:
            StoreUnavailable: the store cannot be read or written.
        """

    async def release(self, account_id: str) -> None:
        """Release the claim; if that fails, it expires."""
