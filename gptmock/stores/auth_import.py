"""
Imports a login from an ``auth.json`` into the vault: once for each refresh token, so that a logged-out login is not
imported again. Knows the vault and a store, not when it is called.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from gptmock.accounts import SIGN_IN_HINT, Account, Secret, TokenSet, TokenVault
from gptmock.audit import Actor, AuditEvent
from gptmock.errors import NotLoggedIn, SealBroken, StoreUnavailable
from gptmock.signin import label_taken
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.auth_file import FILE_NAME, read_login
from gptmock.stores.store import Store

log = logging.getLogger("gptmock.account")

TAKEN_PREFIX = "taken:"
TAKEN = b"taken"
"""The record's value once the login is imported; before that it is a claim that expires."""
CLAIM_SECONDS = 10.0
"""How long a worker's claim to import a login blocks the others if it dies meanwhile."""


async def take_over(vault: TokenVault, store: Store, home: Path) -> Account | None:
    """
    Import the login of ``auth.json`` if no account of the vault can serve and this login was never imported before.

    Returns the account if it was imported now.

    Raises:
        NotLoggedIn: the file is there and holds no login.
        StoreUnavailable: file or store cannot be read or written; it is safe to try again.
    """
    if any(login.refused is None for login in await vault.logins()):
        return None
    tokens = read_login(home / FILE_NAME)
    if tokens is None or tokens.refresh_token is None:
        return None
    if not await _claimed(store, tokens.refresh_token):
        return None
    # Dated by the file: after the store was emptied, a worker may remember later rotations, which must win.
    await vault.enroll(tokens, made_at=tokens.last_refresh if tokens.last_refresh is not None else 0.0)
    await _taken(store, tokens.refresh_token)
    log.info("account.taken_over", extra={"account": tokens.account.id})
    with suppress(StoreUnavailable):
        # The import stands, and the log has it.
        event = AuditEvent(time.time(), Actor("server", FILE_NAME), "account.imported", tokens.account.id)
        await StoreAuditLog(store).record(event)
    return tokens.account


async def adopt(vault: TokenVault, store: Store, path: Path, *, label: str | None = None) -> Account:
    """
    Import the login of a file at a user's request, in addition to the accounts there are.

    Raises:
        NotLoggedIn: there is no such file, it holds no login, or one that was imported before or is older than ours.
        LoginRefused: another account has this ``label``.
        StoreError: file or store cannot be read or written.
    """
    tokens = read_login(path)
    if tokens is None:
        raise NotLoggedIn(f"There is no file {path.name} at that place.")
    if tokens.refresh_token is None:
        raise NotLoggedIn(f"{path.name} has no refresh token: its login would end within days. {SIGN_IN_HINT}")
    if label is not None and await vault.holder(label) not in (None, tokens.account.id):
        raise label_taken(label, tokens.account)
    if await _is_newer(vault, tokens):
        raise NotLoggedIn(f"This account is signed in here already, and more recently than {path.name} says.")
    if not await _claimed(store, tokens.refresh_token):
        raise NotLoggedIn(
            f"The login of {path.name} was imported before, and its refresh token is spent. {SIGN_IN_HINT}"
        )
    await vault.enroll(tokens, label=label)
    await _taken(store, tokens.refresh_token)
    return tokens.account


async def _is_newer(vault: TokenVault, tokens: TokenSet) -> bool:
    try:
        held = await vault.load(tokens.account.id)
    except (NotLoggedIn, SealBroken):
        return False
    # A later rotation has used up the file's refresh token.
    return held.refused is None and (held.last_refresh or 0.0) > (tokens.last_refresh or 0.0)


async def _claimed(store: Store, refresh_token: Secret) -> bool:
    # One worker only: a second one could overwrite tokens that the first has renewed with the file's used-up ones.
    return await store.write(_name(refresh_token), b"claimed", expected=0, ttl_seconds=CLAIM_SECONDS) is None


async def _taken(store: Store, refresh_token: Secret) -> None:
    await store.write(_name(refresh_token), TAKEN, expected=1)


def _name(refresh_token: Secret) -> str:
    return f"{TAKEN_PREFIX}{refresh_token.fingerprint()}"
