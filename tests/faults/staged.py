"""
``python -m tests.faults.staged serve ...``: the program, stopping where a test wants it to. The product knows nothing
of it: the contracts that a refresh goes through are wrapped here, before any process is forked.

    {folder}/armed-{stage}           made by the test: the next refresh that comes to this stage
    {folder}/reached-{stage}-{pid}   the same file, renamed by the process that is there and waits until it is gone

Variables: ``TEST_STAGES`` the folder; ``TEST_LEASE_SECONDS`` a shorter lease with its deadlines, so that waiting for
its end does not take the test's time; ``TEST_DEADLINES`` those of client connections, as JSON; ``TEST_SLOT_SECONDS``
how long a turn holds its place among those of its client key; ``TEST_PATIENT`` a long timeout of the store, where a
busy machine must not pass for a store that is away.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptmock import shared_state, wiring
from gptmock.accounts import IssuedTokens, Secret, TokenSet
from gptmock.cli import main
from gptmock.gateway import key_limits, refresh
from gptmock.server.client_bounds import ConnectionDeadlines
from gptmock.server.context import ServerOptions
from gptmock.stores import key_limits as stored_limits
from gptmock.stores import redis, sqlite_file
from gptmock.stores.escrow import FileEscrow
from gptmock.stores.lease import StoreLease
from gptmock.stores.vault import SealedVault
from gptmock.upstream.issuer import OAuthIssuer

PASSED_BY = frozenset({"in-flight"})
"""Told, and not stopped at: it is the issuer that waits."""


async def reach(stage: str) -> None:
    """Wait here, if the test wants it."""
    folder = Path(os.environ["TEST_STAGES"])
    reached = folder / f"reached-{stage}-{os.getpid()}"
    try:
        (folder / f"armed-{stage}").rename(reached)
    except FileNotFoundError:
        return
    while stage not in PASSED_BY and reached.exists():  # noqa: ASYNC110 - a file tells nobody that it is gone
        await asyncio.sleep(0.01)


class StagedLease(StoreLease):
    """Before and after the lease is had."""

    async def acquire(self) -> bool:
        """See ``RefreshLease.acquire``."""
        await reach("before-lease")
        if not await super().acquire():
            return False
        await reach("leased")
        return True


class StagedIssuer(OAuthIssuer):
    """Before the token is sent, while it is under way, and with the answer in hand."""

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        """See ``TokenIssuer.refresh``."""
        await reach("before-send")
        await reach("in-flight")
        issued = await super().refresh(refresh_token)
        await reach("answered")
        return issued


class StagedEscrow(FileEscrow):
    """With the answer on the disk."""

    async def put(self, tokens: TokenSet) -> None:
        """See ``Escrow.put``."""
        await super().put(tokens)
        await reach("escrowed")


class StagedVault(SealedVault):
    """With the answer in the store."""

    async def replace(self, replaced: TokenSet, tokens: TokenSet) -> TokenSet:
        """See ``TokenVault.replace``."""
        saved = await super().replace(replaced, tokens)
        await reach("written")
        return saved


def hurried_options(*settings: Any) -> ServerOptions:
    """With the deadlines that the test wants."""
    return replace(server_options(*settings), deadlines=ConnectionDeadlines(**json.loads(os.environ["TEST_DEADLINES"])))


server_options = wiring.server_options
if "TEST_DEADLINES" in os.environ:
    setattr(wiring, "server_options", hurried_options)  # noqa: B010 - a constant of another module
# On import: all processes of the server are forked from this one.
for module, name, staged in (
    (shared_state, "StoreLease", StagedLease),
    (wiring, "OAuthIssuer", StagedIssuer),
    (shared_state, "FileEscrow", StagedEscrow),
    (shared_state, "SealedVault", StagedVault),
):
    assert hasattr(module, name)
    setattr(module, name, staged)
if "TEST_LEASE_SECONDS" in os.environ:
    lease_seconds = float(os.environ["TEST_LEASE_SECONDS"])
    setattr(shared_state, "LEASE_SECONDS", lease_seconds)  # noqa: B010 - a constant of another module
    setattr(refresh, "LEASE_SECONDS", lease_seconds)  # noqa: B010
    setattr(refresh, "EXCHANGE_SECONDS", lease_seconds * 8 / 15)  # noqa: B010
if "TEST_SLOT_SECONDS" in os.environ:
    slot_seconds = float(os.environ["TEST_SLOT_SECONDS"])
    setattr(stored_limits, "LEASE_SECONDS", slot_seconds)  # noqa: B010
    setattr(key_limits, "RENEW_SECONDS", slot_seconds / 3)  # noqa: B010
if "TEST_PATIENT" in os.environ:
    setattr(sqlite_file, "CALL_TIMEOUT_SECONDS", 30.0)  # noqa: B010
    setattr(redis, "TIMEOUT_SECONDS", 30.0)  # noqa: B010

if __name__ == "__main__":
    sys.exit(main())
