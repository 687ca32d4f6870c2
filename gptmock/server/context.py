"""What a worker holds while it serves: made once per worker, read by every handler. Knows no setting's origin."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import NoReturn, Protocol, TypeAlias

from sanic import Sanic
from sanic.config import Config

from gptmock.clients import Client
from gptmock.conversations import ContextReferences, LoadedContext, Snapshot
from gptmock.dialects.dialect import Progress, ReplyHead, Terms, Turn
from gptmock.gateway.reply import Outcome
from gptmock.gateway.several_turns import AnyReply
from gptmock.protocol.upstream import Compacted

App: TypeAlias = "Sanic[Config, SimpleNamespace]"

ID_CHARACTERS = 29


class OpensTurns(Protocol):
    """``gateway.several_turns.BatchGateway``."""

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[AnyReply]:
        """Have a turn accepted."""

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """Have a conversation compacted."""


class Admits(Protocol):
    """``gateway.admission.Admission``."""

    async def admit(self, headers: dict[str, str]) -> Client:
        """Who asks."""


class KeepsConversations(Protocol):
    """``gateway.stored_responses.ConversationKeeper``."""

    async def recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        """What a request refers to."""

    async def load(self, tenant: str, response_id: str) -> Snapshot:
        """A stored response."""

    async def forget(self, tenant: str, response_id: str) -> None:
        """Delete one."""

    async def cancel(self, tenant: str, response_id: str) -> NoReturn:
        """Refuse to cancel one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Limits and features of the HTTP layer."""

    max_body_bytes: int = 64 * 1024 * 1024
    shutdown_grace_seconds: int = 60
    deadline_seconds: float = 3660.0
    """The longest a turn may take, with a margin: Sanic's own idle timer is raised to it for model calls."""
    heartbeat_seconds: float = 10.0
    """Silence after which a stream says that it lives; the promise is 15."""
    keepalive_seconds: float = 60.0
    """Silence after which a client that does not take a heartbeat for a sign of life gets an event; Codex waits 300."""
    cors_origins: tuple[str, ...] = ()
    """Of web pages that may use this server; none by default."""
    expose_efforts: bool = False
    ollama_version: str = "0.13.5"
    """What ``/api/version`` says."""
    verbose: bool = False
    log_format: str = "text"


@dataclass(slots=True)
class Services:
    """What a worker serves with."""

    gateway: OpensTurns
    admission: Admits
    terms: Terms
    readiness: Callable[[], Awaitable[list[str]]]
    """The reasons for not being ready; none when ready."""
    conversations: KeepsConversations
    label_of: Callable[[str | None], str | None] = field(default=lambda _: None)
    """What people call an account, as far as is known."""
    draining: bool = field(default=False)


def new_head() -> ReplyHead:
    """A reply's fixed parts, at the time of the call."""
    started = time.monotonic()
    return ReplyHead(
        id=secrets.token_hex(ID_CHARACTERS // 2 + 1)[:ID_CHARACTERS],
        created=int(time.time()),
        progress=Progress(partial(_since, started)),
    )


def _since(started: float) -> float:
    return time.monotonic() - started
