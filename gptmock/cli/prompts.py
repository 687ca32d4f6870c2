"""Reads lines from standard input without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

_READ_BYTES = 65536
_MAX_LINE_BYTES = 64 * 1024
STDIN = 0


async def typed_lines(descriptor: int = STDIN) -> AsyncIterator[str]:
    """Each line, without its end; stops at the end of input, or at a line of more than 64 KiB."""
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
    Blocks of bytes, as soon as they can be read.

    The descriptor stays in blocking mode, since other processes on the terminal share that mode. It is read only when
    the loop reports it readable; a terminal then delivers one line.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:
        # epoll does not support regular files, which are always readable.
        while block := os.read(descriptor, _READ_BYTES):
            yield block
        return
    except (OSError, ValueError):
        # Standard input is closed.
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
