"""Response bodies that are handed over read by read, whatever engine reads them. Knows httpx's types, no upstream."""

from __future__ import annotations

import asyncio
import functools
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

import httpx

from gptmock.upstream.encodings import BodyDecoder

Take: TypeAlias = Callable[[bytes], bool]
"""Takes the body bytes of one read. ``False``: no more before ``Body.deliver`` is called again."""
Header: TypeAlias = tuple[bytes, bytes]
"""Name and value."""
_CODING_BYTES = len(b"content-encoding")
READ_BUFFER_BYTES = 256 * 1024
"""Of one answer; reading pauses above it until somebody takes what is there."""
_OF_THE_ENCODED = frozenset({b"content-encoding", b"content-length"})


class Body(httpx.AsyncByteStream):
    """The body of a response."""

    complete: bool
    """It has been read to its end, though it may not have been taken yet."""

    @abstractmethod
    async def deliver(self, take: Take) -> bool:
        """
        Hand over the body, within the callback of each read where the engine can, until it has ended or ``take``
        returns ``False``.

        Returns whether the body has ended. What ``take`` raises is raised here, and nothing more is read.

        Raises:
            httpx.TransportError: the connection broke; all that came before was taken.
            httpx.DecodingError: the body is in a coding that cannot be decoded here, or not in the one it names.
        """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """See httpx."""
        blocks: list[bytes] = []

        def take(block: bytes) -> bool:
            blocks.append(block)
            return False

        ended = False
        while not ended:
            try:
                ended = await self.deliver(take)
            finally:
                held, blocks[:] = blocks[:], []
            for block in held:
                yield block


class PushedBody(Body):
    """A body whose engine calls ``received`` and ``ended``: taken within those calls, held while nobody takes it."""

    __slots__ = ("_blocks", "_error", "_held", "_take", "_waiter", "complete")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._held = 0
        """Bytes in ``_blocks``."""
        self._take: Take | None = None
        """Takes each read while somebody waits in ``deliver``; nothing is held then."""
        self._waiter: asyncio.Future[bool] | None = None
        self._error: Exception | None = None
        self.complete = False
        """The body has been read to its end, though it may not have been taken yet."""

    async def deliver(self, take: Take) -> bool:
        """See ``Body.deliver``."""
        if self._blocks and not take(self._joined()):
            return False
        if self._error is not None:
            raise self._error
        if self.complete:
            return True
        self._take = take
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        self._resume_reading()
        try:
            ended: bool = await waiter
        finally:
            self._take = self._waiter = None
        return ended

    def received(self, block: bytes) -> bool:
        """The body bytes of one read. Returns whether more can be read."""
        take = self._take
        if take is None:
            self._blocks.append(block)
            self._held += len(block)
            return self._held < READ_BUFFER_BYTES
        try:
            go_on = take(block)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self._wake(error)
            return False
        if not go_on:
            self._wake(False)
        return go_on

    def ended(self, error: Exception | None = None) -> None:
        """The last byte was received, or none will be."""
        self.complete, self._error = error is None, error
        if not self._blocks:
            self._wake(error or True)

    @abstractmethod
    def _resume_reading(self) -> None:
        """Somebody takes what is read."""

    def _joined(self) -> bytes:
        blocks, self._blocks, self._held = self._blocks, [], 0
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _wake(self, result: bool | BaseException) -> None:  # noqa: FBT001 - the result of ``deliver``
        self._take = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if isinstance(result, BaseException):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)


class DecodedBody(Body):
    """
    A body without its content coding.

    Args:
        encoded: as it comes.
        decoder: of its codings.
    """

    def __init__(self, encoded: Body, decoder: BodyDecoder) -> None:
        self._encoded = encoded
        self._decoder = decoder
        self._decoded: Iterator[bytes] = iter(())
        """What of the last read was not taken yet."""

    @property
    def complete(self) -> bool:  # type: ignore[override]
        """See ``Body.complete``."""
        return self._encoded.complete

    async def deliver(self, take: Take) -> bool:
        """See ``Body.deliver``."""

        def decode(block: bytes) -> bool:
            self._decoded = self._decoder.feed(block)
            return self._hand_over(take)

        return self._hand_over(take) and await self._encoded.deliver(decode)

    async def aclose(self) -> None:
        """See httpx."""
        await self._encoded.aclose()

    def _hand_over(self, take: Take) -> bool:
        return all(take(block) for block in self._decoded)


def decoded_body(headers: list[Header], body: Body) -> tuple[list[Header], Body]:
    """The headers and the body of a response without its content coding."""
    codings = [value for name, value in headers if len(name) == _CODING_BYTES and name.lower() == b"content-encoding"]
    decoder = BodyDecoder(b",".join(codings).decode("latin-1")) if codings else None
    if not decoder:
        return headers, body
    return [one for one in headers if one[0].lower() not in _OF_THE_ENCODED], DecodedBody(body, decoder)


@functools.lru_cache(maxsize=512)
def text_name(name: bytes) -> str:
    """The name of a header in lower case. Names repeat: one string for all streams that hold their headers."""
    return name.decode("latin-1").lower()
