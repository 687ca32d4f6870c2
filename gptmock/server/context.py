"""The options and services that request handlers use, and protocols of the services. Knows no environment variable."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol, TypeAlias

from sanic import Sanic
from sanic.config import Config

from gptmock.clients import Client
from gptmock.conversations import ContextReferences, LoadedContext, Snapshot
from gptmock.dialects.dialect import Progress, ReplyHead, Terms, Turn
from gptmock.gateway.invitations import Reception
from gptmock.gateway.key_limits import UNLIMITED, Grant
from gptmock.gateway.key_usage import KeyUsage
from gptmock.gateway.page_sessions import PageSessions
from gptmock.gateway.reply import Outcome
from gptmock.gateway.several_turns import AnyReply
from gptmock.gateway.shown_limits import ShownLimits
from gptmock.gateway.team import Team
from gptmock.live import LiveTurn, UpstreamTry
from gptmock.protocol.upstream import Compacted, Relayed
from gptmock.server.client_bounds import ConnectionDeadlines

App: TypeAlias = "Sanic[Config, SimpleNamespace]"

ID_CHARACTERS = 29


class OpensTurns(Protocol):
    """Opens model calls (``gateway.several_turns.BatchGateway``)."""

    def open(
        self, turn: Turn, head: ReplyHead, outcome: Outcome, *, account_id: str | None = None
    ) -> AbstractAsyncContextManager[AnyReply]:
        """Send a turn upstream until it is accepted."""

    async def compact(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Compacted:
        """Compact a conversation."""

    async def relay(self, turn: Turn, outcome: Outcome, *, account_id: str | None = None) -> Relayed:
        """Pass on a side call."""


class Admits(Protocol):
    """Authenticates requests (``gateway.admission.Admission``)."""

    async def admit(self, headers: Mapping[str, str], *, source: str | None = None) -> Client:
        """Check the client key; raises ``Unauthorized``, and ``TooManyRequests`` if ``source`` guesses."""

    async def known(self, tenant: str) -> Client | None:
        """The caller of a tenant whose key is still valid."""


class LimitsKeys(Protocol):
    """Holds calls to the limits of client keys (``gateway.key_limits.KeyLimiter``)."""

    def begin(self, client: Client) -> Grant:
        """Begin the admission of a call."""

    def turns_by_key(self) -> Mapping[str, int]:
        """The turns of this worker that hold a place of a limited key, by the id of the key."""


class NoLimits:
    """``LimitsKeys`` without limits."""

    def begin(self, client: Client) -> Grant:  # noqa: ARG002 - alike for all
        """See ``LimitsKeys.begin``."""
        return UNLIMITED

    def turns_by_key(self) -> Mapping[str, int]:
        """See ``LimitsKeys.turns_by_key``."""
        return {}


class ReportsUsage(Protocol):
    """The usage of client keys (``gateway.key_usage.KeyUsageReport``)."""

    async def of(self, client: Client, *, days: int) -> KeyUsage:
        """What a caller has used, and its limits."""


class KeepsConversations(Protocol):
    """Stored responses (``gateway.stored_responses.ConversationKeeper``)."""

    async def recall(self, tenant: str, references: ContextReferences) -> LoadedContext:
        """Load what a request refers to."""

    async def load(self, tenant: str, response_id: str) -> Snapshot:
        """Load a stored response."""

    async def forget(self, tenant: str, response_id: str) -> None:
        """Delete a stored response."""

    async def cancel(self, tenant: str, response_id: str) -> NoReturn:
        """Raise the error for cancelling a stored response."""


class TracesTurns(Protocol):
    """Makes spans of model calls (``metrics.traces.Traces``)."""

    def turn(
        self,
        fields: Mapping[str, Any],
        headers: Mapping[str, str],
        tries: Sequence[UpstreamTry],
        *,
        started_ns: int,
        response: Mapping[str, str | None],
    ) -> None:
        """Make the spans of a turn that has ended just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Limits and features of the HTTP layer."""

    max_body_bytes: int = 64 * 1024 * 1024
    """Also after decompression."""
    max_connections: int | None = None
    """Client connections of a worker; by default from its file descriptors, as below."""
    max_streams: int | None = None
    """Model calls in progress in a worker."""
    deadlines: ConnectionDeadlines = field(default_factory=ConnectionDeadlines)
    """How long a client may take to send a request."""
    shutdown_grace_seconds: int = 60
    deadline_seconds: float = 3660.0
    """The longest duration of a turn, with a margin: Sanic's idle timeout is raised to it for model calls."""
    heartbeat_seconds: float = 10.0
    """Silence after which a stream sends a heartbeat; documented as at most 15."""
    keepalive_seconds: float = 60.0
    """Silence after which clients that ignore heartbeat comments get an event; Codex times out after 300."""
    write_stall_seconds: float = 60.0
    """A client that reads nothing of its stream for so long, though there is something to read, is disconnected."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may use this server; none by default."""
    metrics_address: tuple[str, int] | None = None
    """Host and port of the listener for scrapes alone; ``None`` for none."""
    expose_efforts: bool = False
    image_models: bool = False
    """Whether ``/v1/models`` lists what makes images."""
    transcription: bool = False
    """Whether there is ``/v1/audio/transcriptions``."""
    ollama_version: str = "0.13.5"
    """The version in ``/api/version``."""
    verbose: bool = False
    log_format: str = "text"
    bound_host: str = "127.0.0.1"
    """The address or name that the server listens on; empty for a Unix socket."""
    is_exposed: bool = False
    """Whether other machines can connect."""
    requires_key: bool = False
    """Whether requests without a valid client key are refused."""
    allowed_hosts: tuple[str, ...] = ()
    """Further host names of this server, for the browser guard."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies whose forwarding headers are believed; ``unix`` for the Unix socket."""
    public_url: str = ""
    """Our https origin, for a Codex that is signed in; empty for the host of each request."""
    base_path: str = ""
    """The prefix of all routes, such as ``/gptmock``; empty for none."""


async def _no_metrics() -> bytes:
    return b""


@dataclass(slots=True)
class Activity:
    """What a worker is doing now, counted where it begins and ends."""

    turns: int = 0
    """Model calls."""
    streams: int = 0
    """Those of them that are being streamed to their client."""
    count_connections: Callable[[], int] = lambda: 0
    """Those of clients."""
    live: dict[int, Callable[[], LiveTurn]] = field(default_factory=dict)
    """Describes each model call in progress, by ``id`` of what runs it; the oldest first."""


@dataclass(slots=True)
class Services:
    """The services of one worker."""

    gateway: OpensTurns
    admission: Admits
    terms: Terms
    readiness: Callable[[], Awaitable[list[str]]]
    """Why ``/readyz`` is 503; empty when ready."""
    conversations: KeepsConversations
    label_of: Callable[[str | None], str | None] = field(default=lambda _: None)
    """The cached label of an account id, for the log."""
    limits: LimitsKeys = field(default_factory=NoLimits)
    usage: ReportsUsage | None = None
    shown_limits: ShownLimits | None = None
    team: Team | None = None
    """What the admin API administers and shows."""
    sessions: PageSessions | None = None
    """Of people who have signed in to the page."""
    reception: Reception | None = None
    """Of people who were invited."""
    exposition: Callable[[], Awaitable[bytes]] = field(default=_no_metrics)
    """The metrics of this server in the Prometheus text format."""
    traces: TracesTurns | None = None
    """``None``: nobody wants traces."""
    activity: Activity = field(default_factory=Activity)
    draining: bool = field(default=False)
    """Set once the worker was told to stop."""


def new_head(request_id: str = "") -> ReplyHead:
    """The id, creation time and clock of the reply to a request."""
    started = time.monotonic()
    return ReplyHead(
        id=secrets.token_hex(ID_CHARACTERS // 2 + 1)[:ID_CHARACTERS],
        created=int(time.time()),
        request_id=request_id,
        progress=Progress(partial(_since, started)),
    )


def _since(started: float) -> float:
    return time.monotonic() - started
