"""
The checks of ``gptmock doctor``. Each returns a ``Finding``, with what to do about a problem. Changes nothing but for
one test write to the store. Like ``wiring`` it may import all packages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import Literal
from urllib.parse import urlsplit

import httpx

from gptmock.accounts import BROKEN_HINT, SIGN_IN_HINT, Credential, Login, TokenSet
from gptmock.catalog import ModelSpec
from gptmock.errors import CredentialRefused, GptmockError, UnusableKey
from gptmock.gateway.version import VersionWatch
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.codex_version import OWN_VERSION, is_plausible
from gptmock.protocol.models import parse_version
from gptmock.settings import Settings
from gptmock.shared_state import State, encryption, key_hashes, missing_pepper, open_state, storage
from gptmock.stores.auth_file import FILE_NAME
from gptmock.upstream.catalogue import CodexCatalog
from gptmock.upstream.identity import ClientIdentity
from gptmock.upstream.transport import open_client
from gptmock.upstream.usage import CodexUsage

ANSWER_SECONDS = 10.0
SKEW_SECONDS, MUCH_SKEW_SECONDS = 30.0, 300.0
"""Clock differences for a warning and for a failure: with the second, tokens would be renewed too late."""
SLOW_STORE_SECONDS = 0.25

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    verdict: Verdict
    found: str
    todo: str = ""
    """What to do; empty when there is nothing to do."""


async def examine(settings: Settings, port: Callable[[], Finding]) -> AsyncIterator[Finding]:
    """
    Run all checks, and yield each finding as soon as it is known.

    Args:
        settings: the server's settings.
        port: the check of the server's port.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(proxy=settings.upstream_proxy))
        reached = asyncio.get_running_loop().create_task(_reach_both(client, settings))
        stack.push_async_callback(_cancelled, reached)
        try:
            found = encryption(settings)
            state = await stack.enter_async_context(open_state(settings))
        except UnusableKey as error:
            yield Finding("encryption key", "fail", str(error), "see GPTMOCK_ENCRYPTION_KEYS")
        else:
            store = await _store(settings, state)
            yield store
            if store.verdict != "fail":
                yield await _key(state, found)
                yield await _pepper(settings, state)
                for finding in await _credentials(settings, state, client):
                    yield finding
        for finding in await reached:
            yield finding
        yield port()


async def _cancelled(task: asyncio.Task[list[Finding]]) -> None:
    task.cancel()
    await asyncio.wait({task})


# --- State ------------------------------------------------------------------------------------


async def _store(settings: Settings, state: State) -> Finding:
    started = time.monotonic()
    try:
        await state.store.probe()
    except GptmockError as error:
        todo = "see GPTMOCK_HOME: is it writable, and is there room?"
        return Finding("store", "fail", error.message, todo if settings.redis_url is None else "see GPTMOCK_REDIS_URL")
    seconds = time.monotonic() - started
    found = f"{storage(settings)} can be written ({seconds * 1000:.0f} ms)"
    if seconds > SLOW_STORE_SECONDS:
        return Finding("store", "warn", found, "that is slow; every request waits for it now and then")
    return Finding("store", "ok", found)


async def _key(state: State, found: str) -> Finding:
    try:
        await state.vault.check_key()
    except GptmockError as error:
        return Finding("encryption key", "fail", error.message, "put the key that sealed the store back into the ring")
    return Finding("encryption key", "ok", f"{found}; it opens the store")


async def _pepper(settings: Settings, state: State) -> Finding:
    try:
        lacking = await missing_pepper(state)
    except GptmockError as error:
        return Finding("client keys", "fail", error.message, "see the line before this one")
    if lacking is not None:
        return Finding("client keys", "fail", lacking, "see GPTMOCK_KEY_PEPPER")
    return Finding("client keys", "ok", key_hashes(settings))


async def _credentials(settings: Settings, state: State, client: httpx.AsyncClient) -> list[Finding]:
    try:
        logins = await state.vault.logins()
        tokens = [await state.vault.load(login.account.id) for login in logins]
        broken = [
            Finding(f"account {one.label}", "fail", one.reason, BROKEN_HINT) for one in await state.vault.broken()
        ]
    except GptmockError as error:
        return [Finding("credentials", "fail", error.message, "sign in again with: gptmock login")]
    if not logins and broken:
        return broken
    if not logins and (settings.home / FILE_NAME).is_file():
        todo = "it is taken over by the next gptmock serve or info"
        return [Finding("credentials", "warn", f"nobody is signed in yet, but there is an {FILE_NAME}", todo)]
    if not logins:
        return [Finding("credentials", "fail", "nobody is signed in", "sign in with: gptmock login")]
    versions = VersionWatch(state.codex_version, fixed=settings.codex_version)
    with suppress(GptmockError):
        await versions.reload()
    identity = ClientIdentity(settings.originator, versions.current)
    usage = CodexUsage(client, settings.upstream_url, identity=identity, clock=time.time)
    catalog = CodexCatalog(client, settings.upstream_url, identity=identity, clock=time.time)
    findings = [_pool(settings, logins)] if settings.pool_labels else []
    pairs = list(zip(logins, tokens, strict=True))
    *found, version = await asyncio.gather(
        *(_credential(login, held, usage.windows) for login, held in pairs),
        _version(settings, versions.current, pairs, catalog.models_of_any_version),
    )
    return [*findings, *found, *broken, version]


def _pool(settings: Settings, logins: list[Login]) -> Finding:
    missing = [label for label in settings.pool_labels if label not in {login.label for login in logins}]
    if missing:
        todo = "sign them in, or take them out of GPTMOCK_ACCOUNT_POOL"
        return Finding("account pool", "warn", f"not signed in: {', '.join(missing)}", todo)
    return Finding("account pool", "ok", f"{len(settings.pool_labels)} accounts share load")


async def _credential(login: Login, tokens: TokenSet, windows: Callable[..., Awaitable[RateLimitSnapshot]]) -> Finding:
    check, again = f"account {login.label}", "sign in again with: gptmock login"
    if login.refused is not None:
        return Finding(check, "fail", login.refused.removesuffix(SIGN_IN_HINT).strip(), again)
    if _has_expired(login):
        if not login.renewable:
            return Finding(check, "fail", "its token has expired and cannot be renewed", again)
        return Finding(check, "ok", "its token has expired; the next request renews it")
    try:
        await windows(tokens.credential())
    except CredentialRefused:
        return Finding(check, "warn", "the upstream refuses its token", f"the next request renews it; if not, {again}")
    except GptmockError as error:
        return Finding(check, "warn", f"it could not be tried: {error.message}")
    if login.paused:
        return Finding(check, "warn", "accepted by the upstream, but paused", "see: gptmock accounts resume")
    return Finding(check, "ok", "accepted by the upstream")


async def _version(
    settings: Settings,
    version: str,
    held: Sequence[tuple[Login, TokenSet]],
    ask: Callable[[Credential], Awaitable[Sequence[ModelSpec]]],
) -> Finding:
    """Whether the backend has models that need a newer protocol version than the one that the server asks with."""
    check, shown = "protocol version", f"Codex {version}, {_origin(settings, version)}"
    usable = [(login.paused, tokens) for login, tokens in held if login.refused is None and not _has_expired(login)]
    if not usable:
        return Finding(check, "ok", f"{shown}; without a valid token nobody can tell whether it is new enough")
    try:
        # One account tells: what differs between accounts is not the versions.
        specs = await ask(min(usable, key=itemgetter(0))[1].credential())
    except GptmockError as error:
        return Finding(check, "warn", f"{shown}; whether it is new enough cannot be told: {error.message}")
    ours = parse_version(version)
    newer = [spec for spec in specs if spec.listed and spec.minimal_version > ours]
    if not newer:
        return Finding(check, "ok", f"{shown}; new enough for all models")
    names = ", ".join(f"{spec.slug} ({_dotted(spec)})" for spec in newer)
    needed = _dotted(max(newer, key=lambda spec: spec.minimal_version))
    return Finding(check, "warn", f"{shown}; too old for {names}", _newer_version(settings, needed))


def _origin(settings: Settings, version: str) -> str:
    if settings.codex_version is not None:
        return "set by GPTMOCK_CODEX_VERSION"
    return "the default" if version == OWN_VERSION else "shown by a Codex client"


def _newer_version(settings: Settings, needed: str) -> str:
    if settings.codex_version is not None:
        return f"set GPTMOCK_CODEX_VERSION={needed}"
    words = f"set GPTMOCK_CODEX_VERSION={needed} or update gptmock"
    # A client that showed any other version would not be believed.
    return f"{words}, or let Codex {needed} or newer use this server once" if is_plausible(needed) else words


def _dotted(spec: ModelSpec) -> str:
    return ".".join(map(str, spec.minimal_version))


def _has_expired(login: Login) -> bool:
    return login.expires_at is not None and login.expires_at <= time.time()


# --- The network ------------------------------------------------------------------------------


async def _reach_both(client: httpx.AsyncClient, settings: Settings) -> list[Finding]:
    places = (("issuer", settings.issuer), ("upstream", settings.upstream_url))
    reached = await asyncio.gather(*(_reach(client, name, url) for name, url in places))
    skews = [skew for _, skew in reached if skew is not None]
    return [*(finding for finding, _ in reached), _clock(skews)]


async def _reach(client: httpx.AsyncClient, name: str, url: str) -> tuple[Finding, float | None]:
    """Whether the host answers, with any status; and how far our clock is ahead of its ``Date``, in seconds."""
    host = urlsplit(url).netloc
    started = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await client.get(url, headers={"accept": "application/json"})
    except (TimeoutError, httpx.HTTPError) as error:
        todo = "is this machine online, and does it need GPTMOCK_UPSTREAM_PROXY or SSL_CERT_FILE?"
        return Finding(name, "fail", f"{host} cannot be reached ({type(error).__name__})", todo), None
    seconds = time.monotonic() - started
    found = f"{host} answers ({seconds * 1000:.0f} ms)"
    skew = _skew(response.headers.get("date"), seconds)
    if response.status_code >= 500:
        return Finding(name, "warn", f"{host} answers {response.status_code}", "it has trouble; try again later"), skew
    return Finding(name, "ok", found), skew


def _skew(date: str | None, seconds: float) -> float | None:
    try:
        theirs = parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
    # ``Date`` has whole seconds, and was set about half a round trip ago.
    return None if theirs is None else time.time() - seconds / 2 - theirs - 0.5


def _clock(skews: list[float]) -> Finding:
    if not skews:
        return Finding("clock", "warn", "cannot be compared with anybody's")
    skew = min(skews, key=abs)
    off = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > MUCH_SKEW_SECONDS:
        return Finding("clock", "fail", off, "set it: tokens seem to live longer or shorter than they do")
    if abs(skew) > SKEW_SECONDS:
        return Finding("clock", "warn", off, "set it by NTP")
    return Finding("clock", "ok", "agrees with the upstream's")
