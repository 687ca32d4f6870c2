"""Test environment for logins: the simulator's issuer, a store in memory, and an HTTP client as the browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx

from gptmock.accounts import Login
from gptmock.gateway.logins import LoginBook
from gptmock.login.flow import BrowserLogin
from gptmock.simulator.options import CODEX_CLIENT_ID
from gptmock.simulator.server import Simulator, SimulatorOptions
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer, SealingKey
from gptmock.stores.vault import SealedVault
from gptmock.upstream.issuer import OAuthIssuer
from tests.gateway.memory import Clock, MemoryEscrow
from tests.ports import free_port

KEY = SealingKey.from_bytes(bytes(range(32)))


class Typed:
    """Standard input: lines that the test types; it ends only with ``close``."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    def type(self, line: str) -> None:
        self._lines.put_nowait(line)

    def close(self) -> None:
        """End of input."""
        self._lines.put_nowait(None)

    async def lines(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            yield line


@dataclass
class Site:
    """One store and one issuer; nobody is signed in yet."""

    simulator: Simulator
    issuer: OAuthIssuer
    browser: httpx.AsyncClient
    clock: Clock
    place: MemoryPlace = field(default_factory=MemoryPlace)
    escrow: MemoryEscrow = field(default_factory=MemoryEscrow)

    def __post_init__(self) -> None:
        self.vault = self.another_process()
        self.board = SharedLimits(MemoryStore(self.place))
        self.book = LoginBook(self.vault, self.board, self.escrow, self.issuer, clock=self.clock)

    def another_process(self) -> SealedVault:
        """A vault with an empty cache, as in a new process."""
        return SealedVault(MemoryStore(self.place), Sealer([KEY]), clock=self.clock)

    @asynccontextmanager
    async def waiting(self, *, label: str | None = None, seconds: float = 30.0) -> AsyncIterator[Waiting]:
        """A browser login that waits, on ports of its own."""
        attempt = BrowserLogin(self.issuer, partial(self.book.enroll, label=label))
        waiting = Waiting(attempt, Typed())
        async with attempt.listening("127.0.0.1", (free_port(), free_port())):
            finish = attempt.finish(waiting.keyboard.lines(), say=waiting.said.append, seconds=seconds, skippable=True)
            waiting.result = asyncio.get_running_loop().create_task(finish)
            try:
                yield waiting
            finally:
                waiting.result.cancel()
                await asyncio.gather(waiting.result, return_exceptions=True)

    async def redirect(self, url: str, **more: str) -> str:
        """The URL that the issuer redirects the browser to."""
        answer = await self.browser.get(url, params={**dict(httpx.URL(url).params), **more})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def sign_in(self, *, label: str | None = None, **person: str) -> Login:
        """A person signs in with a browser, from beginning to end."""
        async with self.waiting(label=label) as waiting:
            page = await self.browser.get(await self.redirect(waiting.attempt.url, **person))
            login = await waiting.result
            assert page.status_code == 200
            assert login.label in page.text
            return login


@dataclass
class Waiting:
    """A login under way."""

    attempt: BrowserLogin
    keyboard: Typed
    said: list[str] = field(default_factory=list)
    result: asyncio.Task[Login] = field(init=False)

    @property
    def base_url(self) -> str:
        return self.attempt.redirect_uri.removesuffix("/auth/callback")


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    async with (
        Simulator(SimulatorOptions(any_redirect_port=True)) as simulator,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        issuer = OAuthIssuer(client, simulator.issuer_url, client_id=CODEX_CLIENT_ID)
        yield Site(simulator, issuer, client, Clock())
