"""Lines that a person types while something else is waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

_READ_BYTES = 65536
_MAX_LINE_BYTES = 64 * 1024
STDIN = 0


async def typed_lines(descriptor: int = STDIN) -> AsyncIterator[str]:
    """Each line as it is finished, without its end; ends with the input, or with a line longer than any URL."""
    pending = b""
    async with aclosing(_blocks(descriptor)) as blocks:
        async for block in blocks:
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip("\r")
            if len(pending) > _MAX_LINE_BYTES:
                return
    if pending:
        yield pending.decode("utf-8", "replace")


async def _blocks(descriptor: int) -> AsyncGenerator[bytes, None]:
    """
    What can be read, when it can be read.

    The descriptor stays blocking, since the terminal shares its mode with whoever else writes there: it is read only
    when there is something to read, and a terminal gives that out line by line.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:
        # A plain file is always readable, and no event tells so.
        while block := os.read(descriptor, _READ_BYTES):
            yield block
        return
    except (OSError, ValueError):
        # Closed: nobody types anything.
        return
    try:
        while block := await _next(descriptor, readable):
            yield block
    finally:
        loop.remove_reader(descriptor)


async def _next(descriptor: int, readable: asyncio.Event) -> bytes:
    await readable.wait()
    readable.clear()
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        # The terminal is gone.
        return b""
