from __future__ import annotations

import pytest

from gptmock.accounts import Secret
from gptmock.clients import ClientKey, IssuedKey, KeyTerms
from gptmock.errors import AuthUnknown, NotLoggedIn, StoreUnavailable
from gptmock.gateway.account_selection import AccountSelector
from gptmock.gateway.credentials import CACHE_SECONDS
from gptmock.gateway.freshness import RELOAD_SECONDS, FreshnessWatch
from gptmock.stores.client_keys import OUTAGE_SECONDS, StoreClientKeys
from gptmock.stores.limits_and_usage import SharedLimits
from gptmock.stores.seal import Sealer
from tests.gateway.memory import ACCOUNT, KEY, Site, Worker, name_of

A_SECOND = CACHE_SECONDS + 0.2


class Fresh:
    """The caches of one worker and their ``FreshnessWatch``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.worker: Worker = site.worker()
        self.accounts = AccountSelector(self.worker.vault, SharedLimits(self.worker.store), pool=(), clock=site.clock)
        self.keys = StoreClientKeys(self.worker.store, Sealer([KEY]), clock=site.clock)
        self.watch = FreshnessWatch(
            self.worker.vault.revision, self.accounts, self.keys, self.worker.keeper, clock=site.clock
        )

    async def turn(self, text: Secret | None = None) -> str:
        """Look up what a request needs. Returns the name of its access token."""
        key = await self.keys.find(text) if text is not None else None
        bound = key.terms.account_id if key is not None else None
        account_id = (await self.accounts.candidates("c", account_id=bound))[0]
        return name_of((await self.worker.keeper.lease(account_id)).access_token)

    async def later(self, seconds: float = A_SECOND) -> None:
        """Advance the clock, then look once."""
        self.site.clock.now += seconds
        await self.watch.look()


async def issued(site: Site, terms: KeyTerms | None = None) -> IssuedKey:
    """A key that another process creates."""
    keys = StoreClientKeys(site.worker().store, Sealer([KEY]), clock=site.clock)
    return await keys.create("ada", terms or KeyTerms())


async def test_what_was_loaded_serves_a_worker_that_has_served_nobody():
    site = Site()
    await site.login(1)
    key = await issued(site)
    fresh = Fresh(site)
    await fresh.watch.load()
    site.place.fail()
    site.clock.now += 10 * A_SECOND
    assert await fresh.turn() == "access-1"
    assert await fresh.turn(key.text) == "access-1"


async def test_an_account_that_only_a_key_names_is_loaded_too():
    site = Site()
    await site.login(1)
    await site.worker().vault.make_default("another")
    key = await issued(site, KeyTerms(account_id=ACCOUNT.id))
    fresh = Fresh(site)
    await fresh.watch.load()
    site.place.fail()
    assert await fresh.turn(key.text) == "access-1"


async def test_while_nothing_changes_a_look_is_one_read_and_requests_read_only_limits():
    site = Site()
    await site.login(1)
    key = await issued(site)
    fresh = Fresh(site)
    await fresh.watch.load()
    for _ in range(int(RELOAD_SECONDS / A_SECOND) - 1):
        before = site.place.calls
        await fresh.later()
        assert site.place.calls == before + 1
        await fresh.turn(key.text)
        assert site.place.calls == before + 2


async def test_what_was_never_counted_is_found_all_the_same():
    site = Site()
    await site.login(1)
    fresh = Fresh(site)
    await fresh.watch.load()
    await fresh.later()
    before = site.place.calls
    await fresh.later(RELOAD_SECONDS)
    assert site.place.calls > before + 1


async def test_a_key_that_nobody_shows_for_hours_stays_known_up_to_the_last_look():
    site = Site()
    await site.login(1, left_seconds=None)
    key = await issued(site)
    fresh = Fresh(site)
    await fresh.watch.load()
    for _ in range(5):
        await fresh.later(OUTAGE_SECONDS - 1)
    site.place.fail()
    site.clock.now += OUTAGE_SECONDS - 1
    assert await fresh.keys.find(key.text) == key.key


@pytest.mark.parametrize("change", ["login", "rotation", "refusal", "logout", "default", "key", "revoked"])
async def test_every_change_is_known_after_the_next_look(change: str):
    site = Site()
    held = await site.login(1)
    key = await issued(site)
    fresh = Fresh(site)
    await fresh.watch.load()
    other = Fresh(site)
    found: ClientKey | None = key.key
    served, made = "access-1", key
    if change == "login":
        await site.login(2)
        served = "access-2"
    elif change == "rotation":
        await other.worker.refresher.refresh(held)
        served = "access-2"
    elif change == "refusal":
        await other.worker.vault.refuse(held, reason="ended")
    elif change == "logout":
        await other.worker.vault.forget(ACCOUNT.id)
    elif change == "default":
        await other.worker.vault.make_default("another")
    elif change == "key":
        made = await other.keys.create("bob", KeyTerms())
        found = made.key
    else:
        await other.keys.revoke("ada")
        found = None
    await fresh.later()
    before = site.place.calls
    assert await fresh.keys.find(made.text) == found
    if change == "default":
        assert await fresh.accounts.account_ids() == ("another",)
    elif change == "logout":
        with pytest.raises(NotLoggedIn):
            await fresh.turn()
        return
    else:
        assert await fresh.turn() == served
    assert site.place.calls <= before + 1, "the look had found it"


async def test_what_else_a_change_may_concern_is_loaded_with_it_and_never_between():
    site = Site()
    await site.login(1)
    fresh, loads = Fresh(site), []

    async def load() -> None:
        loads.append(site.clock.now)

    watch = FreshnessWatch(
        fresh.worker.vault.revision, fresh.accounts, fresh.keys, fresh.worker.keeper, clock=site.clock, also=load
    )
    for _ in range(3):
        await watch.look()
    assert len(loads) == 1
    await site.login(2)
    await watch.look()
    assert len(loads) == 2


async def test_an_emptied_store_is_healed_though_nobody_asks():
    site = Site()
    await site.login(1)
    key = await issued(site)
    fresh = Fresh(site)
    await fresh.watch.load()
    site.place.records.clear()
    await fresh.later()
    late = Fresh(site)
    assert await late.worker.leased() == "access-1"
    assert await late.keys.find(key.text) == key.key


async def test_a_store_that_is_away_at_the_start_is_asked_again():
    site = Site()
    await site.login(1)
    key = await issued(site)
    fresh = Fresh(site)
    site.place.fail()
    await fresh.watch.load()
    with pytest.raises(AuthUnknown):
        await fresh.turn()
    with pytest.raises(StoreUnavailable):
        await fresh.watch.look()
    site.place.recover()
    await fresh.later()
    site.place.fail()
    assert await fresh.turn(key.text) == "access-1"


async def test_a_store_that_fails_in_the_middle_of_a_load_leaves_it_for_the_next_look():
    site = Site()
    await site.login(1)
    fresh = Fresh(site)
    reading = fresh.keys.reload

    async def fails() -> tuple[str, ...]:
        raise StoreUnavailable("away")

    fresh.keys.reload = fails  # type: ignore[method-assign]
    await fresh.watch.load()
    fresh.keys.reload = reading  # type: ignore[method-assign]
    await fresh.later()
    site.place.fail()
    assert await fresh.turn() == "access-1"


async def test_a_login_that_does_not_open_keeps_no_other_from_being_loaded():
    site = Site()
    await site.login(1)
    fresh = Fresh(site)
    name = f"acct:{{{'f' * 16}}}:tokens"
    await site.worker().store.write(name, b"nonsense", expected=0)
    await fresh.worker.keeper.reload(("f" * 16, ACCOUNT.id))
    site.place.fail()
    assert await fresh.worker.leased() == "access-1"
