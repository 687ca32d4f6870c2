"""Logins and vaults for tests of what rests in a store."""

from __future__ import annotations

from gptmock.accounts import ROTATION_STEP, Account, Secret, TokenSet
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Store
from gptmock.stores.vault import SealedVault

NOW = 1_790_000_000.0
ADA = Account("w-1", "u-1", "ada@example.test", "pro")
BOB = Account("w-2", "u-2", "bob@example.test", "plus")
OLD = SealingKey.from_bytes(bytes(range(32)))
NEW = SealingKey.from_bytes(bytes(range(100, 132)))


def tokens(name: str, account: Account = ADA, *, version: int = 0) -> TokenSet:
    return TokenSet(
        account=account,
        access_token=Secret(f"planted-access-{name}"),
        refresh_token=Secret(f"planted-refresh-{name}"),
        id_token=Secret(f"planted-id-{name}"),
        version=version,
        expires_at=NOW + 3600,
        last_refresh=NOW,
    )


def rotated(held: TokenSet, name: str, *, steps: int = 1) -> TokenSet:
    """What the issuer gave for it."""
    return tokens(name, held.account, version=held.version + steps * ROTATION_STEP)


def name_of(held: TokenSet) -> str:
    return held.access_token.reveal().removeprefix("planted-access-")


class Time:
    """Unix seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def vault_on(store: Store, *keys: SealingKey, clock: Time | None = None) -> SealedVault:
    """What one process knows; ``keys`` is its ring."""
    return SealedVault(store, Sealer(keys or (OLD,)), clock=clock or Time())
