from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field, replace

import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.catalog import CatalogSnapshot, ModelCatalog
from gptmock.errors import AccountUnusable, CredentialRefused, GptmockError, NotLoggedIn, UpstreamUnavailable
from gptmock.gateway import catalogue
from gptmock.gateway.catalogue import MAX_HEARD, REFRESH_SECONDS, CatalogWatch
from gptmock.gateway.contracts import Keeper
from gptmock.stores.catalogue import CLAIM_SECONDS, StoreCatalogCache
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.gateway.memory import Clock
from tests.harness import until

AWAY = UpstreamUnavailable("away")
LATER = REFRESH_SECONDS * 1.2


def document(*slugs: str) -> bytes:
    entries = [{"slug": slug, "priority": number} for number, slug in enumerate(slugs)]
    return json.dumps({"models": entries}).encode()


@dataclass
class Site:
    """An upstream and a store; ``lists`` say what each account has, under which tag."""

    clock: Clock = field(default_factory=Clock)
    lists: dict[str, tuple[bytes, str | None]] = field(default_factory=lambda: {"a": (document("m"), 'W/"1"')})
    accounts: list[str] = field(default_factory=lambda: ["a"])
    error: GptmockError | None = None
    signed_in: bool = True
    version: str = "0.169.0"
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        # Claims and expiries go by the same clock.
        self.place = MemoryPlace(clock=self.clock)

    def worker(self, keeper: Keeper | None = None) -> CatalogWatch:
        return CatalogWatch(
            StoreCatalogCache(MemoryStore(self.place)), keeper or self, self, self.account_ids, clock=self.clock
        )

    async def account_ids(self) -> list[str]:
        return self.accounts

    async def lease(self, account_id: str) -> Credential:
        if not self.signed_in:
            raise NotLoggedIn("nobody")
        return Credential(Account(account_id), Secret("access"), version=1)

    async def renew(self, refused: Credential) -> Credential:
        raise AssertionError(refused)

    async def models(self, credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        account_id = credential.account.workspace_id
        version = self.version
        self.asked.append(account_id)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        body, etag = self.lists[account_id]
        if known is not None and known.etag is not None and known.etag == etag:
            return replace(known, checked_at=self.clock(), version=version)
        return CatalogSnapshot(body, etag, self.clock(), version=version)


def slugs(worker: CatalogWatch) -> list[str]:
    return [spec.slug for spec in worker.current.listed]


BUILT_IN = [spec.slug for spec in ModelCatalog().listed]


# --- One worker ------------------------------------------------------------------------


async def test_the_live_catalogue_takes_the_place_of_the_built_in_one():
    site = Site()
    worker = site.worker()
    told: list[ModelCatalog] = []
    worker.changed = told.append
    assert slugs(worker) == BUILT_IN
    await worker.look()
    assert (slugs(worker), worker.current.etag) == (["m"], 'W/"1"')
    assert told == [worker.current]
    assert worker.current.resolve("gpt-5.2-high").slug == "gpt-5.2"


async def test_what_the_cache_holds_is_loaded_before_the_first_look_and_nobody_is_asked():
    site = Site()
    site.gate.clear()
    first = site.worker()
    await first.load()
    assert slugs(first) == BUILT_IN, "nothing is kept yet"
    site.gate.set()
    await first.look()
    late = site.worker()
    await late.load()
    assert (slugs(late), site.asked) == (["m"], ["a"])
    site.place.fail()
    away = site.worker()
    await away.load()
    assert slugs(away) == BUILT_IN


async def test_nothing_is_asked_twice_before_its_time():
    site = Site()
    worker = site.worker()
    for _ in range(3):
        await worker.look()
        site.clock.now += REFRESH_SECONDS * 0.29
    assert site.asked == ["a"]
    site.clock.now += REFRESH_SECONDS * 0.3
    await worker.look()
    assert site.asked == ["a", "a"]


async def test_a_catalogue_that_has_not_changed_is_no_news():
    site = Site()
    worker = site.worker()
    await worker.look()
    before = worker.current
    worker.changed = lambda _: pytest.fail("told")
    for _ in range(3):
        site.clock.now += LATER
        await worker.look()
    assert len(site.asked) == 4
    assert worker.current is before


async def test_a_change_is_told():
    site = Site()
    worker = site.worker()
    await worker.look()
    site.lists["a"] = (document("n", "m"), 'W/"2"')
    site.clock.now += LATER
    await worker.look()
    assert (slugs(worker), worker.current.etag) == (["n", "m"], 'W/"2"')


async def test_a_look_into_the_future_is_another_machines_clock():
    site = Site()
    site.clock.now += 10 * LATER
    await site.worker().look()
    site.clock.now -= 10 * LATER
    await site.worker().look()
    assert site.asked == ["a", "a"]


# --- Failure ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AWAY, CredentialRefused("401"), AccountUnusable("403")])
async def test_while_the_upstream_fails_what_is_known_serves_and_nobody_insists(error: GptmockError):
    site = Site(error=error)
    workers = [site.worker() for _ in range(3)]
    for _ in range(5):
        for worker in workers:
            await worker.look()
    assert site.asked == ["a"]
    assert slugs(workers[0]) == BUILT_IN
    site.error = None
    site.clock.now += CLAIM_SECONDS + 1
    for worker in workers:
        await worker.look()
    assert site.asked == ["a", "a"]
    assert [slugs(worker) for worker in workers] == [["m"]] * 3
    site.error = error
    site.clock.now += LATER
    await workers[0].look()
    assert slugs(workers[0]) == ["m"]


async def test_a_failure_is_said_once_until_it_has_passed(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "gptmock.catalogue")
    site = Site(error=AWAY)
    worker = site.worker()

    async def failures() -> int:
        for _ in range(3):
            await worker.look()
            site.clock.now += CLAIM_SECONDS + 1
        return [record.message for record in caplog.records].count("catalogue.unavailable")

    assert await failures() == 1
    assert len(site.asked) == 3
    site.error = None
    await worker.look()
    site.error, site.clock.now = AWAY, site.clock.now + LATER
    assert await failures() == 2


async def test_without_a_login_nobody_claims_anything():
    site = Site(signed_in=False)
    worker = site.worker()
    await worker.look()
    assert site.place.leases == {}
    site.signed_in = True
    await worker.look()
    assert slugs(worker) == ["m"]


async def test_a_store_that_is_away_takes_nothing_away():
    site = Site()
    worker = site.worker()
    await worker.look()
    site.place.fail()
    site.clock.now += LATER
    await worker.look()
    assert slugs(worker) == ["m"]
    assert site.asked == ["a"]
    site.place.recover()
    await worker.look()
    assert site.asked == ["a", "a"]


async def test_a_claim_is_given_back_when_its_holder_is_stopped():
    site = Site()
    site.gate.clear()
    looking = asyncio.ensure_future(site.worker().look())
    await until(lambda: bool(site.asked))
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    site.gate.set()
    other = site.worker()
    await other.look()
    assert slugs(other) == ["m"]


async def test_a_document_that_this_program_cannot_read_is_asked_for_anew():
    site = Site()
    await StoreCatalogCache(MemoryStore(site.place)).save(
        "a", CatalogSnapshot(b"{}", 'W/"1"', site.clock(), version=site.version)
    )
    worker = site.worker()
    await worker.look()
    assert slugs(worker) == ["m"]


# --- Several workers -------------------------------------------------------------------


async def test_one_worker_asks_for_all():
    site = Site()
    workers = [site.worker() for _ in range(4)]
    site.gate.clear()
    looks = asyncio.gather(*(worker.look() for worker in workers))
    await until(lambda: bool(site.asked))
    site.gate.set()
    await looks
    for worker in workers:
        await worker.look()
    assert site.asked == ["a"]
    assert [slugs(worker) for worker in workers] == [["m"]] * 4


async def test_who_comes_to_the_claim_late_finds_it_done():
    site = Site()
    early = site.worker()

    class Slow(Site):
        async def lease(self, account_id: str) -> Credential:
            # Between its look at the cache and its claim another one does all of it.
            await early.look()
            return await site.lease(account_id)

    late = site.worker(Slow())
    await late.look()
    assert site.asked == ["a"]
    assert slugs(late) == slugs(early) == ["m"]
    assert site.place.leases == {}


async def test_what_was_known_before_a_restart_serves_at_once():
    site = Site()
    await site.worker().look()
    site.error = AWAY
    site.clock.now += LATER
    worker = site.worker()
    await worker.look()
    assert slugs(worker) == ["m"]


# --- Protocol versions -----------------------------------------------------------------


async def test_another_version_is_asked_for_anew_by_one_worker():
    site = Site()
    workers = [site.worker() for _ in range(3)]
    for worker in workers:
        await worker.look()
    site.version, site.lists["a"] = "0.172.0", (document("n", "m"), 'W/"2"')
    for worker in workers:
        await worker.look()
    assert site.asked == ["a", "a"]
    assert [slugs(worker) for worker in workers] == [["n", "m"]] * 3
    late = site.worker()
    await late.load()
    assert slugs(late) == ["n", "m"]


async def test_the_list_of_another_version_serves_until_the_new_one_is_there():
    site = Site()
    worker = site.worker()
    await worker.look()
    site.version, site.error = "0.172.0", AWAY
    for _ in range(3):
        await worker.look()
    assert (slugs(worker), site.asked) == (["m"], ["a", "a"])
    site.error, site.lists["a"] = None, (document("n"), 'W/"2"')
    site.clock.now += CLAIM_SECONDS + 1
    await worker.look()
    assert slugs(worker) == ["n"]


async def test_what_was_asked_before_the_version_changed_is_not_kept_for_the_new_one():
    site = Site()
    site.gate.clear()
    worker = site.worker()
    looking = asyncio.ensure_future(worker.look())
    await until(lambda: bool(site.asked))
    site.version = "0.172.0"
    site.gate.set()
    await looking
    other = site.worker()
    await other.load()
    assert slugs(other) == BUILT_IN
    site.lists["a"] = (document("n"), 'W/"2"')
    await worker.look()
    assert slugs(worker) == ["n"]


async def test_the_same_list_for_another_version_is_no_news():
    site = Site()
    worker = site.worker()
    await worker.look()
    worker.changed = lambda _: pytest.fail("told")
    site.version = "0.172.0"
    for _ in range(3):
        await worker.look()
    assert site.asked == ["a", "a"]


async def test_a_call_wakes_the_watch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "LOOK_SECONDS", 3600.0)
    site = Site()
    worker = site.worker()
    running = asyncio.ensure_future(worker.run())
    try:
        await until(lambda: slugs(worker) == ["m"])
        site.version, site.lists["a"] = "0.172.0", (document("n"), 'W/"2"')
        worker.wake()
        await until(lambda: slugs(worker) == ["n"])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- Entity tags of answers -----------------------------------------------------------


async def test_the_tag_of_the_catalogue_is_no_news():
    site = Site()
    worker = site.worker()
    await worker.look()
    for tag in ('W/"1"', '"1"', None):
        worker.heard("a", tag)
        await worker.look()
    worker.heard("nobody", 'W/"9"')
    assert site.asked == ["a"]


async def test_another_tag_is_asked_after_once_by_one_worker():
    site = Site()
    workers = [site.worker() for _ in range(3)]
    for worker in workers:
        await worker.look()
    site.lists["a"] = (document("n"), 'W/"2"')
    for _ in range(3):
        for worker in workers:
            worker.heard("a", 'W/"2"')
            await worker.look()
    assert site.asked == ["a", "a"]
    assert [slugs(worker) for worker in workers] == [["n"]] * 3


async def test_a_tag_that_could_not_be_asked_after_is_not_forgotten():
    site = Site()
    worker = site.worker()
    await worker.look()
    site.lists["a"], site.error = (document("n"), 'W/"2"'), AWAY
    worker.heard("a", 'W/"2"')
    await worker.look()
    site.error = None
    site.clock.now += CLAIM_SECONDS + 1
    await worker.look()
    assert slugs(worker) == ["n"]


async def test_a_tag_that_names_the_same_list_is_remembered_by_all():
    site = Site()
    workers = [site.worker() for _ in range(3)]
    for _ in range(3):
        for worker in workers:
            await worker.look()
            worker.heard("a", 'W/"other form"')
            worker.heard("a", 'W/"1"')
            await worker.look()
    assert site.asked == ["a", "a"]
    # Until the next time anyway: by then it may mean something.
    site.clock.now += LATER
    await workers[0].look()
    workers[0].heard("a", 'W/"other form"')
    await workers[0].look()
    assert len(site.asked) == 4


async def test_a_tag_of_its_own_for_each_answer_is_not_chased():
    site = Site()
    worker = site.worker()
    await worker.look()
    for number in range(50):
        worker.heard("a", f'W/"{number}-x"')
        await worker.look()
    assert len(site.asked) == 1 + MAX_HEARD


async def test_a_tag_heard_while_asking_is_looked_at_afterwards():
    site = Site()
    worker = site.worker()
    await worker.look()
    site.lists["a"] = (document("n"), 'W/"2"')
    worker.heard("a", 'W/"2"')
    site.gate.clear()
    looking = asyncio.ensure_future(worker.look())
    await until(lambda: len(site.asked) == 2)
    worker.heard("a", 'W/"3"')
    site.gate.set()
    await looking
    assert slugs(worker) == ["n"]
    site.lists["a"] = (document("o"), 'W/"3"')
    await worker.look()
    assert slugs(worker) == ["o"]


async def test_a_tag_heard_before_the_first_catalogue_is_compared_with_it():
    site = Site()
    asking, answering = site.worker(), site.worker()
    site.gate.clear()
    looking = asyncio.ensure_future(asking.look())
    await until(lambda: len(site.asked) == 1)
    await answering.look()
    answering.heard("a", 'W/"2"')
    site.gate.set()
    await looking
    # The upstream's list changed after the first worker had asked for it.
    site.lists["a"] = (document("n"), 'W/"2"')
    await answering.look()
    assert (slugs(asking), slugs(answering)) == (["m"], ["n"])


async def test_a_tag_wakes_the_watch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "LOOK_SECONDS", 3600.0)
    site = Site()
    worker = site.worker()
    running = asyncio.ensure_future(worker.run())
    try:
        await until(lambda: slugs(worker) == ["m"])
        site.lists["a"] = (document("n"), 'W/"2"')
        worker.heard("a", 'W/"2"')
        await until(lambda: slugs(worker) == ["n"])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_watch_waits_for_a_login(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(catalogue, "FIRST_LOOK_SECONDS", 0.01)
    site = Site(accounts=[])
    worker = site.worker()
    running = asyncio.ensure_future(worker.run())
    try:
        await asyncio.sleep(0.05)
        assert slugs(worker) == BUILT_IN
        site.accounts = ["a"]
        await until(lambda: slugs(worker) == ["m"])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- Several accounts ------------------------------------------------------------------


async def test_accounts_add_up_and_the_first_describes_what_they_share():
    site = Site(
        lists={"a": (document("m", "n"), 'W/"1"'), "b": (document("x", "y", "n", "z"), 'W/"2"')}, accounts=["a", "b"]
    )
    worker = site.worker()
    assert worker.offers("b", "m")
    await worker.look()
    assert sorted(slugs(worker)) == ["m", "n", "x", "y", "z"]
    shared = worker.current.get("n")
    assert shared is not None
    assert shared.priority == 1
    assert worker.current.etag is None
    assert [worker.offers(one, slug) for one, slug in (("a", "m"), ("b", "m"), ("b", "x"), ("c", "x"))] == [
        True,
        False,
        True,
        True,
    ]
    site.accounts = ["b"]
    await worker.look()
    assert slugs(worker) == ["x", "y", "n", "z"]


async def test_trouble_with_one_account_is_not_the_others():
    site = Site(lists={"b": (document("x"), None)}, accounts=["a", "b"])

    async def models(credential: Credential, known: CatalogSnapshot | None) -> CatalogSnapshot:
        if credential.account.workspace_id == "a":
            raise AWAY
        return await Site.models(site, credential, known)

    site.models = models  # type: ignore[method-assign]
    worker = site.worker()
    await worker.look()
    assert slugs(worker) == ["x"]
