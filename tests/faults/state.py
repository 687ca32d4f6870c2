"""What the tests of shared state have in common: where it rests, who is signed in, what was spent, and the load."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from gptmock.accounts import Account, IssuedTokens, Secret, TokenSet, account_of, expiry_of
from gptmock.settings import Settings
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from tests.harness import CHAT_PATH, SimulatorProcess, chat, client
from tests.stores.servers import RedisServer, binary_of, running

FULL = os.environ.get("GPTMOCK_FULL_FAULTS") == "1"
"""The counts that the promises are made for; without it, as many as fit into every run."""
STAGED = (sys.executable, "-m", "tests.faults.staged")
LOOK_SECONDS = 1.0
"""A change in the store is seen by all workers after this long."""
POLL_SECONDS = 0.5
"""How long one look waits for a store that may have died: the next look may find another server in its place."""
KEY = base64.b64encode(bytes(range(32))).decode()


def times(usual: int, full: int) -> int:
    """How often a fault is repeated."""
    return full if FULL else usual


@dataclass
class Place:
    """Where a server's state rests, and how another process gets at it."""

    kind: str
    home: Path
    redis: RedisServer | None = None
    keys: str = KEY
    url: str | None = None
    """Of a store that is more than one server."""

    @property
    def env(self) -> dict[str, str]:
        """What ``serve`` is told."""
        told = {"GPTMOCK_ENCRYPTION_KEYS": self.keys}
        url = self.redis.url if self.redis is not None else self.url
        return told if url is None else {**told, "GPTMOCK_REDIS_URL": url}

    @property
    def settings(self) -> Settings:
        """The same as an object."""
        return load_settings({"home": str(self.home)}, environ=self.env, directory=self.home)

    @asynccontextmanager
    async def opened(self, *, timeout_seconds: float | None = None) -> AsyncIterator[State]:
        """The state, as one more process sees it; without a timeout it waits long for a store that is held up."""
        async with open_state(self.settings, timeout_seconds=timeout_seconds) as state:
            yield state

    async def enroll(self, document: dict[str, Any], *, label: str | None = None, aged: bool = False) -> Account:
        """A person signs in; ``aged`` tokens are due for a refresh as soon as they are short-lived."""
        tokens = tokens_of(document)
        if aged:
            tokens = replace(tokens, last_refresh=time.time() - 7200)
        async with self.opened() as state:
            await state.vault.enroll(tokens, label=label)
        return tokens.account

    async def stored(self, account_id: str) -> TokenSet:
        """What the store itself holds: a new process has seen nothing else."""
        async with self.opened() as state:
            return await state.vault.load(account_id)

    async def version(self, account_id: str) -> int:
        """Of what the store holds; -1 while it does not answer or holds nothing."""
        try:
            async with self.opened(timeout_seconds=POLL_SECONDS) as state:
                return (await state.vault.load(account_id)).version
        except Exception:  # noqa: BLE001 - an emptied store and a dead one are both no answer
            return -1

    async def until_version(self, account_id: str, version: int, *, seconds: float = 10.0) -> None:
        """Wait until the store holds at least this version."""
        async with asyncio.timeout(seconds):
            while await self.version(account_id) < version:  # noqa: ASYNC110 - what is awaited knows no event
                await asyncio.sleep(0.02)


@contextmanager
def a_redis(*arguments: str) -> Iterator[RedisServer]:
    """Whichever server there is, with every write on the disk before it is answered."""
    kind = "valkey" if binary_of("valkey") is not None else "redis"
    with running(kind, "--appendonly", "yes", "--appendfsync", "always", *arguments) as server:
        yield server


def tokens_of(document: dict[str, Any]) -> TokenSet:
    """The tokens of an auth.json document."""
    members = document["tokens"]
    access, refresh, identity = (Secret(members[name]) for name in ("access_token", "refresh_token", "id_token"))
    account = account_of(IssuedTokens(access, refresh, identity), known_workspace=members["account_id"])
    assert account is not None
    return TokenSet(
        account=account,
        access_token=access,
        refresh_token=refresh,
        id_token=identity,
        version=0,
        expires_at=expiry_of(access),
        last_refresh=time.time(),
    )


def login_again(simulator: SimulatorProcess, account: Account, **order: Any) -> dict[str, Any]:
    """The same person's next login."""
    return simulator.new_login(account_id=account.workspace_id, user_id=account.user_id, **order)


def exchanges(simulator: SimulatorProcess) -> dict[str, int]:
    return dict(simulator.stats()["token_exchanges"])


def spent_twice(simulator: SimulatorProcess) -> int:
    return int(simulator.stats()["refresh_tokens_spent_twice"])


async def statuses(base_url: str, count: int, *, stream: bool = False, text: str = "scene:text") -> Counter[int]:
    """So many requests at once, each on a connection of its own."""
    async with client(base_url) as opened:
        asked = (opened.post(CHAT_PATH, json=chat(text, stream=stream)) for _ in range(count))
        answers = await asyncio.gather(*asked)
    for answer in answers:
        if answer.status_code != 200:
            print(answer.status_code, answer.text)  # noqa: T201 - shown when the test fails
        if answer.status_code == 200 and stream:
            assert answer.content.endswith(b"data: [DONE]\n\n")
    return Counter(answer.status_code for answer in answers)


@dataclass
class Load:
    """Requests one after another in several lines, while something happens to the server."""

    statuses: Counter[int] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)
    """When each began, and its seconds."""
    bodies: list[str] = field(default_factory=list)
    """Of those that failed."""
    broken: int = 0
    """Connections that ended without an answer: their worker was killed."""

    def since(self, moment: float) -> list[float]:
        """The seconds of those that began after a moment."""
        return [seconds for began, seconds in self.took if began >= moment]


@asynccontextmanager
async def load(base_url: str, *, lines: int = 4, pause_seconds: float = 0.02) -> AsyncIterator[Load]:
    """Requests until the context is left; a connection each, so that every worker is met."""
    made, stop = Load(), asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                async with client(base_url) as opened:
                    answer = await opened.post(CHAT_PATH, json=chat("scene:text"))
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                made.broken += 1
                continue
            made.took.append((began, time.monotonic() - began))
            made.statuses[answer.status_code] += 1
            if answer.status_code != 200:
                made.bodies.append(answer.text)
            await asyncio.sleep(pause_seconds)

    running_lines = [asyncio.ensure_future(ask()) for _ in range(lines)]
    try:
        yield made
    finally:
        stop.set()
        await asyncio.gather(*running_lines)


async def eventually(condition: Callable[[], bool], *, seconds: float) -> float:
    """Wait for a condition; returns how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.02)
    return time.monotonic() - began


class Stages:
    """The test's side of ``staged``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    @property
    def env(self) -> dict[str, str]:
        return {"TEST_STAGES": str(self._folder)}

    def arm(self, stage: str) -> None:
        """The next refresh that comes there waits."""
        (self._folder / f"armed-{stage}").touch()

    async def reached(self, stage: str, *, seconds: float = 20.0) -> int:
        """The process that waits there."""
        found: list[Path] = []
        async with asyncio.timeout(seconds):
            while not (found := list(self._folder.glob(f"reached-{stage}-*"))):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return int(found[0].name.rpartition("-")[2])

    def go(self) -> None:
        """Let everybody go on; nobody waits any more."""
        for path in self._folder.iterdir():
            path.unlink()


def report(**figures: Any) -> None:
    """What was measured, for ``pytest -s`` and for the summary of a failure."""
    print("measured:", ", ".join(f"{name}={value}" for name, value in figures.items()))  # noqa: T201
