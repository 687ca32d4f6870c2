"""
Names of Claude models: which of the catalogue's models they stand for, and the models in Anthropic's shape (next doors
A.7). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gptmock.catalog import ModelCatalog, ModelSpec, ResolvedModel
from gptmock.dialects.dialect import Terms, any_model
from gptmock.dialects.listings import unknown_model
from gptmock.errors import BadRequest

FAMILIES = ("opus", "sonnet", "haiku", "fable")
PREFIX = "claude-"
MAX_OUTPUT_TOKENS = 128_000
"""What Claude Code asks for; the upstream has no limit of its own."""
_CREATED = "2025-12-01T00:00:00Z"
_SMALL = re.compile(r"(?:^|-)(?:luna|mini|nano|spark)(?:-|$)")
_SUFFIX = re.compile(r"\[[0-9]+[km]\]$", re.IGNORECASE)
"""``[1m]`` asks for a longer context window."""
_MAX_LIMIT = 1000
_DEFAULT_LIMIT = 20


def resolve(name: str, terms: Terms) -> ResolvedModel:
    """What a model name of a Messages request means; every Claude name means something."""
    plain = _SUFFIX.sub("", name)
    resolved = terms.catalog.resolve(plain)
    if resolved.spec is not None or not plain.lower().startswith(PREFIX):
        return resolved
    return terms.catalog.resolve(model_for(plain, terms.catalog, terms.defaults.anthropic_models, terms.allows))


def model_for(
    name: str, catalog: ModelCatalog, chosen: Mapping[str, str], allows: Callable[[str], bool] = any_model
) -> str:
    """
    The name of the model that stands for a Claude model: one that the caller may use, if there is any.

    Args:
        name: such as ``claude-opus-5-5`` or ``claude-3-5-haiku-latest``; the family in it decides.
        catalog: the models that exist.
        chosen: family to name, by the operator.
        allows: whether the caller may use a model.
    """
    family = next((one for one in FAMILIES if one in name.lower()), "")
    usable = [spec for spec in catalog.models if allows(spec.slug)]
    if family in chosen and (not usable or allows(catalog.resolve(chosen[family]).slug)):
        return chosen[family]
    among = ModelCatalog(usable) if 0 < len(usable) < len(catalog.models) else catalog
    return (_smallest(among) if family == "haiku" else among.default).slug


def families(
    catalog: ModelCatalog, chosen: Mapping[str, str], allows: Callable[[str], bool] = any_model
) -> dict[str, str]:
    """Each family of Claude models and the model that stands for it."""
    return {family: model_for(PREFIX + family, catalog, chosen, allows) for family in FAMILIES}


def _smallest(catalog: ModelCatalog) -> ModelSpec:
    """The preferred one of those that are named small; else the last of the list."""
    living = catalog.living or catalog.models
    return next((spec for spec in living if _SMALL.search(spec.slug)), living[-1])


# --- Documents ------------------------------------------------------------------------


def models_page(catalog: ModelCatalog, query: Mapping[str, str]) -> bytes:
    """
    ``GET /v1/models``: our models, each also as ``claude-<name>``, since Claude Code lists only names that begin so.

    Args:
        catalog: the models that are listed.
        query: ``limit``, ``after_id`` and ``before_id``.

    Raises:
        BadRequest: ``limit`` is no number from 1 to 1000, or there is no model of an id.
    """
    names = [name for prefix in ("", PREFIX) for name in (prefix + spec.slug for spec in catalog.listed)]
    start, end = _bounds(names, query)
    limit = _limit(query.get("limit"))
    if query.get("before_id") and not query.get("after_id"):
        start = max(start, end - limit)
    page = names[start:end][:limit]
    more = start > 0 if query.get("before_id") else start + len(page) < len(names)
    return msgspec.json.encode(
        {
            "data": [_model(catalog, name) for name in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }
    )


def model_document(terms: Terms, name: str) -> bytes:
    """
    ``GET /v1/models/{id}``: the model that a call with this name would ask.

    Raises:
        UnknownModel: the catalogue has no such model that the caller may use.
    """
    spec = resolve(name, terms).spec
    usable = terms.catalog.limited(terms.allows)
    if spec is None or spec not in usable:
        raise unknown_model(name, usable.resolve(name), usable)
    return msgspec.json.encode(_document(spec, name))


def _model(catalog: ModelCatalog, name: str) -> dict[str, Any]:
    spec = catalog.get(name) or catalog.get(name.removeprefix(PREFIX))
    assert spec is not None  # noqa: S101 - the name comes from the catalogue
    return _document(spec, name)


def _document(spec: ModelSpec, name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": spec.display_name or spec.slug,
        "created_at": _CREATED,
        "lifecycle": "active" if spec.retired is None else "deprecated",
        "max_input_tokens": spec.context_window,
        "max_tokens": MAX_OUTPUT_TOKENS,
    }


def _bounds(names: list[str], query: Mapping[str, str]) -> tuple[int, int]:
    after, before = query.get("after_id"), query.get("before_id")
    for param, given in (("after_id", after), ("before_id", before)):
        if given and given not in names:
            raise BadRequest("There is no model of this id.", param=param)
    return (names.index(after) + 1 if after else 0), (names.index(before) if before else len(names))


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MAX_LIMIT:
        raise BadRequest(f"The limit is a number from 1 to {_MAX_LIMIT}.", param="limit")
    return int(text)
