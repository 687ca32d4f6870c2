"""
The catalogues of the accounts that may serve, followed in the background: no request ever waits for one.

    nothing known        the built-in rows serve
    kept by anybody      what the cache holds serves: another worker's, or that of before a restart
    five minutes old     one worker claims the right to ask, asks, and tells all others through the cache
    another tag is told  an answer named an entity tag that is not that of the catalogue: asked at once, likewise
    another version      the protocol version to ask with has changed: asked at once, likewise; the old list serves
    the upstream fails   what is known goes on serving; the claim is kept, so that nobody asks for a minute

Knows contracts, no HTTP and no store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from gptmock.accounts import Credential
from gptmock.catalog import MODELS, CatalogCache, CatalogSnapshot, ModelCatalog, ModelSpec
from gptmock.errors import GptmockError, UpstreamBroken
from gptmock.gateway.contracts import Keeper
from gptmock.protocol.models import decode_models

log = logging.getLogger("gptmock.catalogue")

REFRESH_SECONDS = 300.0
"""Codex's own life of a catalogue (openai/codex ``models-manager/src/manager.rs``)."""
REFRESH_JITTER = 0.1
LOOK_SECONDS = 5.0
"""How long another worker's news may take to arrive here."""
FIRST_LOOK_SECONDS = 1.0
"""The same, while nothing is known of an account."""
MAX_HEARD = 8
"""Tags that turned out to name the same catalogue; with more of them the timer alone decides when to ask."""


class CatalogSource(Protocol):
    """The upstream's list of models (``upstream.catalogue.CodexCatalog``)."""

    @property
    def version(self) -> str:
        """The protocol version that it asks with."""

    async def models(self, credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        """The account's models now, ``known`` being what is known, perhaps of another version."""


@dataclass(slots=True)
class _Followed:
    """What this worker knows of one account's catalogue."""

    snapshot: CatalogSnapshot
    specs: tuple[ModelSpec, ...]
    refresh_seconds: float
    """How old the snapshot may become; drawn anew for each, so that workers do not ask together."""


class CatalogWatch:
    """
    Follows catalogues.

    Args:
        cache: what all workers know.
        keeper: leases credentials.
        source: who is asked.
        account_ids: the accounts that may serve, in the operator's order.
        clock: Unix seconds.
        built_in: serves while nothing is known; its names are resolved ever after.
    """

    def __init__(  # noqa: PLR0913 - one contract for each thing it brings together
        self,
        cache: CatalogCache,
        keeper: Keeper,
        source: CatalogSource,
        account_ids: Callable[[], Awaitable[Sequence[str]]],
        *,
        clock: Callable[[], float],
        built_in: Iterable[ModelSpec] = MODELS,
    ) -> None:
        self._cache = cache
        self._keeper = keeper
        self._source = source
        self._account_ids = account_ids
        self._clock = clock
        self._built_in = tuple(built_in)
        self._followed: dict[str, _Followed] = {}
        self._order: tuple[str, ...] = ()
        self._heard: dict[str, str] = {}
        self._called = asyncio.Event()
        self._failing: set[str] = set()
        self.changed: Callable[[ModelCatalog], None] = lambda _: None
        """Called with every new catalogue."""
        self.current = ModelCatalog(self._built_in)
        """The models of all accounts that may serve; where two have the same, as the first one lists it."""

    def offers(self, account_id: str, slug: str) -> bool:
        """Whether the account has a model, as far as is known; one that nothing is known of may have it."""
        followed = self._followed.get(account_id)
        return followed is None or any(spec.slug == slug for spec in followed.specs)

    def heard(self, account_id: str, etag: str | None) -> None:
        """An answer to this account named the entity tag of its catalogue; asks anew, soon, if that is another."""
        followed = self._followed.get(account_id)
        if etag is None or followed is None:
            return
        known = followed.snapshot
        if self._heard.get(account_id) != etag and not known.is_named(etag) and len(known.heard) < MAX_HEARD:
            self._heard[account_id] = etag
            self._called.set()

    def wake(self) -> None:
        """Look soon: the version to ask with may have changed."""
        self._called.set()

    async def run(self) -> None:
        """Look until cancelled, beside the server."""
        while True:
            await self.look()
            knows_all = bool(self._order) and all(account_id in self._followed for account_id in self._order)
            pause = (LOOK_SECONDS if knows_all else FIRST_LOOK_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311
            try:
                async with asyncio.timeout(pause):
                    await self._called.wait()
            except TimeoutError:
                pass

    async def load(self) -> None:
        """What the cache holds, before the worker serves; asks no upstream. Trouble is left to ``run``."""
        with suppress(GptmockError):
            self._order = tuple(await self._account_ids())
            for account_id in self._order:
                await self._load(account_id)
        self._rebuild()

    async def look(self) -> None:
        """One round over all accounts; trouble with one is logged, once, and does not stop the others."""
        self._called.clear()
        try:
            self._order = tuple(await self._account_ids())
        except GptmockError:
            return
        for account_id in self._order:
            try:
                await self._follow(account_id)
            except GptmockError as error:
                if account_id not in self._failing:
                    self._failing.add(account_id)
                    log.warning(
                        "catalogue.unavailable",
                        extra={"account": account_id, "code": error.code, "reason": error.message},
                    )
            else:
                self._failing.discard(account_id)
        self._rebuild()

    async def _follow(self, account_id: str) -> None:
        await self._load(account_id)
        if not self._due(account_id):
            return
        # The credential first: without one there is nothing to claim.
        credential = await self._keeper.lease(account_id)
        if not await self._cache.claim(account_id):
            return
        keeps_claim = False
        try:
            # Somebody may have asked while the claim was on its way.
            await self._load(account_id)
            if self._due(account_id):
                try:
                    snapshot = await self._asked(account_id, credential)
                except GptmockError:
                    keeps_claim = True
                    raise
                if self._learn(account_id, snapshot):
                    log.info("catalogue.refreshed", extra={"account": account_id, "models": self._size(account_id)})
                await self._cache.save(account_id, snapshot)
        finally:
            if not keeps_claim:
                await self._cache.release(account_id)

    async def _load(self, account_id: str) -> None:
        followed = self._followed.get(account_id)
        known = followed.snapshot if followed is not None else None
        snapshot = await self._cache.load(account_id, self._source.version, known=known)
        if snapshot is not None:
            # What another version of this program has kept, and this one cannot read, is asked for anew.
            with suppress(UpstreamBroken):
                self._learn(account_id, snapshot)

    def _due(self, account_id: str) -> bool:
        followed = self._followed.get(account_id)
        if followed is None or followed.snapshot.version != self._source.version:
            return True
        heard = self._heard.get(account_id)
        if heard is not None and not followed.snapshot.is_named(heard):
            return True
        self._heard.pop(account_id, None)
        # A date in the future is another machine's clock: it is not waited for.
        return abs(self._clock() - followed.snapshot.checked_at) >= followed.refresh_seconds

    async def _asked(self, account_id: str, credential: Credential) -> CatalogSnapshot:
        followed = self._followed.get(account_id)
        known = followed.snapshot if followed is not None else None
        # Read before: what an answer names while we ask is looked at afterwards.
        heard = self._heard.get(account_id)
        snapshot = replace(await self._source.models(credential, known), heard=())
        if heard is None or snapshot.is_named(heard):
            return snapshot
        # The upstream's replies and its list disagree on the name; asking again would change nothing.
        before = known.heard if known is not None and known.document == snapshot.document else ()
        return replace(snapshot, heard=(*before, heard))

    def _size(self, account_id: str) -> int:
        return len(self._followed[account_id].specs)

    def _learn(self, account_id: str, snapshot: CatalogSnapshot) -> bool:
        """Take a snapshot for the truth; returns whether its document is new here."""
        followed = self._followed.get(account_id)
        if followed is not None and followed.snapshot == snapshot:
            return False
        is_new = followed is None or followed.snapshot.document != snapshot.document
        specs = decode_models(snapshot.document) if followed is None or is_new else followed.specs
        jitter = random.uniform(1 - REFRESH_JITTER, 1 + REFRESH_JITTER)  # noqa: S311 - spreads workers
        self._followed[account_id] = _Followed(snapshot, specs, REFRESH_SECONDS * jitter)
        return is_new

    def _rebuild(self) -> None:
        known = [self._followed[account_id] for account_id in self._order if account_id in self._followed]
        if not known:
            return
        # The operator's first account decides how a model that several have is shown.
        specs = {spec.slug: spec for followed in reversed(known) for spec in followed.specs}
        etag = known[0].snapshot.etag if len(known) == 1 else None
        catalog = ModelCatalog(specs.values(), remembered=self._built_in, etag=etag)
        if (catalog.models, catalog.etag) != (self.current.models, self.current.etag):
            self.current = catalog
            self.changed(catalog)
