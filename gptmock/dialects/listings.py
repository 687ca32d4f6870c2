"""Renders the model catalogue for ``/v1/models``. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import IMAGE_MODEL, ModelCatalog, ModelSpec, ResolvedModel, explain_unknown
from gptmock.errors import UnknownModel
from gptmock.protocol.models import parse_version

CREATED = 1_764_547_200
"""2025-12-01T00:00:00Z for all models: the member is required, but the catalogue has no dates."""
MAX_SHOWN_CHARACTERS = 100


class _Model(msgspec.Struct, frozen=True):
    id: str
    created: int
    context_length: int | UnsetType = UNSET
    max_model_len: int | UnsetType = UNSET
    object: str = "model"
    owned_by: str = "openai"
    display_name: str | UnsetType = UNSET
    retired: str | UnsetType = UNSET
    successor: str | UnsetType = UNSET


_IMAGES = _Model(id=IMAGE_MODEL, created=CREATED)


class _List(msgspec.Struct, frozen=True):
    data: list[_Model]
    object: str = "list"
    models: list[msgspec.Raw] | UnsetType = UNSET


def models_document(
    catalog: ModelCatalog, *, expose_efforts: bool, images: bool = False, client_version: str | None = None
) -> bytes:
    """
    ``GET /v1/models`` (client contracts 4.1): four required members for each model, and the useful extra ones.

    Args:
        catalog: models that are not retired come first. Retired ones are only in the built-in fallback catalogue.
        expose_efforts: also list ``<slug>-<effort>`` for each model that is not retired.
        images: also list what makes images.
        client_version: version of a Codex client, which reads ``models``: the upstream's entries. The list is empty
            until a catalogue was fetched; Codex then uses its built-in one.
    """
    listed = [
        _model(spec, name)
        for spec in catalog.listed
        for name in listed_names(catalog, spec, expose_efforts=expose_efforts)
    ]
    listed += [_IMAGES] if images else []
    entries = UNSET if client_version is None else _entries(catalog, client_version)
    return msgspec.json.encode(_List(listed, models=entries))


def listed_names(catalog: ModelCatalog, spec: ModelSpec, *, expose_efforts: bool) -> list[str]:
    """The slug, and with ``expose_efforts`` also ``<slug>-<effort>`` for each effort, unless another model has it."""
    efforts = spec.efforts if expose_efforts and spec.retired is None else ()
    names = (f"{spec.slug}-{effort}" for effort in efforts)
    return [spec.slug, *(name for name in names if catalog.resolve(name).slug == spec.slug)]


def model_document(catalog: ModelCatalog, name: str, *, images: bool = False) -> bytes:
    """
    ``GET /v1/models/{id}``: the model that the name resolves to, with the suffixes of the name in canonical form.

    Args:
        catalog: as ``models_document``.
        name: as it was asked for.
        images: whether what makes images is listed.

    Raises:
        UnknownModel: the model is not in the catalogue.
    """
    if images and name == IMAGE_MODEL:
        return msgspec.json.encode(_IMAGES)
    resolved = find_model(catalog, name)
    suffixes = (resolved.effort, "fast" if resolved.fast else None)
    assert resolved.spec is not None  # noqa: S101 - find_model has seen to it
    return msgspec.json.encode(_model(resolved.spec, "-".join([resolved.slug, *filter(None, suffixes)])))


def find_model(catalog: ModelCatalog, name: str) -> ResolvedModel:
    """
    Resolve a name for routes that do not ask the upstream.

    Raises:
        UnknownModel: the model is not in the catalogue; the message names the successor, if known, and all models.
    """
    resolved = catalog.resolve(name)
    if resolved.spec is None or resolved.spec not in catalog:
        raise unknown_model(name, resolved, catalog)
    return resolved


def unknown_model(name: str, resolved: ResolvedModel, catalog: ModelCatalog) -> UnknownModel:
    """The 404 for a name of no model; ``catalog`` has those to name instead."""
    says = f"The model '{shown_name(name)}' does not exist."
    return UnknownModel(explain_unknown(says, resolved, catalog), param="model", model=name)


def shown_name(name: str) -> str:
    """A client's model name for messages: shortened, without control characters."""
    return "".join(letter for letter in name[:MAX_SHOWN_CHARACTERS] if letter.isprintable())


def _model(spec: ModelSpec, slug: str) -> _Model:
    return _Model(
        id=slug,
        created=CREATED,
        context_length=spec.context_window,
        max_model_len=spec.context_window,
        display_name=spec.display_name or UNSET,
        retired=spec.retired or UNSET,
        successor=spec.successor or UNSET,
    )


def _entries(catalog: ModelCatalog, client_version: str) -> list[msgspec.Raw]:
    # Like the upstream, omit models that refuse this client version.
    version = parse_version(client_version)
    return [
        msgspec.Raw(spec.entry)
        for spec in catalog.models
        if spec.entry is not None and (not version or spec.minimal_version <= version)
    ]
