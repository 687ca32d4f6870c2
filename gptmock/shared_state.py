"""
The shared state as the settings name it: opens the store, with circuit breaker and encryption, for a server and for
commands. The other composition root beside ``wiring``; knows stores, and no server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gptmock.accounts import SIGN_IN_HINT
from gptmock.clients import KeyTerms
from gptmock.errors import GptmockError, NameTaken, SealBroken, StoreError, StoreUnavailable, UnusableKey
from gptmock.gateway.refresh import LEASE_SECONDS
from gptmock.settings import Settings
from gptmock.stores.auth_import import take_over
from gptmock.stores.breaker import GuardedStore
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.codex_version import SharedVersion
from gptmock.stores.conversations import SealedConversations
from gptmock.stores.escrow import FileEscrow
from gptmock.stores.invitations import StoreInvitations
from gptmock.stores.lease import StoreLease
from gptmock.stores.locations import KEY_FILE, STATE_FILE, Place
from gptmock.stores.migrate import Migration, Progress, carry
from gptmock.stores.peppers import Pepper, parse_peppers
from gptmock.stores.seal import Sealer, SealingKey, key_file, parse_keys
from gptmock.stores.snapshot import SealedSnapshot
from gptmock.stores.vault import SealedVault

FIRST_KEY = "first"
"""The name of the client key that ``create_first_key`` makes."""
NOBODY = f"No ChatGPT account is signed in. {SIGN_IN_HINT}"
"""The warning of ``prepare`` for that."""


@dataclass(frozen=True, slots=True)
class State:
    """The store, and what reads and writes records in it."""

    store: GuardedStore
    vault: SealedVault
    keys: StoreClientKeys
    invitations: StoreInvitations
    conversations: SealedConversations
    escrow: FileEscrow
    codex_version: SharedVersion
    snapshot: SealedSnapshot
    sealer: Sealer
    home: Path

    def lease_of(self, account_id: str) -> StoreLease:
        """A refresh lease with a new random owner id."""
        return StoreLease(self.store, account_id, owner=secrets.token_hex(16), ttl_seconds=LEASE_SECONDS)


@asynccontextmanager
async def open_state(
    settings: Settings,
    folder: Path | None = None,
    *,
    timeout_seconds: float | None = None,
    called: Callable[[str, float, StoreUnavailable | None], None] = lambda _name, _seconds, _error: None,
) -> AsyncIterator[State]:
    """
    Open the configured store, with circuit breaker and encryption; makes no request to it yet.

    Args:
        settings: name the store and its keys.
        folder: private to this server, for a copy of what a store elsewhere holds; ``None`` keeps none.
        timeout_seconds: how long a call to the store may take; ``None`` for as long as a server waits.
        called: see ``GuardedStore``.
    """
    sealer = Sealer(_keys(settings))
    store = GuardedStore(_place(settings).open(timeout_seconds=timeout_seconds), called=called)
    escrow = FileEscrow(settings.home, sealer)
    # The embedded store is a file itself: it is never away.
    copied = folder if settings.redis_url is not None else None
    try:
        yield State(
            store=store,
            vault=SealedVault(store, sealer),
            keys=StoreClientKeys(store, sealer, clock=time.time, peppers=_peppers(settings)),
            invitations=StoreInvitations(store, sealer, clock=time.time),
            conversations=SealedConversations(store, sealer, ttl_seconds=settings.responses_ttl),
            escrow=escrow,
            codex_version=SharedVersion(store),
            snapshot=SealedSnapshot(copied, store, sealer, escrow, clock=time.time),
            sealer=sealer,
            home=settings.home,
        )
    finally:
        await store.close()


async def prepare(settings: Settings) -> list[str]:
    """
    Runs once before the workers start: checks the encryption key, gives the hashes of client keys their pepper, and
    imports a login from ``auth.json``.

    Returns warnings for the operator; an unreachable store is a warning, since the server can start without it.

    Raises:
        UnusableKey: the key is missing, weak, or does not decrypt the store.
    """
    async with open_state(settings) as state:
        try:
            await state.vault.check_key()
            await state.keys.add_peppers()
            notes = [] if (lacking := await missing_pepper(state)) is None else [lacking]
            await take_over(state.vault, state.store, state.home)
            logins, broken = await state.vault.logins(), await state.vault.broken()
        except SealBroken as error:
            raise UnusableKey(f"{error.message} Nothing was changed.") from error
        except GptmockError as error:
            return [error.message]
    if not logins and not broken:
        return [*notes, NOBODY]
    refused = [f"{login.label}: {login.refused}" for login in logins if login.refused is not None]
    return notes + refused + [one.message for one in broken]


async def missing_pepper(state: State) -> str | None:
    """
    What to do if the pepper of a valid client key is neither given nor in the store; ``None`` if all can be used.

    Raises:
        StoreError: the keys cannot be read.
    """
    unusable = await state.keys.unchecked()
    if not unusable:
        return None
    return (
        f"GPTMOCK_KEY_PEPPER: {len(unusable)} client keys were stored with another pepper, such as that of "
        f"{unusable[0].name!r}: add that pepper behind the current one, or revoke them."
    )


async def lacks_pepper(settings: Settings) -> str | None:
    """As ``missing_pepper``; ``None`` too if the store cannot be read: then each request is told."""
    async with open_state(settings) as state:
        try:
            return await missing_pepper(state)
        except StoreError:
            return None


async def has_account(settings: Settings) -> bool:
    """Whether there is an account whose record can be decrypted; true if the store cannot be read."""
    async with open_state(settings) as state:
        try:
            return bool(await state.vault.logins())
        except StoreError:
            return True


async def has_client_key(settings: Settings) -> bool:
    """
    Whether clients can have a key: the static one, or a valid one in the store. True if the store cannot be read: then
    the server, which requires keys, accepts those that it finds later.
    """
    if settings.api_key is not None or settings.admin_key is not None:
        return True
    async with open_state(settings) as state:
        try:
            now = time.time()
            return any(key.is_living(now) for key in await state.keys.all())
        except StoreError:
            return True


async def create_first_key(settings: Settings) -> str | None:
    """
    Create a client key if the store never had one; ``None`` if it did, revoked ones included: an operator who revoked
    all of them wants nobody to be served.

    Returns the text of the key, which is not stored and can be shown only now.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    async with open_state(settings) as state:
        if await state.keys.all():
            return None
        try:
            return (await state.keys.create(FIRST_KEY, KeyTerms())).text.reveal()
        except NameTaken:
            # Another server of this store was faster.
            return None


Migrated: TypeAlias = Migration
"""The result of ``migrate``; an alias, since ``cli`` does not import ``stores``."""


async def migrate(settings: Settings, source: str, target: str, *, dry_run: bool, progress: Progress) -> Migration:
    """
    Copy accounts, keys and usage from one store to another; see ``stores.migrate`` and ``Place.named``.

    Raises:
        WrongPlace: a location is invalid, the source is empty, or both are the same.
        UnusableKey: the key is missing, weak, or does not decrypt the store; nothing was changed.
        StoreError: a store fails, or another migration is running; a further run copies the rest.
    """
    url = settings.redis_url.get_secret_value() if settings.redis_url is not None else None
    old, new = (Place.named(word, home=settings.home, redis_url=url) for word in (source, target))
    return await carry(old, new, _given_keys(settings), dry_run=dry_run, progress=progress)


def storage(settings: Settings) -> str:
    """The store's location, for display, without secrets."""
    return _place(settings).shown


def encryption(settings: Settings) -> str:
    """
    The cipher and the source of the encryption keys, for display, without secrets.

    Raises:
        UnusableKey: the key is missing or weak.
    """
    count = len(_keys(settings))
    if settings.encryption_keys is not None:
        source = "GPTMOCK_ENCRYPTION_KEYS"
    else:
        source = str(settings.encryption_keys_file or settings.home / KEY_FILE)
    return f"AES-256-GCM, {count} key{'s' if count > 1 else ''} from {source}"


def key_hashes(settings: Settings) -> str:
    """How client keys are stored, and the source of the pepper, for display, without secrets."""
    source = "the store, where it is encrypted" if settings.key_pepper is None else "GPTMOCK_KEY_PEPPER"
    return f"HMAC-SHA-256, pepper from {source}"


def _peppers(settings: Settings) -> tuple[Pepper, ...]:
    return () if settings.key_pepper is None else parse_peppers(settings.key_pepper.get_secret_value())


def _place(settings: Settings) -> Place:
    if settings.redis_url is not None:
        return Place(redis_url=settings.redis_url.get_secret_value())
    return Place(file=settings.home / STATE_FILE)


def _keys(settings: Settings) -> tuple[SealingKey, ...]:
    given = _given_keys(settings)
    return given if given is not None else key_file(settings.home / KEY_FILE)


def _given_keys(settings: Settings) -> tuple[SealingKey, ...] | None:
    if settings.encryption_keys is not None:
        return parse_keys(settings.encryption_keys.get_secret_value())
    if settings.encryption_keys_file is not None:
        try:
            return parse_keys(settings.encryption_keys_file.read_text())
        except OSError as error:
            raise UnusableKey(f"GPTMOCK_ENCRYPTION_KEYS_FILE cannot be read: {error.strerror}") from error
    return None
