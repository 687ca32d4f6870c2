"""The catalogue as clients list it. Pure."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gptmock.catalog import ModelCatalog, ModelSpec, ResolvedModel, explain_unknown
from gptmock.errors import UnknownModel
from gptmock.protocol.models import parse_version

CREATED = 1_764_547_200
"""2025-12-01T00:00:00Z: the member is required and the catalogue does not tell, so all models share one date."""
MAX_SHOWN_CHARACTERS = 100


class _Model(msgspec.Struct, frozen=True):
    id: str
    created: int
    context_length: int
    max_model_len: int
    object: str = "model"
    owned_by: str = "openai"
    display_name: str | UnsetType = UNSET
    retired: str | UnsetType = UNSET
    successor: str | UnsetType = UNSET


class _List(msgspec.Struct, frozen=True):
    data: list[_Model]
    object: str = "list"
    models: list[msgspec.Raw] | UnsetType = UNSET


def models_document(catalog: ModelCatalog, *, expose_efforts: bool, client_version: str | None = None) -> bytes:
    """
    ``GET /v1/models`` (client contracts 4.1): four required members for each model, and the useful extra ones.

    Args:
        catalog: living models come first; while no live catalogue is known, the ancestors' names follow, marked as
            retired.
        expose_efforts: list ``<slug>-<effort>`` beside each living slug.
        client_version: of a Codex client; it reads ``models``, the upstream's own entries. There are none before the
            first live catalogue, and such a client then goes by the ones that it brings with it.
    """
    listed = [
        _model(spec, slug) for spec in catalog.listed for slug in listed_names(spec, expose_efforts=expose_efforts)
    ]
    entries = UNSET if client_version is None else _entries(catalog, client_version)
    return msgspec.json.encode(_List(listed, models=entries))


def listed_names(spec: ModelSpec, *, expose_efforts: bool) -> list[str]:
    """The slug, and each of its efforts as a name if the operator wants these listed."""
    efforts = spec.efforts if expose_efforts and spec.retired is None else ()
    return [spec.slug, *(f"{spec.slug}-{effort}" for effort in efforts)]


def model_document(catalog: ModelCatalog, name: str) -> bytes:
    """
    ``GET /v1/models/{id}``: the model that a client's name means, under the name's plain spelling.

    Raises:
        UnknownModel: the account does not have it, as far as the catalogue tells.
    """
    resolved = find_model(catalog, name)
    suffixes = (resolved.effort, "fast" if resolved.fast else None)
    assert resolved.spec is not None  # noqa: S101 - find_model has seen to it
    return msgspec.json.encode(_model(resolved.spec, "-".join([resolved.slug, *filter(None, suffixes)])))


def find_model(catalog: ModelCatalog, name: str) -> ResolvedModel:
    """
    What a name means, if the account has that model; for lists and descriptions, where no upstream is asked.

    Raises:
        UnknownModel: with the successor if one is known, and the names that exist.
    """
    resolved = catalog.resolve(name)
    if resolved.spec is None or resolved.spec not in catalog:
        says = f"The model '{shown_name(name)}' does not exist."
        raise UnknownModel(explain_unknown(says, resolved, catalog), param="model", model=name)
    return resolved


def shown_name(name: str) -> str:
    """A client's name for a model, fit for a message."""
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
    # As the upstream itself does: an older client would be refused these models.
    version = parse_version(client_version)
    return [
        msgspec.Raw(spec.entry)
        for spec in catalog.models
        if spec.entry is not None and (not version or spec.minimal_version <= version)
    ]
