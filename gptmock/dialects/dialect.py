"""
The contract of a client dialect, between the HTTP handler, the gateway and the folder of each dialect.

    Dialect.decode(call, terms)      body bytes -> Turn
    Turn.request                     what goes upstream
    Turn.reply: ReplyPlan            what the client gets back: a translator (stream) or a document (whole)
    Dialect.error(error)             an error before the first byte of a reply
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from gptmock.catalog import Effort, ModelCatalog, ResolvedModel
from gptmock.conversations import NOTHING_RECALLED, Memo, Recalled, Wanted
from gptmock.errors import GptmockError
from gptmock.protocol.delta_runs import DeltaRun
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.reader import Received
from gptmock.protocol.request import ResponsesRequest

ReasoningStyle: TypeAlias = Literal["think-tags", "o3", "legacy", "reasoning-content", "hidden"]
"""How thinking is shown; ``current`` is another name of ``legacy``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the operator fills in where a request leaves something out."""

    reasoning_effort: Effort = "medium"
    reasoning_summary: str = "auto"
    reasoning_style: ReasoningStyle = "think-tags"
    web_search: bool = False
    fast: bool = False
    model: str | None = None
    """For requests that name none; ``None`` means the catalogue's own."""
    debug_model: str | None = None
    """Goes upstream in place of every name."""
    strict_parameters: bool = False
    """Refuse what cannot be honoured, instead of naming it in ``x-gptmock-ignored``."""
    store_responses: bool = False
    """Store responses that do not ask for the opposite."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a dialect needs to understand a call, fixed for the life of a worker or of a catalogue."""

    catalog: ModelCatalog
    defaults: Defaults


@dataclass(frozen=True, slots=True)
class Call:
    """One client call as the HTTP layer received it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    tenant: str = ""
    """Whose call it is; conversations of different tenants never share a cache key."""
    recalled: Recalled = NOTHING_RECALLED
    """What was found for that which the call refers to (``Recalls``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One client call understood: what goes upstream, and the plan of the reply. Nothing here is one dialect's own."""

    request: ResponsesRequest
    resolved: ResolvedModel
    model: str
    """The name as the client wrote it."""
    stream: bool
    reply: ReplyPlan
    """The dialect's own; gateway and server only call it."""
    ignored: tuple[str, ...] = ()
    """Parameters that were accepted and have no effect."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; sent upstream in place of our own."""
    forwards_headers: bool = False
    """The client speaks the backend's own protocol: it gets the backend's response headers, and none of ours."""
    memo: Memo | None = None
    """What the response is stored with; ``None`` when it is not to be stored."""
    account_id: str | None = None
    """The account that served the conversation before: encrypted reasoning opens only there."""


@dataclass(frozen=True, slots=True)
class ReadyReply:
    """One client call understood that needs no model turn, as Ollama's load and unload requests."""

    document: Callable[[ReplyHead], bytes]
    """The whole reply, whether the client streams or not."""


@dataclass(slots=True)
class Progress:
    """How far a turn has come; noted by the gateway on the way."""

    elapsed: Callable[[], float] = lambda: 0.0
    """Seconds since the call came in."""
    accepted_seconds: float | None = None
    begun_seconds: float | None = None

    def accepted(self) -> None:
        """The upstream has taken the turn; of several tries the last counts."""
        self.accepted_seconds = self.elapsed()

    def begun(self) -> None:
        """The first event that says something is here."""
        self.begun_seconds = self.elapsed()


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """What is fixed before the first event, so that machines need no clock and no uuid."""

    id: str
    """29 letters and digits; the dialect puts its own prefix before them."""
    created: int
    """Unix seconds."""
    progress: Progress = field(default_factory=Progress)

    def elapsed(self) -> float:
        """Seconds since the call came in."""
        return self.progress.elapsed()


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error on the wire, before anything else was sent."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    content_type: str = "application/json"


class Translator(Protocol):
    """One streamed reply in the making; used once and never shared."""

    @property
    def failure(self) -> GptmockError | None:
        """What the reply has ended with, if with no success: the upstream's own, or what has no form in the dialect."""

    def feed(self, received: Received) -> list[bytes]:
        """The frames that this event adds; often none. After the end: none."""

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """
        The upstream has ended, because of ``cause`` if there is one.

        Returns the dialect's farewell of a failed reply unless the reply has ended already; never a success.
        """


@runtime_checkable
class CopiesDeltas(Protocol):
    """A translator that can translate the deltas of a run at once."""

    def copy(self, run: DeltaRun) -> bytes | None:
        """
        The frames of the run, as ``feed`` would give them one after another.

        ``None``, and nothing has changed, if its events have to be fed one by one: whenever a delta would do more than
        add to the text that the last one added to.
        """


@runtime_checkable
class WithholdsItsEnd(Protocol):
    """A translator whose turn has a memo: it sends the last frame when it learns whether the response is stored."""

    @property
    def answer(self) -> bytes | None:
        """The Response object as it ends when it is stored; ``None`` unless the last frame is withheld now."""

    def settle(self, *, stored: bool) -> list[bytes]:
        """The last frame, which says whether the response is stored."""


class Fold(Protocol):
    """Collects the events of one turn for ``ReplyPlan.document``; see ``protocol.fold.ResponseFold``."""

    def feed(self, received: Received) -> None:
        """
        Take one event.

        Raises:
            GptmockError: the turn failed.
        """

    def finish(self) -> FoldedResponse:
        """
        The upstream has ended.

        Raises:
            UpstreamBroken: before the turn did.
        """


class ReplyPlan(Protocol):
    """What one reply owes its client. Made by ``Dialect.decode``; what it holds is the dialect's own business."""

    def translator(self, head: ReplyHead) -> Translator:
        """The machine of a streamed reply."""

    def heartbeat(self, head: ReplyHead) -> bytes:
        """Bytes without meaning that may be sent at any time between two frames."""

    def fold(self) -> Fold:
        """What collects the events of a reply that is not streamed."""

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """
        The whole reply of ``stream: false``.

        Raises:
            GptmockError: this dialect has no honest form for how the turn ended.
        """


@runtime_checkable
class KeepsAlive(Protocol):
    """A reply plan whose client may not take a heartbeat for a sign of life."""

    def keepalive(self) -> bytes | None:
        """A whole event without meaning, sent after a long silence besides the heartbeats; ``None``: none needed."""


@runtime_checkable
class SeveralTurns(Protocol):
    """A reply plan whose call takes one upstream turn or more, each for a request of its own."""

    @property
    def further(self) -> tuple[ResponsesRequest, ...]:
        """The requests after ``Turn.request``, in order; often none. The translator expects their events in order."""

    def documents(self, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
        """``ReplyPlan.document`` of all turns, in the order of their requests."""


@runtime_checkable
class SaysWhetherStored(Protocol):
    """A reply plan whose document says whether the response is stored; every turn with a memo has one."""

    def not_stored(self) -> ReplyPlan:
        """The plan of the same reply when storing it has failed."""


@runtime_checkable
class Recalls(Protocol):
    """A dialect whose calls may refer to what was said before."""

    def wanted(self, call: Call) -> Wanted:
        """
        What a call refers to; of a body that cannot be read, nothing: ``decode`` says what is wrong.

        Raises:
            BadRequest: it refers to what cannot exist.
        """


class Dialect(Protocol):
    """One client language. All of it is pure: values in, values out."""

    content_type: str
    """Of streamed replies."""

    def decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        """
        Understand a call.

        Raises:
            BadRequest: before anything was spent, with the field at fault in ``param``.
        """

    def error(self, error: GptmockError) -> ErrorReply:
        """An error in this dialect's own shape."""
