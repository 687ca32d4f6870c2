"""The catalogue as clients list it. Pure; made once and served as bytes."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import ModelCatalog, ModelSpec

_CREATED = 1_764_547_200
"""2025-12-01T00:00:00Z: the member is required and the catalogue does not tell, so all models share one date."""


class _Model(msgspec.Struct, frozen=True):
    id: str
    created: int
    context_length: int
    object: str = "model"
    owned_by: str = "openai"
    retired: str | UnsetType = UNSET
    successor: str | UnsetType = UNSET


class _List(msgspec.Struct, frozen=True):
    data: list[_Model]
    object: str = "list"


def models_document(catalog: ModelCatalog, *, expose_efforts: bool) -> bytes:
    """
    ``GET /v1/models`` (client contracts 4.1): four required members for each model, and the useful extra ones.

    Args:
        catalog: living models come first; the ancestors' names follow, marked as retired.
        expose_efforts: list ``<slug>-<effort>`` beside each living slug.
    """
    models = [
        _model(spec, slug)
        for spec in catalog.listed
        for slug in (
            spec.slug,
            *(f"{spec.slug}-{effort}" for effort in spec.efforts if expose_efforts and not spec.retired),
        )
    ]
    return msgspec.json.encode(_List(models))


def _model(spec: ModelSpec, slug: str) -> _Model:
    return _Model(
        id=slug,
        created=_CREATED,
        context_length=spec.context_window,
        retired=spec.retired or UNSET,
        successor=spec.successor or UNSET,
    )
