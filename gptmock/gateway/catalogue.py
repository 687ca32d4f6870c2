"""
The model catalogues of the accounts, refreshed in the background: no request ever waits for one.

    nothing cached       the built-in models are served
    in the shared cache  the cached catalogue is served, also after a restart
    five minutes old     one worker claims the refresh, asks the upstream, and shares the result through the cache
    another ETag         a response named an ETag other than the catalogue's: refreshed at once, in the same way
    another version      the protocol version has changed: refreshed at once, in the same way
    the upstream fails   the old catalogue stays; the claim is kept, so that no worker asks for a minute

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
"""The refresh interval of Codex itself (openai/codex ``models-manager/src/manager.rs``)."""
REFRESH_JITTER = 0.1
LOOK_SECONDS = 5.0
"""How often this worker reads the shared cache."""
FIRST_LOOK_SECONDS = 1.0
"""The same, while an account has no catalogue yet."""
MAX_HEARD = 8
"""How many other ETags of the same document are kept; after so many, only the timer triggers a refresh."""


class CatalogSource(Protocol):
    """The upstream's list of models (``upstream.catalogue.CodexCatalog``)."""

    @property
    def version(self) -> str:
        """The protocol version that it asks with."""

    async def models(self, credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        """The account's models now; ``known`` is the cached catalogue, perhaps of another version."""


@dataclass(slots=True)
class _Followed:
    """What this worker knows of one account's catalogue."""

    snapshot: CatalogSnapshot
    specs: tuple[ModelSpec, ...]
    refresh_seconds: float
    """How old the snapshot may become; jittered for each, so that workers do not refresh at once."""


class CatalogWatch:
    """
    Refreshes catalogues and merges them.

    Args:
        cache: shared by all workers.
        keeper: provides credentials.
        source: the upstream's list of models.
        account_ids: the accounts that may serve, in the operator's order.
        clock: Unix seconds.
        built_in: served while there is no catalogue; its names stay resolvable afterwards.
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
        """The models of all accounts that may serve; a model of several accounts is listed as by the first one."""

    def offers(self, account_id: str, slug: str) -> bool:
        """Whether the account has a model; True while its catalogue is unknown."""
        followed = self._followed.get(account_id)
        return followed is None or any(spec.slug == slug for spec in followed.specs)

    def heard(self, account_id: str, etag: str | None) -> None:
        """
        Note the catalogue's ETag that a response named; triggers a refresh if it differs from the cached one.

        While this worker has no catalogue of the account, the ETag is kept and compared with the first one it reads:
        another worker may be receiving an older list at this moment.
        """
        if etag is None:
            return
        followed = self._followed.get(account_id)
        if followed is None:
            self._heard[account_id] = etag
            return
        known = followed.snapshot
        if self._heard.get(account_id) != etag and not known.is_named(etag) and len(known.heard) < MAX_HEARD:
            self._heard[account_id] = etag
            self._called.set()

    def wake(self) -> None:
        """Look soon: the version to ask with may have changed."""
        self._called.set()

    async def run(self) -> None:
        """Background task: call ``look`` repeatedly until cancelled."""
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
        """Read the shared cache before the worker serves, without asking the upstream; errors are left to ``run``."""
        with suppress(GptmockError):
            self._order = tuple(await self._account_ids())
            for account_id in self._order:
                await self._load(account_id)
        self._rebuild()

    async def look(self) -> None:
        """Check all accounts once; a failure of one is logged once and does not stop the others."""
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
        # Read before the request: an ETag that a response names meanwhile is handled in the next round.
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
        """Use a snapshot. Returns whether its document differs from the one before."""
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
