"""The composition root: builds the server from the settings. May import all packages; has no logic of its own."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from httpx import AsyncClient

from gptmock.accounts import Secret
from gptmock.audit import Actor
from gptmock.catalog import IMAGE_MODEL, ModelCatalog
from gptmock.dialects.dialect import Defaults, ReasoningStyle, Terms
from gptmock.dialects.responses.codex import shown_version
from gptmock.errors import GptmockError
from gptmock.gateway.account_selection import AccountSelector
from gptmock.gateway.administration import AuditTrail
from gptmock.gateway.catalogue import CatalogWatch
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.freshness import FreshnessWatch
from gptmock.gateway.gateway import Gateway
from gptmock.gateway.key_limits import KeyLimiter
from gptmock.gateway.limit_polling import LimitPoller
from gptmock.gateway.notices import NoticeWatch
from gptmock.gateway.recent_limits import RecentLimits
from gptmock.gateway.refresh import Refresher
from gptmock.gateway.several_turns import BatchGateway
from gptmock.gateway.shown_limits import ShownLimits
from gptmock.gateway.stored_responses import ConversationKeeper
from gptmock.gateway.usage_recording import TurnRecorder
from gptmock.gateway.version import VersionWatch
from gptmock.limits import LimitStore
from gptmock.metrics.accounts import AccountReadings
from gptmock.metrics.events import counted
from gptmock.metrics.traces import open_traces
from gptmock.metrics.worker import Exposition, Load, WorkerMetrics, open_metrics
from gptmock.server.app import create_app
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.logs import configure_logs
from gptmock.server.tls import Certificate
from gptmock.settings import Settings
from gptmock.shared_state import State, open_state
from gptmock.stores.audit import StoreAuditLog
from gptmock.stores.auth_import import take_over
from gptmock.stores.catalogue import StoreCatalogCache
from gptmock.stores.key_limits import StoreKeyLimits
from gptmock.stores.limits_and_usage import SharedLimits, SharedUsage
from gptmock.stores.memory import MemoryStore
from gptmock.stores.notices import StoreToldRecord
from gptmock.stores.snapshot import SealedSnapshot
from gptmock.stores.usage_journal import open_journal
from gptmock.team_wiring import administered, admission, beside
from gptmock.upstream.catalogue import CodexCatalog
from gptmock.upstream.codex import UpstreamDeadlines
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.issuer import OAuthIssuer
from gptmock.upstream.transport import open_client, open_transport
from gptmock.upstream.usage import CodexUsage
from gptmock.upstream.webhook import Webhook
from gptmock.upstream_wiring import opened

TAKE_OVER_SECONDS = 2.0
RESEAL_SECONDS = 20.0
"""Interval of re-encryption: after a change of keys all records are encrypted with the new one within a minute."""
_DEADLINE_MARGIN_SECONDS = 60.0
LONGEST_TURN_SECONDS = UpstreamDeadlines().total + _DEADLINE_MARGIN_SECONDS
"""From the first byte of a call to the last of its answer."""
_Opened: TypeAlias = AsyncIterator[Services]


def start_logs(settings: Settings) -> None:
    """Write logs as the settings say."""
    configure_logs(settings.log_format or ("text" if sys.stderr.isatty() else "json"))


def build_app(settings: Settings, folder: Path | None = None, tls: Certificate | None = None) -> App:
    """The app of one worker; opens nothing."""
    start_logs(settings)
    deadlines = UpstreamDeadlines()
    app = create_app(partial(open_services, settings, deadlines, folder), server_options(settings, deadlines))
    app.register_listener(_freeze, "after_server_start")
    if tls is not None:
        app.register_listener(partial(_follow, tls), "after_server_start")
    return app


async def _follow(tls: Certificate, app: App) -> None:
    app.ctx.following_certificate = asyncio.get_running_loop().create_task(tls.follow(), name="certificate")


async def _freeze(_: App) -> None:
    # What a worker has loaded lives as long as the worker: no garbage collection needs to go through it.
    gc.collect()
    gc.freeze()
    # A turn makes some thousand objects and hardly a cycle: the default of 700 is several collections for each.
    gc.set_threshold(10_000)


def server_options(settings: Settings, deadlines: UpstreamDeadlines) -> ServerOptions:
    """Limits and features of the HTTP layer, from the settings."""
    return ServerOptions(
        max_body_bytes=settings.max_body_bytes,
        max_connections=settings.max_connections,
        max_streams=settings.max_streams,
        metrics_address=settings.metrics_address,
        shutdown_grace_seconds=settings.shutdown_grace,
        deadline_seconds=deadlines.total + _DEADLINE_MARGIN_SECONDS,
        cors_origins=settings.cors_origin_list,
        expose_efforts=settings.expose_reasoning_models,
        image_models=settings.image_models,
        transcription=settings.transcription,
        ollama_version=settings.ollama_version,
        verbose=settings.verbose,
        bound_host=settings.host,
        is_exposed=settings.is_exposed,
        requires_key=settings.requires_key,
        allowed_hosts=settings.allowed_host_list,
        trusted_proxies=settings.trusted_proxy_list,
        public_url=settings.public_url or "",
        base_path=settings.base_path or "",
    )


@asynccontextmanager
async def open_services(settings: Settings, deadlines: UpstreamDeadlines, folder: Path | None = None) -> _Opened:
    """The services of one worker, opened in its event loop and closed after its last stream."""
    async with AsyncExitStack() as stack:
        transport = open_transport(proxy=settings.upstream_proxy, direct=settings.fast_path)
        client = await stack.enter_async_context(open_client(transport))
        metrics = open_metrics(folder / "metrics" if folder is not None else None)
        state = await stack.enter_async_context(open_state(settings, folder, called=metrics.store_called))
        keeper = _keeper(settings, client, state, stack)
        board = RecentLimits(SharedLimits(state.store), clock=time.monotonic)
        selector = AccountSelector(state.vault, board, pool=settings.pool_labels, clock=time.time)
        ledger, recorder, limiter = _recording(settings, state, board, stack, folder)
        readiness = partial(_reasons, selector, keeper)
        versions = VersionWatch(state.codex_version, fixed=settings.codex_version, shown=shown_version)
        identity = ClientIdentity(settings.originator, versions.current)
        shown, windows = _windows(selector, board, keeper, (client, settings.upstream_url, identity))
        models = CodexCatalog(client, settings.upstream_url, identity=identity, clock=time.time)
        catalogs = CatalogWatch(StoreCatalogCache(state.store), keeper, models, selector.account_ids, clock=time.time)
        versions.changed = partial(_change_version, identity, catalogs)
        fresh = _fresh(state, selector, keeper, versions)
        await _load(state, fresh, catalogs)
        await stack.enter_async_context(
            beside(
                *(one.run() for one in (ledger, limiter, windows, fresh, versions)),
                keeper.watch(selector.account_ids),
                _take_over(state, readiness),
                _reseal(state),
            )
        )
        upstream = await stack.enter_async_context(opened(settings, transport, identity, deadlines, metrics, catalogs))
        conversations = ConversationKeeper(state.conversations if settings.responses_ttl else None)
        services = Services(
            gateway=BatchGateway(Gateway(selector, keeper, upstream, recorder, catalogs, conversations=conversations)),
            admission=admission(settings, state, versions),
            terms=Terms(catalogs.current, _defaults(settings), state.sealer),
            readiness=readiness,
            conversations=conversations,
            label_of=selector.label_of,
            limits=limiter,
            shown_limits=shown,
        )
        catalogs.changed = partial(_change_terms, services, state.snapshot)
        await stack.enter_async_context(_measured(settings, services, metrics, state, board))
        await stack.enter_async_context(administered(settings, services, client, state, (board, ledger, limiter)))
        await stack.enter_async_context(beside(catalogs.run(), _tell(settings, metrics, state, board)))
        yield services


def _recording(
    settings: Settings, state: State, board: RecentLimits, stack: AsyncExitStack, folder: Path | None
) -> tuple[SharedUsage, TurnRecorder, KeyLimiter]:
    """What counts turns; each writes what it still has when the stack is closed."""
    journal = open_journal(folder / "usage" if folder is not None else None)
    ledger = SharedUsage(state.store, clock=time.time, kept_seconds=settings.usage_retention, journal=journal)
    stack.push_async_callback(ledger.close)
    recorder = TurnRecorder(board, ledger, clock=time.time)
    stack.push_async_callback(recorder.close)
    limiter = KeyLimiter(StoreKeyLimits(state.store), _local_limits, workers=settings.worker_count)
    stack.push_async_callback(limiter.close)
    return ledger, recorder, limiter


def _local_limits() -> StoreKeyLimits:
    return StoreKeyLimits(MemoryStore())


@asynccontextmanager
async def _measured(
    settings: Settings, services: Services, metrics: WorkerMetrics, state: State, limits: LimitStore
) -> AsyncIterator[None]:
    """Count and trace what this worker does while the context lasts, and let it be scraped."""
    services.exposition = Exposition(metrics, AccountReadings(state.vault, limits, clock=time.time))
    metrics.instruments.unauthenticated.set(settings.is_exposed and not settings.requires_key)
    with counted(metrics.instruments, partial(_is_known, services)):
        async with beside(metrics.sample(partial(_load_of, services, state))), _traced(settings, services):
            yield


@asynccontextmanager
async def _traced(settings: Settings, services: Services) -> AsyncIterator[None]:
    """Trace model calls while the context lasts, if the operator wants it."""
    if not settings.otel:
        yield
        return
    traces = services.traces = open_traces(settings.upstream_url)
    try:
        yield
    finally:
        # Sends what waits.
        await asyncio.to_thread(traces.close)


async def _tell(settings: Settings, metrics: WorkerMetrics, state: State, limits: LimitStore) -> None:
    """Background task: tell the operator's webhook, if there is one; the first worker of a server does."""
    url, secret = settings.webhook_url, settings.webhook_secret
    if url is None or secret is None:
        return
    async with open_client() as client:
        webhook = Webhook(client, Secret(url.get_secret_value()), Secret(secret.get_secret_value()), clock=time.time)
        told = StoreToldRecord(state.store)
        watch = NoticeWatch(
            state.vault,
            limits,
            told,
            webhook,
            is_first=metrics.is_first,
            has_store=lambda: state.store.available,
            clock=time.time,
        )
        await watch.run()


def _is_known(services: Services, slug: str) -> bool:
    return slug == IMAGE_MODEL or services.terms.catalog.get(slug) is not None


def _load_of(services: Services, state: State) -> Load:
    activity = services.activity
    return Load(
        activity.turns,
        activity.streams,
        activity.count_connections(),
        has_store=state.store.available,
        key_turns=services.limits.turns_by_key(),
    )


def _windows(
    selector: AccountSelector,
    board: RecentLimits,
    keeper: CredentialKeeper,
    asked: tuple[AsyncClient, str, ClientIdentity],
) -> tuple[ShownLimits, LimitPoller]:
    client, url, identity = asked
    usage = CodexUsage(client, url, identity=identity, clock=time.time)
    shown = ShownLimits(selector, selector.account_ids, board, keeper, usage, clock=time.monotonic)
    return shown, LimitPoller(board, keeper, usage, selector.account_ids)


def _keeper(settings: Settings, client: AsyncClient, state: State, stack: AsyncExitStack) -> CredentialKeeper:
    issuer = OAuthIssuer(client, settings.issuer, client_id=settings.client_id, originator=settings.originator)
    refresher = Refresher(state.vault, state.lease_of, issuer, state.escrow, clock=time.time)
    trail = AuditTrail(StoreAuditLog(state.store), Actor("server", socket.gethostname()), clock=time.time)
    refresher.on_ended = partial(trail.note_event, "account.login_ended")
    keeper = CredentialKeeper(state.vault, refresher, clock=time.time)
    stack.push_async_callback(keeper.close)
    return keeper


def _change_version(identity: ClientIdentity, catalogs: CatalogWatch, version: str) -> None:
    identity.use_version(version)
    catalogs.wake()


def _fresh(state: State, selector: AccountSelector, keeper: CredentialKeeper, versions: VersionWatch) -> FreshnessWatch:
    revision = state.vault.revision
    fresh = FreshnessWatch(revision, selector, state.keys, keeper, clock=time.time, also=versions.reload)
    fresh.loaded = state.snapshot.keep
    return fresh


async def _load(state: State, fresh: FreshnessWatch, catalogs: CatalogWatch) -> None:
    """All that a worker knows, before it serves: from the store, or from what its siblings have kept of it."""
    await fresh.load()
    if state.store.available:
        await catalogs.load()
        return
    async with state.snapshot.standing_in() as is_kept:
        if is_kept:
            await fresh.recall()
            await catalogs.load()


def _change_terms(services: Services, snapshot: SealedSnapshot, catalog: ModelCatalog) -> None:
    # A call under way keeps the terms that it was decoded by.
    services.terms = replace(services.terms, catalog=catalog)
    snapshot.outdate()


async def _take_over(state: State, readiness: Callable[[], Awaitable[list[str]]]) -> None:
    """While no account can serve, import a login from ``auth.json``, also after the store was unavailable."""
    while True:
        await asyncio.sleep(TAKE_OVER_SECONDS)
        with suppress(GptmockError):
            if await readiness():
                await take_over(state.vault, state.store, state.home)


async def _reseal(state: State) -> None:
    """Re-encrypt records that were encrypted with an older key of the ring; does nothing if there are none."""
    while True:
        await asyncio.sleep(RESEAL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads workers
        with suppress(GptmockError):
            await state.vault.reseal()
            await state.conversations.reseal()
            await state.escrow.reseal()


async def _reasons(selector: AccountSelector, keeper: CredentialKeeper) -> list[str]:
    try:
        account_ids = await selector.account_ids()
        if not account_ids and await selector.serves_members():
            return []
        if not account_ids:
            nobody = selector.nobody()
            return [f"{nobody.code}: {nobody.message}"]
        problems = [problem for one in account_ids if (problem := await keeper.problem(one)) is not None]
    except GptmockError as error:
        return [f"{error.code}: {error.message}"]
    # One account that can serve is enough.
    return [f"{error.code}: {error.message}" for error in problems] if len(problems) == len(account_ids) else []


def _defaults(settings: Settings) -> Defaults:
    style: ReasoningStyle
    match settings.reasoning_compat:
        case "current":
            style = "legacy"
        case "standard" | "openai":
            style = "reasoning-content"
        case other:
            style = other
    return Defaults(
        reasoning_effort=settings.reasoning_effort,
        reasoning_summary=settings.reasoning_summary,
        reasoning_style=style,
        web_search=settings.default_web_search,
        fast=settings.fast_mode,
        model=settings.default_model,
        anthropic_models=settings.claude_models,
        debug_model=settings.debug_model,
        strict_parameters=settings.strict_parameters,
        store_responses=settings.responses_ttl > 0,
    )
