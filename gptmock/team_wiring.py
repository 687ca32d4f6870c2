"""
Builds what a server needs for its team: authentication, administration and the reports of its workers. The part of
``wiring`` about people.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from httpx import AsyncClient
from pydantic import SecretStr

from gptmock import __version__
from gptmock.accounts import Secret
from gptmock.gateway.admission import Admission
from gptmock.gateway.guesses import Guesses
from gptmock.gateway.key_limits import KeyLimiter
from gptmock.gateway.key_usage import KeyUsageReport
from gptmock.gateway.page_sessions import PageSessions
from gptmock.gateway.recent_limits import RecentLimits
from gptmock.gateway.reporting import Reporter
from gptmock.gateway.team import Stores, Team
from gptmock.gateway.version import VersionWatch
from gptmock.live import MAX_TURNS, WorkerReport
from gptmock.server.context import Services
from gptmock.settings import Settings
from gptmock.shared_state import State
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.guesses import StoreGuesses
from gptmock.stores.limits_and_usage import SharedUsage
from gptmock.stores.live import StoreLiveBoard
from gptmock.stores.memory import MemoryStore
from gptmock.stores.page_sessions import StoreSessions
from gptmock.upstream.issuer import OAuthIssuer


def admission(settings: Settings, state: State, versions: VersionWatch) -> Admission:
    """Authenticates the requests of a server."""
    # Who needs no key is the operator, unless other machines can connect.
    is_open = settings.is_exposed or bool(settings.trusted_proxy_list) or settings.admin_key is not None
    return Admission(
        _static_key(settings.api_key),
        state.keys,
        required=settings.requires_key,
        keyless_role="user" if is_open else "admin",
        admin_key=_static_key(settings.admin_key),
        admitted=versions.note,
        clock=time.time,
        guesses=_guesses(state),
    )


def _guesses(state: State) -> Guesses:
    return Guesses(StoreGuesses(state.store), StoreGuesses(MemoryStore()), StoreAuditLog(state.store))


def _static_key(given: SecretStr | None) -> Secret | None:
    return Secret(given.get_secret_value()) if given is not None else None


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run background tasks while the context lasts. Not Sanic's tasks: it cancels those before streams have drained."""
    tasks = [asyncio.get_running_loop().create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def administered(
    settings: Settings,
    services: Services,
    client: AsyncClient,
    state: State,
    counters: tuple[RecentLimits, SharedUsage, KeyLimiter],
) -> AsyncIterator[None]:
    """Let this server be administered, and report this worker, while the context lasts."""
    limits, ledger, limiter = counters
    board = StoreLiveBoard(state.store, clock=time.time)
    stores = Stores(
        state.vault, state.keys, limits, ledger, state.escrow, StoreAuditLog(state.store), state.invitations
    )
    issuer = OAuthIssuer(client, settings.issuer, client_id=settings.client_id, originator=settings.originator)
    given = {"GPTMOCK_API_KEY": settings.api_key, "GPTMOCK_ADMIN_KEY": settings.admin_key}
    static = {key.fingerprint(): name for name, one in given.items() if (key := _static_key(one)) is not None}
    services.team = Team(stores, issuer, limiter, board, static_keys=static, clock=time.time)
    services.usage = KeyUsageReport(ledger, limiter, clock=time.time)
    services.reception = services.team.reception(_guesses(state), StoreSessions(state.store))
    services.sessions = PageSessions(StoreSessions(state.store), services.admission, clock=time.time)
    blank = WorkerReport(secrets.token_hex(8), socket.gethostname(), os.getpid(), __version__, time.time(), 0.0)
    reporter = Reporter(board, partial(_report, blank, services), clock=time.time)
    with reporter.listening():
        async with beside(reporter.run()):
            yield


def _report(blank: WorkerReport, services: Services) -> WorkerReport:
    activity = services.activity
    return replace(
        blank,
        turns=tuple(describe() for describe in islice(activity.live.values(), MAX_TURNS)),
        turn_count=activity.turns,
        streams=activity.streams,
        connections=activity.count_connections(),
        draining=services.draining,
    )
