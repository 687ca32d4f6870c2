"""Whom the gateway's rooms ask, as each of them needs it. Must not know who answers."""

from __future__ import annotations

from typing import Protocol

from gptmock.accounts import Credential
from gptmock.catalog import ModelCatalog


class Keeper(Protocol):
    """Who leases credentials (``gateway.credentials.CredentialKeeper``)."""

    async def lease(self, account_id: str) -> Credential:
        """A living credential."""

    async def renew(self, refused: Credential) -> Credential:
        """Another one in the place of a refused one."""


class Selector(Protocol):
    """Who knows which account serves (``gateway.account_selection.AccountSelector``)."""

    async def candidates(self, conversation: str, *, account_id: str | None = None) -> list[str]:
        """Account ids, the first to be tried first; none but ``account_id``, if it is given."""


class Catalogs(Protocol):
    """What is known of the accounts' models (``gateway.catalogue.CatalogWatch``)."""

    @property
    def current(self) -> ModelCatalog:
        """The models of all accounts that may serve."""

    def offers(self, account_id: str, slug: str) -> bool:
        """Whether an account has a model, as far as is known."""

    def heard(self, account_id: str, etag: str | None) -> None:
        """An answer named the entity tag of the account's catalogue."""
