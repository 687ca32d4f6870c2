"""Protocols between the modules of the gateway. Must not import their implementations."""

from __future__ import annotations

from typing import Protocol

from gptmock.accounts import Credential
from gptmock.catalog import ModelCatalog


class Keeper(Protocol):
    """Provides access tokens (``gateway.credentials.CredentialKeeper``)."""

    async def lease(self, account_id: str) -> Credential:
        """An unexpired credential."""

    async def renew(self, refused: Credential) -> Credential:
        """Another credential, after the upstream has answered 401 to ``refused``."""


class Selector(Protocol):
    """Selects accounts (``gateway.account_selection.AccountSelector``)."""

    async def candidates(self, conversation: str, *, account_id: str | None = None) -> list[str]:
        """Account ids in the order in which to try them; only ``account_id``, if it is given."""


class Catalogs(Protocol):
    """The models of the accounts (``gateway.catalogue.CatalogWatch``)."""

    @property
    def current(self) -> ModelCatalog:
        """The models of all accounts that may serve."""

    def offers(self, account_id: str, slug: str) -> bool:
        """Whether an account has a model; True while its catalogue is unknown."""

    def heard(self, account_id: str, etag: str | None) -> None:
        """Note the catalogue's ETag that a response of the upstream named for this account."""
