"""
The contract of a client dialect, between the HTTP handler, the gateway and the folder of each dialect.

    Dialect.decode(call, terms)      body bytes -> Turn
    Turn.request                     what goes upstream
    Turn.reply: ReplyPlan            what the client gets back: a translator (stream) or a document (whole)
    Dialect.error(error)             an error before the first byte of a reply
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, cast

from gptmock import clients
from gptmock.catalog import Effort, ModelCatalog, ResolvedModel
from gptmock.conversations import NO_CONTEXT, ContextReferences, LoadedContext, PendingSnapshot
from gptmock.dialects.forms import Form
from gptmock.errors import GptmockError
from gptmock.protocol.delta_runs import DeltaPlace, DeltaRun
from gptmock.protocol.fold import FoldedResponse
from gptmock.protocol.reader import Received
from gptmock.protocol.request import ResponsesRequest

ReasoningStyle: TypeAlias = clients.ReasoningStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The operator's defaults for what a request leaves out."""

    reasoning_effort: Effort = "medium"
    reasoning_summary: str = "auto"
    reasoning_style: ReasoningStyle = "think-tags"
    web_search: bool = False
    fast: bool = False
    model: str | None = None
    """For requests that name none; ``None`` means the catalogue's default."""
    debug_model: str | None = None
    """Sent upstream in place of any model name."""
    strict_parameters: bool = False
    """Refuse parameters without effect, instead of naming them in ``x-gptmock-ignored``."""
    anthropic_models: Mapping[str, str] = field(default_factory=dict)
    """Family of Claude models (``opus``, ``sonnet``, ``haiku``, ``fable``) to the model that stands for it."""
    store_responses: bool = False
    """Whether ``store`` defaults to true for Responses requests."""


class Sealing(Protocol):
    """Encrypts records that leave this server; any server with the same keys opens them (``stores.seal.Sealer``)."""

    def seal(self, plain: bytes, *, kind: str, name: str, version: int) -> bytes:
        """Encrypt; ``kind``, ``name`` and ``version`` are authenticated with the record."""

    def open(self, sealed: bytes, *, kind: str, name: str, version: int) -> bytes:
        """
        Decrypt a record with the kind, name and version it was sealed with.

        Raises:
            SealBroken: no key fits, or the record was changed.
        """


def any_model(_: str) -> bool:
    """Allows every model."""
    return True


@dataclass(frozen=True, slots=True)
class Terms:
    """The model catalogue and the defaults that a call is decoded with; replaced when the catalogue changes."""

    catalog: ModelCatalog
    defaults: Defaults
    sealing: Sealing | None = None
    """Seals what a client keeps for us; ``None`` seals nothing."""
    allows: Callable[[str], bool] = any_model
    """Whether the caller may use the model of this slug; decides what a name stands for that may stand for several."""


@dataclass(frozen=True, slots=True)
class Call:
    """One client call as the HTTP layer received it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    tenant: str = ""
    """The id of the client key; tenants never share a cache key or a stored response."""
    form: Form | None = None
    """A multipart form in the place of ``body``, for dialects whose route takes forms."""
    context: LoadedContext = NO_CONTEXT
    """The stored conversation that the call refers to (``UsesStoredContext``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A decoded client call: the upstream request and the reply plan, in terms common to all dialects."""

    request: ResponsesRequest
    resolved: ResolvedModel
    model: str
    """The name as the client wrote it."""
    stream: bool
    reply: ReplyPlan
    """Renders the reply; specific to the dialect."""
    ignored: tuple[str, ...] = ()
    """Parameters that were accepted and have no effect; among them names of the client's own choice, of any length."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers sent upstream in place of ours; names in lower case."""
    forwards_headers: bool = False
    """A Codex client: it gets the backend's response headers instead of ours."""
    pending_snapshot: PendingSnapshot | None = None
    """What the response is stored with; ``None`` if it is not to be stored."""
    account_id: str | None = None
    """The account that served the conversation before: encrypted reasoning opens only there."""


@dataclass(frozen=True, slots=True)
class ReadyReply:
    """A decoded client call that needs no model turn, such as Ollama's load and unload requests."""

    document: Callable[[ReplyHead], bytes]
    """The whole reply, whether the client streams or not."""


@dataclass(slots=True)
class Progress:
    """Timestamps and account of a turn, set by the gateway."""

    elapsed: Callable[[], float] = lambda: 0.0
    """Seconds since the call came in."""
    accepted_seconds: float | None = None
    begun_seconds: float | None = None
    account_id: str | None = None
    """The account that serves the turn; ``None`` until it is accepted. Encrypted reasoning opens only there."""

    def accepted(self) -> None:
        """The upstream has answered 200; after retries the last attempt counts."""
        self.accepted_seconds = self.elapsed()

    def begun(self) -> None:
        """The first event with content has arrived."""
        self.begun_seconds = self.elapsed()


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """Id and time of a reply, fixed before the first event so that translators need no clock and no uuid."""

    id: str
    """29 letters and digits; the dialect puts its own prefix before them."""
    created: int
    """Unix seconds."""
    progress: Progress = field(default_factory=Progress)
    request_id: str = ""
    """``x-request-id`` of the call, for formats that repeat it."""

    def elapsed(self) -> float:
        """Seconds since the call came in."""
        return self.progress.elapsed()


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as an HTTP response; possible only before the first byte of the reply."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    content_type: str = "application/json"
    with_request_id: Callable[[str], bytes] | None = field(default=None, compare=False)
    """The body with the id of the request, where the format has a member for it."""


class Translator(Protocol):
    """Renders one streamed reply: upstream events in, frames out. Used once and never shared."""

    @property
    def failure(self) -> GptmockError | None:
        """The error that the reply ended with: the upstream's, or that of an ending the dialect cannot express."""

    def feed(self, received: Received) -> list[bytes]:
        """The frames for this event; often none, and always none after the end."""

    def finish(self, cause: GptmockError | None = None) -> list[bytes]:
        """
        The upstream stream has ended, with ``cause`` if that was an error.

        Returns the dialect's error frames unless the reply has ended already; never frames of a success.
        """


_T = TypeVar("_T")


def supports(value: object, contract: type[_T]) -> TypeGuard[_T]:
    """Whether a value has the members of an optional contract; as ``isinstance``, which takes 10 us for it."""
    members = _members(cast("Any", contract))
    return all(hasattr(value, name) for name in members)


@functools.cache
def _members(contract: Any) -> tuple[str, ...]:
    return tuple(name for name in vars(contract) if not name.startswith("_"))


CopiesDelta: TypeAlias = Callable[[bytes, bytes], bytes]
"""From the literal of one delta and its padding (as in ``DeltaRun``) to its frames."""


class CopiesDeltas(Protocol):
    """A translator that can translate the deltas of a run at once."""

    def copy(self, run: DeltaRun) -> bytes | None:
        """
        The frames of the run, as ``feed`` would give them one after another.

        ``None``, and nothing has changed, if its events have to be fed one by one: whenever a delta would do more than
        add to the text that the last one added to.
        """

    def lane(self, place: DeltaPlace) -> CopiesDelta | None:
        """
        What copies one more delta at the place of the last run; ``None`` if that was not copied. Valid until anything
        else is fed or copied.
        """


class WithholdsItsEnd(Protocol):
    """A translator of a turn with a pending snapshot: it sends the last frame only after ``settle``."""

    @property
    def answer(self) -> bytes | None:
        """The final Response object, to be stored; ``None`` unless the last frame is withheld now."""

    def settle(self, *, stored: bool) -> list[bytes]:
        """The last frame, whose ``store`` member says whether the response was stored."""


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
    """How one reply is rendered. Made by ``Dialect.decode``; its contents are private to the dialect."""

    def translator(self, head: ReplyHead) -> Translator:
        """A translator for a streamed reply."""

    def heartbeat(self, head: ReplyHead) -> bytes:
        """A frame that clients ignore; may be sent between any two frames."""

    def fold(self) -> Fold:
        """A collector for a reply that is not streamed."""

    def document(self, head: ReplyHead, folded: FoldedResponse) -> bytes:
        """
        The response body for ``stream: false``.

        Raises:
            GptmockError: this dialect cannot express how the turn ended.
        """


class KeepsAlive(Protocol):
    """A reply plan whose client may time out although it receives heartbeats."""

    def keepalive(self) -> bytes | None:
        """An event that the client ignores, sent after a long silence besides heartbeats; ``None`` if not needed."""


class ExplainsFailures(Protocol):
    """A reply plan that says more of a failure than the upstream does, before the first byte of the reply."""

    def reworded(self, error: GptmockError) -> GptmockError:
        """
        The error to show; often the same, and always the same for one that was reworded before. May take as long as
        the decoding of the request did, so it is called where that was.
        """

    def answer(self, head: ReplyHead, error: GptmockError) -> bytes | None:
        """A whole reply, streamed or not, where this is no error for the dialect; mostly ``None``."""


class SeveralTurns(Protocol):
    """A reply plan whose call may need several upstream turns, one per request."""

    @property
    def further(self) -> tuple[ResponsesRequest, ...]:
        """The requests after ``Turn.request``; often none. The translator expects their events in this order."""

    def documents(self, head: ReplyHead, answers: Sequence[FoldedResponse]) -> bytes:
        """``ReplyPlan.document`` for all turns, in the order of their requests."""


class SeveralTurnsAtOnce(SeveralTurns, Protocol):
    """A ``SeveralTurns`` whose turns run at the same time where nothing is streamed: none has to go first."""

    @property
    def turns_at_once(self) -> int:
        """How many at most."""


class SaysWhetherStored(Protocol):
    """A reply plan whose document has ``store``; every turn with a pending snapshot has such a plan."""

    def not_stored(self) -> ReplyPlan:
        """The plan of the same reply after storing failed: ``store`` is false."""


class UsesStoredContext(Protocol):
    """A dialect whose calls may refer to stored responses and items."""

    def context_references(self, call: Call) -> ContextReferences:
        """
        The stored responses and items that a call refers to; empty if the body cannot be read, since ``decode`` reports
        that.

        Raises:
            BadRequest: ``previous_response_id`` cannot be the id of a response.
        """


class Dialect(Protocol):
    """One client API. Pure: values in, values out."""

    content_type: str
    """Of streamed replies."""

    def decode(self, call: Call, terms: Terms) -> Turn | ReadyReply:
        """
        Decode a call.

        Raises:
            BadRequest: the call is invalid; the field at fault is in ``param``.
        """

    def error(self, error: GptmockError) -> ErrorReply:
        """Render an error in this dialect's format."""
