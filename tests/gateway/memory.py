"""In-memory implementations of the gateway's contracts, with counts of their calls."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from gptmock.accounts import Account, Credential, IssuedTokens, Secret, TokenSet
from gptmock.catalog import ModelCatalog
from gptmock.errors import GptmockError, RefreshRejected
from gptmock.gateway.credentials import CredentialKeeper
from gptmock.gateway.issuer_backoff import STEPS_SECONDS
from gptmock.gateway.refresh import LEASE_SECONDS, Refresher
from gptmock.gateway.several_turns import AnyReply
from gptmock.limits import RateLimitSnapshot
from gptmock.protocol.items import ResponseUsage
from gptmock.protocol.reader import EventReader
from gptmock.protocol.request import ResponsesRequest
from gptmock.protocol.upstream import Compacted, OpensLane, Relayed, TakesBatch
from gptmock.simulator.jwt import encode_jwt
from gptmock.stores.lease import StoreLease
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.store import Store
from gptmock.stores.vault import SealedVault

ACCOUNT = Account(workspace_id="w-1", user_id="u-1", email="ada@example.test", plan="pro")
KEY = SealingKey.from_bytes(bytes(range(32)))
LIFE_SECONDS = 864_000.0
FIRST_PAUSE = STEPS_SECONDS[0]


class Clock:
    """Unix seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def access(name: str, expires_at: float | None) -> Secret:
    """An access token (JWT) with a name and an optional ``exp``; ``name_of`` reads the name."""
    return Secret(name if expires_at is None else encode_jwt({"jti": name, "exp": expires_at}))


def name_of(token: Secret) -> str:
    """The name that ``access`` has put into a token."""
    if "." not in token.reveal():
        return token.reveal()
    claims = msgspec.json.decode(_unpadded(token.reveal().split(".")[1]))
    return str(claims["jti"])


def _unpadded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def tokens(number: int, *, expires_at: float | None, version: int = 0, account: Account = ACCOUNT) -> TokenSet:
    return TokenSet(
        account=account,
        access_token=access(f"access-{number}", expires_at),
        refresh_token=Secret(f"refresh-{number}"),
        id_token=None,
        version=version,
        expires_at=expires_at,
        last_refresh=None if expires_at is None else expires_at - 3000,
    )


class MemoryEscrow:
    """An escrow that outlives simulated processes; ``error`` simulates a full disk."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], TokenSet] = {}
        self.puts = 0
        self.error: GptmockError | None = None

    async def put(self, tokens: TokenSet) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.puts += 1
        self.kept[tokens.account.id, tokens.version] = tokens

    async def find(self, account_id: str) -> TokenSet | None:
        await asyncio.sleep(0)
        found = [tokens for (kept_id, _), tokens in self.kept.items() if kept_id == account_id]
        return max(found, key=lambda one: one.version, default=None)

    async def drop(self, account_id: str, *, up_to_version: int) -> None:
        await asyncio.sleep(0)
        for kept_id, version in list(self.kept):
            if kept_id == account_id and version <= up_to_version:
                del self.kept[kept_id, version]


class MemoryIssuer:
    """
    Rotates strictly: a refresh token is good once. ``errors`` are raised first, one for each call; ``gate`` holds
    every call until it is set; ``spent`` is called between the rotation and the answer.
    """

    def __init__(self, clock: Clock, living: str = "refresh-1") -> None:
        self.clock = clock
        self.living = {living}
        self.calls: list[str] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answers: list[IssuedTokens] = []
        self.spent: Callable[[], None] = lambda: None

    async def refresh(self, refresh_token: Secret) -> IssuedTokens:
        self.calls.append(refresh_token.reveal())
        number = len(self.calls) + 1
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if refresh_token.reveal() not in self.living:
            raise RefreshRejected("reused")
        if self.answers:
            answer = self.answers.pop(0)
        else:
            expires_at = self.clock.now + LIFE_SECONDS
            answer = IssuedTokens(access(f"access-{number}", expires_at), Secret(f"refresh-{number}"), None)
        if answer.refresh_token is not None:
            self.living = self.living - {refresh_token.reveal()} | {answer.refresh_token.reveal()}
        self.spent()
        return answer


class Worker:
    """One worker process: a vault with its own cache, and a refresher."""

    def __init__(self, site: Site) -> None:
        self.store: Store = MemoryStore(site.place)
        self.vault = SealedVault(self.store, Sealer([KEY]), clock=site.clock)
        self.refresher = Refresher(self.vault, self.lease_of, site.issuer, site.escrow, clock=site.clock)
        self.keeper = CredentialKeeper(self.vault, self.refresher, clock=site.clock)

    def lease_of(self, account_id: str) -> StoreLease:
        return StoreLease(self.store, account_id, owner=secrets.token_hex(8), ttl_seconds=LEASE_SECONDS)

    async def leased(self) -> str:
        """The name of the access token that a request would carry."""
        return name_of((await self.keeper.lease(ACCOUNT.id)).access_token)


class Site:
    """One machine with a store and an issuer; nobody is logged in yet."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.place = MemoryPlace(self.clock)
        self.escrow = MemoryEscrow()
        self.issuer = MemoryIssuer(self.clock)

    def worker(self) -> Worker:
        return Worker(self)

    async def login(self, number: int, *, left_seconds: float | None = LIFE_SECONDS) -> TokenSet:
        """Sign in, in a process with empty caches."""
        self.issuer.living |= {f"refresh-{number}"}
        expires_at = None if left_seconds is None else self.clock.now + left_seconds
        return await self.worker().vault.enroll(tokens(number, expires_at=expires_at))

    async def held(self) -> TokenSet:
        """The tokens in the store, read by a process with empty caches."""
        return await self.worker().vault.load(ACCOUNT.id)

    def lease_is_taken(self) -> bool:
        return bool(self.place.leases)


# --- The other side ---------------------------------------------------------------------


@dataclass
class Script:
    """
    What one opening does: raise, or give blocks of bytes. An exception among the blocks is raised there; a number is
    a silence of so many seconds.
    """

    blocks: Sequence[bytes | Exception | float] = ()
    error: Exception | None = None
    models_etag: str | None = None
    sent_again: int = 0
    """How often the upstream client sends the turn once more by itself."""


class FixedCatalogs:
    """Fixed catalogues that record the ETags of ``heard``; the accounts in ``lacking`` have no models."""

    def __init__(self) -> None:
        self.current = ModelCatalog()
        self.tags: list[tuple[str, str | None]] = []
        self.lacking: set[str] = set()

    def offers(self, account_id: str, slug: str) -> bool:
        assert slug
        return account_id not in self.lacking

    def heard(self, account_id: str, etag: str | None) -> None:
        self.tags.append((account_id, etag))


@dataclass
class MemoryUpstream:
    """An upstream that plays one script for each request, and the last one for all later ones."""

    scripts: list[Script]
    credentials: list[Credential] = field(default_factory=list)
    requests: list[ResponsesRequest] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    open_now: int = 0
    """The number of open streams."""

    @asynccontextmanager
    async def open(
        self,
        request: ResponsesRequest,
        credential: Credential,
        *,
        headers: Mapping[str, str] | None = None,
        sent_again: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[MemoryStream]:
        assert request.prompt_cache_key
        self.requests.append(request)
        self.headers = dict(headers or {})
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.credentials.append(credential)
        for _ in range(script.sent_again):
            sent_again()
        if script.error is not None:
            raise script.error
        self.open_now += 1
        try:
            yield MemoryStream(script)
        finally:
            self.open_now -= 1

    async def compact(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Compacted:
        async with self.open(request, credential, headers=headers) as stream:
            await stream.deliver(lambda _: False)
            return Compacted({"output": [{"type": "compaction", "id": "cmp_1"}]}, ResponseUsage(input_tokens=7))

    async def relay(
        self, request: ResponsesRequest, credential: Credential, *, headers: Mapping[str, str] | None = None
    ) -> Relayed:
        async with self.open(request, credential, headers=headers) as stream:
            await stream.deliver(lambda _: False)
            return Relayed(b"{}")


class MemoryStream:
    """An accepted turn."""

    limits: RateLimitSnapshot | None = None
    headers: Mapping[str, str] = MappingProxyType({"x-codex-turn-state": "kept"})

    def __init__(self, script: Script) -> None:
        self._blocks = deque(script.blocks)
        self._reader = EventReader(finds_runs=True)
        self.models_etag = script.models_etag

    async def deliver(self, take: TakesBatch, lane: OpensLane | None = None) -> bool:  # noqa: ARG002
        while self._blocks:
            block = self._blocks.popleft()
            if isinstance(block, Exception):
                raise block
            if isinstance(block, float | int):
                await asyncio.sleep(block)
            elif (batch := self._reader.feed(block)) and not take(batch):
                return False
        batch = self._reader.finish()
        return take(batch) if batch else True


class ReadingSink:
    """A client that reads a block only when it is asked for."""

    def __init__(self) -> None:
        self.blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.wanted = asyncio.Event()

    def write(self, frames: bytes) -> bool:
        self.blocks.put_nowait(frames)
        self.wanted.clear()
        return False

    async def ready(self) -> None:
        await self.wanted.wait()

    async def end(self, frames: bytes) -> None:
        if frames:
            self.blocks.put_nowait(frames)
        self.blocks.put_nowait(None)


async def frames_of(reply: AnyReply) -> AsyncIterator[bytes]:
    """The blocks of a streamed reply; the upstream is read as the caller reads."""
    sink = ReadingSink()
    streaming = asyncio.ensure_future(reply.stream(sink))
    try:
        while True:
            sink.wanted.set()
            getting = asyncio.ensure_future(sink.blocks.get())
            await asyncio.wait({getting, streaming}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and streaming.done():
                getting.cancel()
                streaming.result()
            if (block := await getting) is None:
                return
            yield block
    finally:
        streaming.cancel()
        await asyncio.wait({streaming})
