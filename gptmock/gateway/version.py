"""
The protocol version that the backend is asked with: the highest of our own and of those that Codex clients have shown
to any worker of any server over this store; or the operator's, which wins.

    a request        two look-ups and a comparison, while clients are the same as before
    a newer client   this worker uses its version at once; ``run`` saves it, which counts a change
    a change         ``reload``, called by the freshness watch of every worker, finds it in the store

Knows contracts, no store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from gptmock.errors import GptmockError
from gptmock.protocol.codex_version import OWN_VERSION, is_newer

log = logging.getLogger("gptmock.version")


class VersionRecord(Protocol):
    """Stores the highest version that a client has sent (``stores.codex_version.SharedVersion``)."""

    async def load(self) -> str | None:
        """
        The highest plausible version; ``None`` when there is none.

        Raises:
            StoreUnavailable: it cannot be read.
        """

    async def save(self, version: str) -> None:
        """
        Keep a version unless a higher one is kept already, and let the other workers know.

        Raises:
            StoreUnavailable: unknown whether it was kept.
        """


class VersionWatch:
    """
    Follows the version.

    Args:
        record: what all workers know.
        shown: the version that a request shows, from its headers (``dialects.responses.codex.shown_version``).
        fixed: the operator's version; others are still recorded, for servers over the same store without one.
    """

    def __init__(
        self,
        record: VersionRecord,
        *,
        fixed: str | None = None,
        shown: Callable[[Mapping[str, str]], str | None] = lambda _: None,
    ) -> None:
        self._record = record
        self._shown = shown
        self._fixed = fixed
        self._highest = OWN_VERSION
        self._last: tuple[str | None, ...] = ()
        self._unsaved = asyncio.Event()
        self.changed: Callable[[str], None] = lambda _: None
        """Called with each new ``current``."""

    @property
    def current(self) -> str:
        """The version to ask with."""
        return self._fixed or self._highest

    def note(self, headers: Mapping[str, str]) -> None:
        """
        Learn from the headers of a request.

        Args:
            headers: of a client that was let in, names in lower case.
        """
        asked = (headers.get("user-agent"), headers.get("version"), headers.get("originator"))
        if asked == self._last:
            return
        self._last = asked
        shown = self._shown(headers)
        if shown is not None and self._raise(shown):
            log.info("codex_version.raised", extra={"version": shown, "used": self.current})
            self._unsaved.set()

    async def reload(self) -> None:
        """
        Learn from the store; what it does not know, because it was emptied or away, is saved again.

        Raises:
            StoreUnavailable: it cannot be read; what is known stays.
        """
        stored = await self._record.load()
        if stored is not None:
            self._raise(stored)
        if is_newer(self._highest, stored or OWN_VERSION):
            self._unsaved.set()

    async def run(self) -> None:
        """Save what was learned, until cancelled, beside the server."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            # What cannot be saved now is found missing by the next reload.
            with suppress(GptmockError):
                await self._record.save(self._highest)

    def _raise(self, version: str) -> bool:
        if not is_newer(version, self._highest):
            return False
        before, self._highest = self.current, version
        if self.current != before:
            self.changed(self.current)
        return True
