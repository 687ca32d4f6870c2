"""The gateway's contracts, kept in memory: adapters, not patches. What they were asked is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from gptmock.accounts import Account, Credential, IssuedTokens, Secret, TokenSet, account_of
from gptmock.errors import GptmockError, LockBusy, NotLoggedIn, RefreshRejected
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.reader import EventReader, Received
from gptmock.protocol.request import ResponsesRequest

ACCOUNT = Account(workspace_id="w-1", user_id="u-1", email="ada@example.test", plan="pro")


class Clock:
    """Unix seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def tokens(number: int, *, expires_at: float | None) -> TokenSet:
    return TokenSet(
        account=ACCOUNT,
        access_token=Secret(f"access-{number}"),
        refresh_token=Secret(f"refresh-{number}"),
        id_token=None,
        version=f"v{number}",
        expires_at=expires_at,
    )


class MemoryVault:
    """Holds one token set; ``life_seconds`` is that of the tokens saved next."""

    def __init__(self, held: TokenSet | None, *, life_seconds: float = 864_000) -> None:
        self.held = held
        self.life_seconds = life_seconds
        self.saves = 0
        self.rejected: list[str] = []
        self.save_errors: list[GptmockError] = []

    async def load(self) -> TokenSet:
        if self.held is None:
            raise NotLoggedIn("nobody")
        return self.held

    async def save(self, replaced: TokenSet, issued: IssuedTokens, *, now: float) -> TokenSet:
        await asyncio.sleep(0)
        if self.save_errors:
            raise self.save_errors.pop(0)
        held = await self.load()
        if held.version != replaced.version:
            return held
        self.saves += 1
        access = issued.access_token or held.access_token
        refresh = issued.refresh_token or held.refresh_token
        self.held = replace(
            held,
            access_token=access,
            refresh_token=refresh,
            version=f"{access.reveal()}/{refresh.reveal() if refresh else ''}",
            expires_at=held.expires_at if issued.access_token is None else now + self.life_seconds,
        )
        return self.held

    async def reject(self, refused: TokenSet, *, reason: str) -> None:
        self.rejected.append(reason)
        if self.held is not None and self.held.version == refused.version:
            self.held = replace(self.held, refresh_token=None)


class MemoryLock:
    """One holder at a time; ``busy`` refuses at once."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.holds = 0
        self.busy = False

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        if self.busy:
            raise LockBusy("busy", retry_after_seconds=5.0)
        async with self._lock:
            self.holds += 1
            yield


class MemoryIssuer:
    """
    Rotates strictly: a refresh token is good once. ``errors`` are raised first, one for each call; ``gate`` holds
    every call until it is set.
    """

    def __init__(self, living: str = "refresh-1") -> None:
        self.living = living
        self.calls: list[str] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answers: list[IssuedTokens] = []

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        self.calls.append(refresh_token.reveal())
        number = len(self.calls) + 1
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if refresh_token.reveal() != self.living:
            raise RefreshRejected("reused")
        if self.answers:
            answer = self.answers.pop(0)
        else:
            answer = IssuedTokens(Secret(f"access-{number}"), Secret(f"refresh-{number}"), None)
        if answer.refresh_token is not None:
            self.living = answer.refresh_token.reveal()
        assert account_of(answer) is None or answer.access_token is not None
        return answer


# --- The other side ---------------------------------------------------------------------


@dataclass
class Script:
    """
    What one opening does: raise, or give blocks of bytes. An exception among the blocks is raised there; a number is
    a silence of so many seconds.
    """

    blocks: Sequence[bytes | Exception | float] = ()
    error: Exception | None = None


@dataclass
class MemoryUpstream:
    """Plays one script for each opening, the last one for ever."""

    scripts: list[Script]
    credentials: list[Credential] = field(default_factory=list)
    open_now: int = 0
    """Streams that are open; ``0`` again when everything was closed."""

    @asynccontextmanager
    async def open(self, request: ResponsesRequest, credential: Credential) -> AsyncIterator[MemoryStream]:
        assert request.prompt_cache_key
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.credentials.append(credential)
        if script.error is not None:
            raise script.error
        self.open_now += 1
        try:
            yield MemoryStream(script)
        finally:
            self.open_now -= 1


class MemoryStream:
    """An accepted turn."""

    limits: RateLimitSnapshot | None = None

    def __init__(self, script: Script) -> None:
        self._script = script

    async def batches(self) -> AsyncIterator[list[Received]]:
        reader = EventReader()
        for block in self._script.blocks:
            if isinstance(block, Exception):
                raise block
            if isinstance(block, float | int):
                await asyncio.sleep(block)
            elif received := reader.feed(block):
                yield received
        if received := reader.finish():
            yield received
