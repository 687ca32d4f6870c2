"""
Taking a login over from ``auth.json``: once for each refresh token, so that a logout stays a logout. Knows the vault
and a store, not when it is called.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gptmock.accounts import Account, TokenVault
from gptmock.stores.auth_file import FILE_NAME, read_login
from gptmock.stores.store import Store

log = logging.getLogger("gptmock.account")

TAKEN_PREFIX = "taken:"
TAKEN = b"taken"
"""What the record says in the end; until then it is a claim that expires."""
CLAIM_SECONDS = 10.0
"""How long a worker that died while it took a login over keeps the others from it."""


async def take_over(vault: TokenVault, store: Store, home: Path) -> Account | None:
    """
    Enroll the login of ``auth.json`` when no account of the vault can serve and this login was never taken before.

    Returns the account if it was taken now.

    Raises:
        NotLoggedIn: the file is there and holds no login.
        StoreUnavailable: file or store cannot be read or written; nothing is lost by trying again.
    """
    if any(login.refused is None for login in await vault.logins()):
        return None
    tokens = read_login(home / FILE_NAME)
    if tokens is None or tokens.refresh_token is None:
        return None
    taken = f"{TAKEN_PREFIX}{tokens.refresh_token.fingerprint()}"
    # One of all workers: another that were late would put spent tokens over those that the first has renewed.
    if await store.write(taken, b"claimed", expected=0, ttl_seconds=CLAIM_SECONDS) is not None:
        return None
    # Dated by the file: where the store was emptied, a worker may know of later rotations, and is right.
    await vault.enroll(tokens, made_at=tokens.last_refresh if tokens.last_refresh is not None else 0.0)
    await store.write(taken, TAKEN, expected=1)
    log.info("account.taken_over", extra={"account": tokens.account.id})
    return tokens.account
