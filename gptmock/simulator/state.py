"""The state of a running simulator: recorded requests, token exchanges, streams, queued scenes. In memory, bounded."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.catalogue import Catalogue, load_catalogue
from gptmock.simulator.device import CodeRegistry
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.steps import Json

REQUESTS_LIMIT = 10_000
BODIES_LIMIT_BYTES = 128 * 1024 * 1024
SOCKET_METHOD = "WEBSOCKET"
"""``RecordedRequest.method`` of a message on a WebSocket."""
MODEL_PATH = "/backend-api/codex/responses"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One recorded request."""

    at: float
    """Unix time in seconds."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Decoded JSON or form fields; None when there is no body or it is neither."""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchange:
    """One call of the token endpoint."""

    at: float
    grant_type: str
    outcome: str
    """``ok``, else the error code."""
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClosure:
    """A stream whose client disconnected before the end."""

    at: float
    scene: str
    after_seconds: float
    """Since the response head was sent."""


class RequestLog:
    """The latest requests, at most ``REQUESTS_LIMIT`` and ``BODIES_LIMIT_BYTES``."""

    def __init__(self) -> None:
        self._records: deque[RecordedRequest] = deque()
        self._bytes = 0

    def append(self, record: RecordedRequest) -> None:
        """Add a record; the oldest ones are dropped."""
        self._records.append(record)
        self._bytes += record.size_bytes
        while len(self._records) > REQUESTS_LIMIT or (self._bytes > BODIES_LIMIT_BYTES and len(self._records) > 1):
            self._bytes -= self._records.popleft().size_bytes

    def __iter__(self) -> Any:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> RecordedRequest:
        return self._records[index]


@dataclass
class SimulatorState:
    """Everything that a test can read from or change in a running simulator."""

    options: SimulatorOptions
    requests: RequestLog = field(default_factory=RequestLog)
    token_exchanges: deque[TokenExchange] = field(default_factory=lambda: deque(maxlen=REQUESTS_LIMIT))
    closures: deque[ClientClosure] = field(default_factory=lambda: deque(maxlen=REQUESTS_LIMIT))
    scenes: deque[str] = field(default_factory=deque)
    """Queued scene names, one for each of the next model calls."""
    token_faults: deque[str] = field(default_factory=deque)
    """Queued fault names, one for each of the next calls of the token endpoint; see ``issuer.TOKEN_FAULTS``."""
    socket_faults: deque[int] = field(default_factory=deque)
    """Queued close codes, one for each of the next turns on WebSockets, before its first event; 1006 resets."""
    open_sockets: int = 0
    sockets_opened: int = 0
    sockets_ended_at: float = 0.0
    """By the monotonic clock; see ``sockets_end``."""
    limits: dict[str, float] = field(default_factory=dict)
    """Workspace id to the Unix time, in seconds, when its reached usage limit resets."""
    model_call_count: int = 0
    image_call_count: int = 0
    tokens_ok: int = 0
    tokens_refused: int = 0
    open_streams: int = 0
    closed_by_client: int = 0
    stopping: bool = False
    catalogue: Catalogue = field(default_factory=load_catalogue)
    devices: CodeRegistry = field(default_factory=CodeRegistry)
    logins: TokenRegistry = field(init=False)

    def __post_init__(self) -> None:
        self._first_options = self.options
        self._left = asyncio.Event()
        self.logins = TokenRegistry(lambda: self.options)

    def model_calls(self) -> list[RecordedRequest]:
        """The recorded model calls, oldest first."""
        return [each for each in self.requests if each.path == MODEL_PATH and each.method == "POST"]

    def socket_calls(self) -> list[RecordedRequest]:
        """The recorded model calls on WebSockets, oldest first."""
        return [each for each in self.requests if each.path == MODEL_PATH and each.method == SOCKET_METHOD]

    def sockets_end(self) -> None:
        """No turn begins any more on a WebSocket that is open now, as if its age were reached."""
        self.sockets_ended_at = time.monotonic()

    def exchanged(self, grant_type: str, outcome: str, account_id: str = "") -> None:
        """Record a call of the token endpoint."""
        done = TokenExchange(at=time.time(), grant_type=grant_type, outcome=outcome, account_id=account_id)
        self.token_exchanges.append(done)
        self.tokens_ok += outcome == "ok"
        self.tokens_refused += outcome != "ok"

    def limited_seconds(self, account_id: str) -> float:
        """Seconds until this account's usage limit resets; 0.0 if it is not reached."""
        return max(0.0, self.limits.get(account_id, 0.0) - time.time())

    def client_left(self, scene: str, after_seconds: float) -> None:
        """Record that a client disconnected in the middle of a stream."""
        self.closed_by_client += 1
        self.closures.append(ClientClosure(at=time.time(), scene=scene, after_seconds=after_seconds))
        self._left.set()

    async def until_closed(self, count: int = 1, *, seconds: float = 1.0) -> ClientClosure:
        """
        Wait until ``count`` clients have disconnected in the middle of a stream; returns the last closure.

        Raises:
            TimeoutError: fewer had disconnected after ``seconds``.
        """
        async with asyncio.timeout(seconds):
            while self.closed_by_client < count:
                self._left.clear()
                await self._left.wait()
        return self.closures[-1]

    def stats(self) -> Json:
        """The counts that the control API returns."""
        return {
            "model_calls": self.model_call_count,
            "image_calls": self.image_call_count,
            "token_exchanges": {"ok": self.tokens_ok, "refused": self.tokens_refused},
            "open_streams": self.open_streams,
            "closed_by_client": self.closed_by_client,
            "refresh_tokens_spent_twice": self.logins.spent_twice,
            "queued_scenes": list(self.scenes),
        }

    def reset(self, *, forget_logins: bool = False) -> None:
        """Restore the initial options, clear records and queues, and with ``forget_logins`` delete issued tokens."""
        self.options = self._first_options
        self.requests = RequestLog()
        for kept in (self.token_exchanges, self.closures):
            kept.clear()
        self.scenes.clear()
        self.socket_faults.clear()
        self.sockets_opened = 0
        self.token_faults.clear()
        self.limits.clear()
        self.model_call_count = self.image_call_count = self.tokens_ok = self.tokens_refused = self.closed_by_client = 0
        if forget_logins:
            self.logins.forget()
