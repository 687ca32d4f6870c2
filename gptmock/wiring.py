"""
The composition root: settings to a running program. The only room that knows all others; decides nothing itself.

``build_app`` is a module-level function of one picklable argument, because Sanic runs it again in every worker.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from sanic import Sanic
from sanic.worker.loader import AppLoader

from gptmock.accounts import SIGN_IN_HINT, Secret, TokenSet
from gptmock.catalog import ModelCatalog
from gptmock.dialects.dialect import Defaults, ReasoningStyle, Terms
from gptmock.errors import GptmockError
from gptmock.gateway.admission import Admission
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.relay import Gateway
from gptmock.server.app import create_app
from gptmock.server.context import App, ServerOptions, Services
from gptmock.server.logs import configure_logs
from gptmock.server.supervisor import gave_up
from gptmock.settings import Settings
from gptmock.stores.auth_file import AuthFileLock, AuthFileVault
from gptmock.upstream.codex import ClientIdentity, CodexUpstream, UpstreamDeadlines
from gptmock.upstream.issuer import OAuthIssuer
from gptmock.upstream.transport import open_client

_DEADLINE_MARGIN_SECONDS = 60.0


class WorkersKeepDying(Exception):
    """The server stopped because its workers died again and again; the log says how."""


def serve(settings: Settings) -> None:
    """
    Run the server until it is stopped; one worker goes the same way as many.

    Raises:
        OSError: the address cannot be bound.
        WorkersKeepDying: the server gave up.
    """
    loader = AppLoader(factory=partial(build_app, settings))
    app = loader.load()
    app.prepare(
        host=settings.host,
        port=settings.port,
        workers=settings.worker_count,
        motd=False,
        access_log=False,
    )
    Sanic.serve(primary=app, app_loader=loader)
    if gave_up(app):
        raise WorkersKeepDying


def build_app(settings: Settings) -> App:
    """The app of one worker; opens nothing."""
    log_format = settings.log_format or ("text" if sys.stderr.isatty() else "json")
    configure_logs(log_format)
    deadlines = UpstreamDeadlines()
    options = ServerOptions(
        max_body_bytes=settings.max_body_bytes,
        shutdown_grace_seconds=settings.shutdown_grace,
        deadline_seconds=deadlines.total + _DEADLINE_MARGIN_SECONDS,
        expose_efforts=settings.expose_reasoning_models,
        verbose=settings.verbose,
    )
    return create_app(partial(open_services, settings, deadlines), options)


@asynccontextmanager
async def open_services(settings: Settings, deadlines: UpstreamDeadlines) -> AsyncIterator[Services]:
    """All that a worker serves with, opened in its own loop and closed after its last stream."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(proxy=settings.upstream_proxy))
        vault = open_vault(settings)
        keeper = CredentialKeeper(
            vault,
            AuthFileLock(settings.home),
            OAuthIssuer(client, settings.issuer, client_id=settings.client_id),
            clock=time.time,
        )
        stack.push_async_callback(keeper.close)
        catalog = ModelCatalog()
        upstream = CodexUpstream(
            client,
            settings.upstream_url,
            identity=ClientIdentity(settings.originator, settings.codex_version),
            deadlines=deadlines,
            clock=time.time,
        )
        key = settings.api_key
        yield Services(
            gateway=Gateway(keeper, upstream, catalog),
            admission=Admission(Secret(key.get_secret_value()) if key is not None else None),
            terms=Terms(catalog, _defaults(settings)),
            readiness=partial(_reasons, vault),
        )


def open_vault(settings: Settings) -> AuthFileVault:
    """Where the login rests."""
    return AuthFileVault(settings.home)


@dataclass(frozen=True, slots=True)
class LoginState:
    """What ``gptmock info`` shows of the login; no secret in it."""

    tokens: TokenSet | None
    problem: str | None
    """Why there is none."""


async def login_state(settings: Settings) -> LoginState:
    """The login as it rests, without asking anybody."""
    try:
        return LoginState(await open_vault(settings).load(), None)
    except GptmockError as error:
        return LoginState(None, error.message)


async def _reasons(vault: AuthFileVault) -> list[str]:
    try:
        tokens = await vault.load()
    except GptmockError as error:
        return [f"{error.code}: {error.message}"]
    if tokens.refresh_token is None and tokens.expires_at is not None and tokens.expires_at <= time.time():
        return [f"login_required: the login has ended. {SIGN_IN_HINT}"]
    return []


def _defaults(settings: Settings) -> Defaults:
    style: ReasoningStyle = "legacy" if settings.reasoning_compat == "current" else settings.reasoning_compat
    return Defaults(
        reasoning_effort=settings.reasoning_effort,
        reasoning_summary=settings.reasoning_summary,
        reasoning_style=style,
        web_search=settings.default_web_search,
        fast=settings.fast_mode,
        model=settings.default_model,
        debug_model=settings.debug_model,
        strict_parameters=settings.strict_parameters,
    )
