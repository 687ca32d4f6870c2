"""What the terms of a client key change for its calls: defaults, allowed models, the list of models. Pure."""

from __future__ import annotations

from dataclasses import replace

from gptmock.catalog import ModelCatalog
from gptmock.clients import Client, KeyTerms
from gptmock.dialects.dialect import Defaults, Terms
from gptmock.errors import ModelNotAllowed


def terms_for(client: Client, terms: Terms) -> Terms:
    """
    The terms that a call of this client is decoded with: the key's own defaults come before the server's, and only its
    models are allowed.
    """
    key = client.key
    if key is None or (key.terms.defaults == _NO_DEFAULTS and not key.terms.models):
        return terms
    return replace(terms, defaults=_defaults(key.terms, terms), allows=key.terms.allows)


def check_model(client: Client, slug: str) -> None:
    """
    Check that the client may use a model.

    Raises:
        ModelNotAllowed: its key allows other models only.
    """
    key = client.key
    if key is not None and not may_use(client, slug):
        allowed = ", ".join(key.terms.models)
        raise ModelNotAllowed(
            f"Your API key may not use this model. It allows: {allowed}. The administrator of this server can change "
            "that.",
            param="model",
        )


def may_use(client: Client, slug: str) -> bool:
    """Whether the client's key allows a model."""
    return client.key is None or client.key.terms.allows(slug)


def catalog_for(client: Client, catalog: ModelCatalog) -> ModelCatalog:
    """The models that the client may use."""
    key = client.key
    if key is None or not key.terms.models:
        return catalog
    return catalog.limited(key.terms.allows)


_NO_DEFAULTS = KeyTerms().defaults


def _defaults(key: KeyTerms, terms: Terms) -> Defaults:
    own, server = key.defaults, terms.defaults
    return replace(
        server,
        reasoning_style=own.reasoning_style or server.reasoning_style,
        reasoning_effort=own.reasoning_effort or server.reasoning_effort,
        web_search=server.web_search if own.web_search is None else own.web_search,
        model=_default_model(key, terms),
    )


def _default_model(key: KeyTerms, terms: Terms) -> str | None:
    """The server's default model if the key allows it, else the first of the catalogue that it allows."""
    default = terms.defaults.model
    if key.allows(default or terms.catalog.default.slug):
        return default
    return next((model.slug for model in terms.catalog.living if key.allows(model.slug)), default)
