"""The messages of one turn on a WebSocket as the body of an event stream, and what has to be known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gptmock.errors import GptmockError
from gptmock.upstream.bodies import PushedBody
from gptmock.upstream.refusals import with_limits
from gptmock.upstream.websocket_connection import Loss, WebSocketConnection
from gptmock.upstream.websocket_events import (
    NOT_FOUND,
    TERMINAL,
    TOO_OLD,
    error_code,
    framed,
    headers_in,
    is_about_the_connection,
    kind_of,
)


class NotBegunError(Exception):
    """The turn has not begun: no message came, or a refusal to continue on this connection. It may be sent again."""

    def __init__(self, loss: Loss | None, code: str | None = None) -> None:
        super().__init__(code or (f"close code {loss.code}" if loss is not None else ""))
        self.loss = loss
        """How the connection was lost; ``None`` if the upstream refused to continue on it."""


class _Done(msgspec.Struct):
    item: msgspec.Raw


class _Response(msgspec.Struct):
    id: str


class _Completed(msgspec.Struct):
    response: _Response


class WebSocketBody(PushedBody):
    """
    The body of one turn.

    Args:
        connection: carries it.
        refused: makes the error of an ``error`` event before any other.
        finished: called once after ``begun``, when the connection carries nothing of the turn any more: with the
            response's id and its output items if it was completed, else without an id.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        *,
        refused: Callable[[bytes], GptmockError],
        finished: Callable[[str | None, list[bytes]], None],
    ) -> None:
        super().__init__()
        self._connection: WebSocketConnection | None = connection
        self._refused = refused
        self._finished = finished
        self._output: list[bytes] = []
        self.headers: dict[str, str] = {}
        """What the messages before the first event said in the place of response headers; names in lower case."""
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the first event of the response, or when the connection is lost behind other messages."""
        self._is_answered = False
        """Some message of the turn has come: the upstream has taken it, and it must not be sent again."""

    async def aclose(self) -> None:
        """Let go of the connection: it is closed unless the response has ended, since no message cancels a turn."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._finish(None)
            connection.abort()
        # Whoever waited for it has gone.
        self.begun.cancel()

    def _resume_reading(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # --- From the connection ------------------------------------------------------

    def received_messages(self, messages: list[bytes]) -> bool:
        """See ``TakesMessages``."""
        frames: list[bytes] = []
        ends = False
        self._is_answered = True
        for message in messages:
            kind = kind_of(message)
            if kind is None:
                # The reader counts it as garbage.
                frames.append(framed("", message))
            elif is_about_the_connection(kind):
                if not self.begun.done():
                    self.headers.update(headers_in(kind, message))
            elif kind == "error" and not self.begun.done():
                self._refuse(message)
                return True
            else:
                frames.append(framed(kind, message))
                ends = self._note(kind, message)
                if ends:
                    break
        go_on = self.received(b"".join(frames)) if frames else True
        if ends:
            self.ended()
        return go_on

    def lost(self, loss: Loss) -> None:
        """
        See ``TakesMessages``. A close frame in the middle is what the end of the body is over HTTP; so is one behind
        usage windows or headers, which are the head of a response there.
        """
        self._connection = None
        if (self._is_answered or loss.is_cut) and not self.begun.done():
            self.begun.set_result(None)
        self._finish(None)
        if not self.begun.done():
            self._fail_begin(NotBegunError(loss))
        self.ended(loss.error)

    # --- What is known of it --------------------------------------------------------

    def _note(self, kind: str, message: bytes) -> bool:
        """Take notice of an event. Returns whether it is the last one."""
        if not self.begun.done():
            self.begun.set_result(None)
        if kind == "response.output_item.done":
            self._output.append(bytes(_raw_item(message)))
        if kind not in TERMINAL:
            return False
        connection, self._connection = self._connection, None
        if connection is not None and kind == "error":
            # It may concern more than this response.
            connection.close()
        elif connection is not None:
            connection.end_turn()
        completed = kind in ("response.completed", "response.done")
        self._finish(_response_id(message) if completed else None)
        return True

    def _refuse(self, message: bytes) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        code = error_code(message)
        if code in (NOT_FOUND, TOO_OLD):
            self._fail_begin(NotBegunError(None, code))
        else:
            self._fail_begin(with_limits(self._refused(message), {**self.headers, **headers_in("error", message)}))

    def _fail_begin(self, error: Exception) -> None:
        self.begun.set_exception(error)
        # Whoever asked may have gone.
        self.begun.exception()

    def _finish(self, response_id: str | None) -> None:
        output, self._output = self._output, []
        if self.begun.done():
            finished, self._finished = self._finished, lambda *_: None
            finished(response_id, output)


def _raw_item(message: bytes) -> bytes | msgspec.Raw:
    try:
        return msgspec.json.decode(message, type=_Done).item
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""


def _response_id(message: bytes) -> str | None:
    try:
        return msgspec.json.decode(message, type=_Completed).response.id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
