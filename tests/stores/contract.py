"""The contract suite of ``gptmock.stores.store``: one class per kind, run on every store by ``test_contract.py``."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from gptmock.stores.store import Addition, FreedSlot, Quota, QuotaUse, Record, Store, WantedSlot
from tests.stores.conftest import Place

LONG = 600.0
SHORT = 0.15
RACED = 0.5
"""A TTL that does not expire within a few calls, on a slow machine either."""
EVERY_BYTE = bytes(range(256))
BAD_NAMES = ["", "n" * 513, "ü" * 257, "{", "}", "{}", "a{}", "{whole}", "a{b}c{d}", "a}b{", "a{b", "a{{b}}"]


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 10.0) -> None:
    """
    Wait until it holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.01)


def occupied() -> float:
    """
    Seconds that this thread has worked or been blocked.

    Not those in which it could have run and other programs did: on a busy machine these are no stall of the loop.
    """
    try:
        queued = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        queued = 0.0  # no Linux: as if nobody else had run
    return time.perf_counter() - queued


class Records:
    async def test_there_is_none_at_first(self, place: Place):
        assert await place.open().read("a") is None

    @pytest.mark.parametrize("value", [b"", b"\0", EVERY_BYTE, b"x" * 1_000_000], ids=["none", "nul", "every", "mega"])
    async def test_bytes_come_back_as_they_went(self, place: Place, value: bytes):
        assert await place.open().write("acct:7:tokens", value, expected=0) is None
        assert await place.open().read("acct:7:tokens") == Record(1, value)

    async def test_versions_count(self, place: Place):
        store = place.open()
        for version in range(5):
            assert await store.write("a", b"%d" % version, expected=version) is None
        assert await store.read("a") == Record(5, b"4")

    async def test_a_version_may_jump(self, place: Place):
        store = place.open()
        assert await store.write("a", b"7", expected=0, version=7) is None
        assert await store.write("a", b"8", expected=7) is None
        assert await store.write("a", b"far", expected=8, version=2**53) is None
        assert await store.write("a", b"farther", expected=2**53) is None
        assert await store.read("a") == Record(2**53 + 1, b"farther")

    @pytest.mark.parametrize("version", [-1, 0, 2, 3])
    async def test_a_version_never_goes_back(self, place: Place, version: int):
        store = place.open()
        await store.write("a", b"3", expected=0, version=3)
        with pytest.raises(ValueError, match="does not come after"):
            await store.write("a", b"less", expected=3, version=version)
        assert await store.read("a") == Record(3, b"3")

    @pytest.mark.parametrize("expected", [0, 2, 4, 30])
    async def test_another_version_stands_and_is_told(self, place: Place, expected: int):
        store = place.open()
        await store.write("a", EVERY_BYTE, expected=0, version=3)
        assert await store.write("a", b"mine", expected=expected) == Record(3, EVERY_BYTE)
        assert await store.read("a") == Record(3, EVERY_BYTE)

    async def test_one_that_has_vanished_has_version_0(self, place: Place):
        store = place.open()
        assert await store.write("a", b"mine", expected=1) == Record(0, b"")
        assert await store.read("a") is None

    async def test_deleted_ones_are_gone_and_begin_again(self, place: Place):
        store = place.open()
        await store.write("a", b"a", expected=0, version=5)
        assert await store.delete("a")
        assert not await store.delete("a")
        assert await store.read("a") is None
        assert await store.write("a", b"b", expected=0) is None
        assert await store.read("a") == Record(1, b"b")

    async def test_only_the_version_meant_is_deleted(self, place: Place):
        store = place.open()
        await store.write("a", b"a", expected=0, version=5)
        assert not await store.delete("a", expected=4)
        assert not await store.delete("b", expected=5)
        assert await store.read("a") == Record(5, b"a")
        assert await store.delete("a", expected=5)
        assert await store.read("a") is None

    async def test_many_come_in_the_order_asked(self, place: Place):
        store = place.open()
        for name in "abc":
            await store.write(name, name.encode(), expected=0)
        a, b, c = (Record(1, name) for name in (b"a", b"b", b"c"))
        assert await store.read_many(["c", "x", "a", "b", "c"]) == [c, None, a, b, c]
        assert await store.read_many([]) == []

    async def test_they_expire(self, place: Place):
        store = place.open()
        await store.write("a", b"a", expected=0, ttl_seconds=SHORT)
        await store.write("b", b"b", expected=0, ttl_seconds=LONG)

        async def gone() -> bool:
            return await store.read("a") is None

        await until(gone)
        assert await store.read_many(["a", "b"]) == [None, Record(1, b"b")]
        assert await store.names("") == ["b"]
        assert not await store.delete("a")
        assert await store.write("a", b"late", expected=1) == Record(0, b"")
        assert await store.write("a", b"new", expected=0) is None
        assert await store.read("a") == Record(1, b"new")

    async def test_the_last_write_says_when(self, place: Place):
        store = place.open()
        for name in ("kept", "gone", "longer"):
            await store.write(name, b"1", expected=0, ttl_seconds=RACED if name != "gone" else None)
        await store.write("kept", b"2", expected=1)
        await store.write("longer", b"2", expected=1, ttl_seconds=LONG)
        await store.write("gone", b"2", expected=1, ttl_seconds=RACED)

        async def gone() -> bool:
            return await store.read("gone") is None

        await until(gone)
        assert await store.read_many(["kept", "longer"]) == [Record(2, b"2"), Record(2, b"2")]

    async def test_a_refused_write_changes_no_expiry(self, place: Place):
        store = place.open()
        await store.write("a", b"1", expected=0)
        assert await store.write("a", b"2", expected=5, ttl_seconds=0.001) is not None
        await asyncio.sleep(0.02)
        assert await store.read("a") == Record(1, b"1")

    @pytest.mark.parametrize("ttl_seconds", [0.0, -5.0, 0.0001])
    async def test_a_life_of_nothing_is_a_millisecond(self, place: Place, ttl_seconds: float):
        store = place.open()
        assert await store.write("a", b"1", expected=0, ttl_seconds=ttl_seconds) is None

        async def gone() -> bool:
            return await store.read("a") is None

        await until(gone)

    async def test_a_life_beyond_all_clocks_is_for_ever(self, place: Place):
        store = place.open()
        assert await store.write("a", b"1", expected=0, ttl_seconds=float("inf")) is None
        assert await store.acquire("a", "me", ttl_seconds=1e300)
        assert await store.read("a") == Record(1, b"1")
        assert await store.lease_left("a", "me") > LONG

    async def test_names_are_found_by_how_they_begin(self, place: Place):
        store = place.open()
        names = ["acct:1:tokens", "acct:2:tokens", "acct:{3}:tokens", "key:1", "ü:1", "a*b", "axb", "a[x]b", "a?b\\c"]
        for name in names:
            await store.write(name, b"", expected=0)
        assert await store.names("") == sorted(names)
        assert await store.names("acct:") == ["acct:1:tokens", "acct:2:tokens", "acct:{3}:tokens"]
        assert await store.names("acct:{3") == ["acct:{3}:tokens"]
        assert await store.names("a*") == ["a*b"]
        assert await store.names("a[x]") == ["a[x]b"]
        assert await store.names("a?b\\") == ["a?b\\c"]
        assert await store.names("ü") == ["ü:1"]
        assert await store.names("tokens") == []

    async def test_names_are_those_of_records_alone(self, place: Place):
        store = place.open()
        await store.acquire("lease", "me", ttl_seconds=LONG)
        await store.add([Addition("counter", {"a": 1})])
        await store.take_slot("slots", "me", limit=1, ttl_seconds=LONG)
        await store.observe("observed", b"", stamp=1.0, ttl_seconds=LONG)
        await store.probe()
        assert await store.names("") == []

    async def test_there_may_be_thousands_of_names(self, place: Place):
        store = place.open()
        names = [f"r:{number:04}" for number in range(1500)]
        for start in range(0, len(names), 50):
            await asyncio.gather(*(store.write(name, b"", expected=0) for name in names[start : start + 50]))
        assert await store.names("r:") == names

    @pytest.mark.parametrize("name", BAD_NAMES)
    async def test_names_that_no_store_takes(self, place: Place, name: str):
        store = place.open()
        attempts: list[Awaitable[object]] = [
            store.read(name),
            store.read_many(["fine", name]),
            store.write(name, b"", expected=0),
            store.delete(name),
            store.acquire(name, "me", ttl_seconds=1),
            store.renew(name, "me", ttl_seconds=1),
            store.release(name, "me"),
            store.lease_left(name, "me"),
            store.add([Addition("fine", {"a": 1}), Addition(name, {"a": 1})]),
            store.totals(name),
            store.take_slot(name, "me", limit=1, ttl_seconds=1),
            store.extend_slots(name, ["me"], ttl_seconds=1),
            store.free_slot(name, "me"),
            store.exchange_slots([FreedSlot(name, "me")], [], ttl_seconds=1),
            store.exchange_slots([], [WantedSlot(name, "me", 1)], ttl_seconds=1),
            store.observe_all({name: b""}, stamp=1, ttl_seconds=1),
            store.quota_uses(name, []),
            store.append(name, b"", keep=1),
            store.entries(name, 1),
            store.slots_taken(name),
            store.observe(name, b"", stamp=1, ttl_seconds=1),
            store.observed(["fine", name]),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError, match="a name in a store"):
                await attempt
        assert await store.totals("fine") == {}

    async def test_one_name_for_everything_is_no_clash(self, place: Place):
        store = place.open()
        for name in ("same", "acct:{same}"):
            assert await store.write(name, b"record", expected=0) is None
            assert await store.acquire(name, "me", ttl_seconds=LONG)
            await store.add([Addition(name, {"a": 1})])
            assert await store.take_slot(name, "me", limit=1, ttl_seconds=LONG)
            assert await store.observe(name, b"seen", stamp=1, ttl_seconds=LONG)
            assert await store.read(name) == Record(1, b"record")
            assert await store.delete(name)
            assert await store.lease_left(name, "me") > 0
            assert await store.totals(name) == {"a": 1}
            assert await store.slots_taken(name) == 1
            assert await store.observed([name]) == [b"seen"]


class Leases:
    async def test_one_holder_at_a_time(self, place: Place):
        mine, yours = place.open(), place.open()
        assert await mine.acquire("l", "me", ttl_seconds=LONG)
        assert not await yours.acquire("l", "you", ttl_seconds=LONG)
        assert await yours.acquire("other", "you", ttl_seconds=LONG)
        assert await mine.release("l", "me")
        assert await yours.acquire("l", "you", ttl_seconds=LONG)

    async def test_ones_own_is_not_taken_twice(self, place: Place):
        store = place.open()
        assert await store.acquire("l", "me", ttl_seconds=LONG)
        assert not await store.acquire("l", "me", ttl_seconds=LONG)

    async def test_nobody_touches_that_of_others(self, place: Place):
        store = place.open()
        await store.acquire("l", "me", ttl_seconds=LONG)
        assert not await store.release("l", "you")
        assert not await store.renew("l", "you", ttl_seconds=0.001)
        assert await store.lease_left("l", "you") == 0.0
        await asyncio.sleep(0.01)
        assert LONG - 60 < await store.lease_left("l", "me") <= LONG

    async def test_there_may_be_none(self, place: Place):
        store = place.open()
        assert not await store.release("l", "me")
        assert not await store.renew("l", "me", ttl_seconds=LONG)
        assert await store.lease_left("l", "me") == 0.0
        assert await store.acquire("l", "me", ttl_seconds=LONG)

    async def test_it_ends_by_itself(self, place: Place):
        store = place.open()
        assert await store.acquire("l", "me", ttl_seconds=SHORT)
        assert await store.lease_left("l", "me") <= SHORT

        async def taken() -> bool:
            return await place.open().acquire("l", "you", ttl_seconds=LONG)

        await until(taken)
        assert await store.lease_left("l", "me") == 0.0
        assert not await store.renew("l", "me", ttl_seconds=LONG)
        assert not await store.release("l", "me")
        assert await store.lease_left("l", "you") > 0

    async def test_it_ends_when_nobody_follows(self, place: Place):
        store = place.open()
        assert await store.acquire("l", "me", ttl_seconds=SHORT)

        async def ended() -> bool:
            return await store.lease_left("l", "me") == 0.0

        await until(ended)
        assert not await store.renew("l", "me", ttl_seconds=LONG)
        assert not await store.release("l", "me")

    async def test_whoever_is_told_that_it_is_lost_has_lost_it(self, place: Place):
        """Also with less than 1 ms left, when PTTL gives 0."""
        store = place.open()
        for number in range(100):
            assert await store.acquire(f"l{number}", "me", ttl_seconds=0.003)
            while await store.lease_left(f"l{number}", "me") > 0.0:
                pass
            assert not await store.renew(f"l{number}", "me", ttl_seconds=LONG)

    async def test_it_lasts_longer_when_renewed(self, place: Place):
        store = place.open()
        await store.acquire("l", "me", ttl_seconds=5)
        assert await store.renew("l", "me", ttl_seconds=LONG)
        assert await store.lease_left("l", "me") > LONG - 60
        assert await store.renew("l", "me", ttl_seconds=SHORT)
        assert await store.lease_left("l", "me") <= SHORT


class Counters:
    async def test_there_are_none_at_first(self, place: Place):
        assert await place.open().totals("usage") == {}

    async def test_they_add_up(self, place: Place):
        store = place.open()
        await store.add([Addition("usage", {"requests": 1, "tokens": 500}), Addition("day", {"requests": 1}, LONG)])
        await store.add([Addition("usage", {"requests": 1, "errors": 1}), Addition("usage", {"requests": 1})])
        assert await store.totals("usage") == {"requests": 3, "tokens": 500, "errors": 1}
        assert await place.open().totals("day") == {"requests": 1}

    async def test_amounts_may_take_away(self, place: Place):
        store = place.open()
        await store.add([Addition("a", {"n": 5, "zero": 0})])
        await store.add([Addition("a", {"n": -7})])
        assert await store.totals("a") == {"n": -2, "zero": 0}

    async def test_large_totals_are_exact(self, place: Place):
        store = place.open()
        await store.add([Addition("a", {"n": 2**60})])
        await store.add([Addition("a", {"n": 1})])
        assert await store.totals("a") == {"n": 2**60 + 1}

    async def test_nothing_to_add_is_nothing(self, place: Place):
        store = place.open()
        await store.add([])
        await store.add([Addition("a", {})])
        assert await store.totals("a") == {}

    async def test_any_word_names_a_counter(self, place: Place):
        store = place.open()
        amounts = {"": 1, "gpt-5.5": 2, "{x}": 3, "ü \n'": 4}
        await store.add([Addition("a", amounts)])
        assert await store.totals("a") == amounts

    async def test_they_expire_together_and_begin_at_nothing(self, place: Place):
        store = place.open()
        await store.add([Addition("a", {"n": 5, "m": 1})])
        await store.add([Addition("a", {"n": 5}, SHORT)])

        async def gone() -> bool:
            return await store.totals("a") == {}

        await until(gone)
        await store.add([Addition("a", {"n": 1}, LONG)])
        assert await store.totals("a") == {"n": 1}

    async def test_the_last_addition_says_when(self, place: Place):
        store = place.open()
        await store.add([Addition("kept", {"n": 1}, RACED), Addition("longer", {"n": 1}, RACED)])
        await store.add([Addition("kept", {"n": 1}), Addition("gone", {"n": 1}, RACED)])
        await store.add([Addition("longer", {"n": 1}, LONG), Addition("kept", {}, 0.001)])

        async def gone() -> bool:
            return await store.totals("gone") == {}

        await until(gone)
        assert await store.totals("kept") == {"n": 2}
        assert await store.totals("longer") == {"n": 2}

    async def test_names_are_found_by_how_they_begin(self, place: Place):
        store = place.open()
        names = ["acct:{7}:usage", "acct:{7}:usage:2026-11-24", "key:1", "a*b", "axb"]
        await store.add([Addition(name, {"n": 1, "m": 2}, LONG) for name in names])
        assert await store.counter_names("") == sorted(names)
        assert await place.open().counter_names("acct:{7}:usage") == names[:2]
        assert await store.counter_names("a*") == ["a*b"]
        assert await store.counter_names("usage") == []

    async def test_names_are_those_of_living_counters_alone(self, place: Place):
        store = place.open()
        await store.write("record", b"", expected=0)
        await store.acquire("lease", "me", ttl_seconds=LONG)
        await store.take_slot("slots", "me", limit=1, ttl_seconds=LONG)
        await store.observe("observed", b"", stamp=1.0, ttl_seconds=LONG)
        await store.add([Addition("gone", {"n": 1}, SHORT), Addition("nothing", {}), Addition("kept", {"n": 0}, LONG)])

        async def gone() -> bool:
            return await store.counter_names("") == ["kept"]

        await until(gone)


class Slots:
    async def test_no_more_than_the_limit(self, place: Place):
        store, other = place.open(), place.open()
        assert await store.take_slot("s", "a", limit=2, ttl_seconds=LONG)
        assert await other.take_slot("s", "b", limit=2, ttl_seconds=LONG)
        assert not await store.take_slot("s", "c", limit=2, ttl_seconds=LONG)
        assert await store.take_slot("other", "c", limit=2, ttl_seconds=LONG)
        assert await other.slots_taken("s") == 2
        await other.free_slot("s", "a")
        assert await store.take_slot("s", "c", limit=2, ttl_seconds=LONG)
        assert await store.slots_taken("s") == 2

    async def test_ones_own_may_be_taken_again(self, place: Place):
        store = place.open()
        assert await store.take_slot("s", "a", limit=1, ttl_seconds=RACED)
        assert await store.take_slot("s", "a", limit=1, ttl_seconds=LONG)
        assert await store.take_slot("s", "a", limit=0, ttl_seconds=LONG)
        assert await store.take_slot("s", "b", limit=2, ttl_seconds=RACED)

        async def others_gone() -> bool:
            return await store.slots_taken("s") == 1

        await until(others_gone)
        assert not await store.take_slot("s", "b", limit=1, ttl_seconds=LONG)

    async def test_a_limit_of_none_only_counts(self, place: Place):
        store = place.open()
        for number in range(20):
            assert await store.take_slot("s", str(number), limit=None, ttl_seconds=LONG)
        assert await store.slots_taken("s") == 20
        assert not await store.take_slot("s", "more", limit=20, ttl_seconds=LONG)

    async def test_a_limit_of_nothing_lets_nobody_in(self, place: Place):
        store = place.open()
        assert not await store.take_slot("s", "a", limit=0, ttl_seconds=LONG)
        assert await store.slots_taken("s") == 0

    async def test_there_may_be_nothing_to_free(self, place: Place):
        store = place.open()
        await store.free_slot("s", "a")
        assert await store.take_slot("s", "a", limit=1, ttl_seconds=LONG)
        await store.free_slot("s", "b")
        assert await store.slots_taken("s") == 1

    async def test_those_of_the_dead_come_back(self, place: Place):
        store = place.open()
        assert await store.take_slot("s", "living", limit=2, ttl_seconds=LONG)
        assert await store.take_slot("s", "dead", limit=2, ttl_seconds=SHORT)

        async def taken() -> bool:
            return bool(await store.take_slot("s", "next", limit=2, ttl_seconds=LONG))

        await until(taken)
        assert await store.slots_taken("s") == 2

    async def test_a_short_one_does_not_end_the_long_one(self, place: Place):
        store = place.open()
        assert await store.take_slot("s", "long", limit=None, ttl_seconds=LONG)
        assert await store.take_slot("s", "short", limit=None, ttl_seconds=SHORT)

        async def one_left() -> bool:
            return await store.slots_taken("s") == 1

        await until(one_left)
        await asyncio.sleep(SHORT)
        assert await store.slots_taken("s") == 1


class Quotas:
    @staticmethod
    def requests(limit: int | None = 2) -> Quota:
        return Quota("requests", limit, LONG, 1)

    @staticmethod
    def tokens(limit: int | None = 100, amount: int = 0) -> Quota:
        return Quota("tokens", limit, LONG, amount)

    async def test_what_is_used_up_refuses_and_a_refusal_adds_nothing(self, place: Place):
        store, other = place.open(), place.open()
        for owner, used in (("a", 1), ("b", 2)):
            answer = await store.take_slot("s", owner, limit=9, ttl_seconds=LONG, quotas=[self.requests()])
            assert (answer.taken, answer.slots, answer.uses[0].used) == (True, used, used)
            assert 0 < answer.uses[0].left_seconds <= LONG
        refused = await other.take_slot("s", "c", limit=9, ttl_seconds=LONG, quotas=[self.tokens(), self.requests()])
        assert (refused.taken, refused.slots, [use.used for use in refused.uses]) == (False, 2, [0, 2])
        assert await other.slots_taken("s") == 2
        assert await other.take_slot("s", "c", limit=9, ttl_seconds=LONG, quotas=[self.tokens(), self.requests(3)])
        full = await other.take_slot("s", "d", limit=3, ttl_seconds=LONG, quotas=[self.requests(9)])
        assert (full.taken, full.uses[0].used) == (False, 3)

    async def test_a_counter_that_was_never_used_has_its_whole_window(self, place: Place):
        store = place.open()
        assert await store.quota_uses("s", [self.tokens(), self.requests()]) == [QuotaUse(0, LONG)] * 2
        answer = await store.take_slot("s", "a", limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        assert answer.uses == (QuotaUse(0, LONG),)
        assert await store.quota_uses("s", []) == []

    async def test_amounts_come_with_the_end_and_once(self, place: Place):
        store, other = place.open(), place.open()
        assert await store.take_slot("s", "a", limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        assert await store.take_slot("s", "b", limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        assert await store.free_slot("s", "a", quotas=[self.tokens(amount=60), self.requests(None)])
        assert not await other.free_slot("s", "a", quotas=[self.tokens(amount=60)])
        assert [use.used for use in await other.quota_uses("s", [self.tokens(), self.requests()])] == [60, 1]
        assert await other.take_slot("s", "c", limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        # What is in flight may go over the limit; nothing after it is let in.
        assert await other.free_slot("s", "b", quotas=[self.tokens(amount=60)])
        assert not await store.take_slot("s", "d", limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        assert await store.free_slot("s", "c", quotas=[self.tokens(amount=0)])
        assert [use.used for use in await store.quota_uses("s", [self.tokens()])] == [120]

    async def test_many_are_given_back_at_once_each_with_its_amounts_and_once(self, place: Place):
        store, other = place.open(), place.open()
        freed = [FreedSlot(name, f"o{number}", [self.tokens(amount=2)]) for name in ("s", "t") for number in range(30)]
        for one in freed:
            assert await store.take_slot(one.name, one.owner, limit=None, ttl_seconds=LONG, quotas=[self.tokens()])
        assert await other.exchange_slots(freed, [], ttl_seconds=LONG) == []
        again = [*freed[:3], FreedSlot("s", "nobody", [self.tokens(amount=2)])]
        await store.exchange_slots(again, [], ttl_seconds=LONG)
        for name in ("s", "t"):
            assert await store.slots_taken(name) == 0
            assert [use.used for use in await store.quota_uses(name, [self.tokens()])] == [60]

    async def test_what_is_given_back_is_there_for_those_that_come_in_the_same_exchange(self, place: Place):
        store = place.open()
        for owner in ("a", "b"):
            assert await store.take_slot("s", owner, limit=2, ttl_seconds=LONG, quotas=[self.requests(9)])
        wanted = [WantedSlot("s", owner, 2, [self.requests(9)]) for owner in ("b", "c", "d")]
        wanted.append(WantedSlot("t", "a", 1, [self.requests(0)]))
        freed = [FreedSlot("s", "a", [self.tokens(amount=5)])]
        answers = await store.exchange_slots(freed, wanted, ttl_seconds=LONG)
        assert [(one.taken, one.slots) for one in answers] == [(True, 1), (True, 2), (False, 2), (False, 0)]
        assert [[use.used for use in one.uses] for one in answers] == [[2], [3], [3], [0]]
        assert [use.used for use in await store.quota_uses("s", [self.tokens()])] == [5]
        assert await store.slots_taken("s") == 2

    async def test_a_slot_that_one_has_counts_once(self, place: Place):
        store = place.open()
        for _ in range(3):
            answer = await store.take_slot("s", "a", limit=1, ttl_seconds=LONG, quotas=[self.requests(1)])
            assert (answer.taken, answer.slots, answer.uses[0].used) == (True, 1, 1)

    async def test_an_expired_slot_is_free_for_others_and_settles_all_the_same(self, place: Place):
        store = place.open()
        assert await store.take_slot("s", "slow", limit=1, ttl_seconds=SHORT)

        async def free() -> bool:
            return await store.slots_taken("s") == 0

        await until(free)
        assert await store.take_slot("s", "next", limit=1, ttl_seconds=LONG)
        assert not await store.take_slot("s", "slow", limit=1, ttl_seconds=LONG)
        assert await store.free_slot("s", "slow", quotas=[self.tokens(amount=7)])
        assert not await store.free_slot("s", "slow", quotas=[self.tokens(amount=7)])
        assert [use.used for use in await store.quota_uses("s", [self.tokens()])] == [7]
        assert await store.slots_taken("s") == 1

    async def test_extended_ones_live_on_and_freed_ones_stay_free(self, place: Place):
        store, other = place.open(), place.open()
        for owner in ("a", "b", "freed"):
            assert await store.take_slot("s", owner, limit=None, ttl_seconds=RACED)
        await store.free_slot("s", "freed")
        await other.extend_slots("s", ["a", "freed", "never"], ttl_seconds=LONG)

        async def one_left() -> bool:
            return await store.slots_taken("s") == 1

        await until(one_left)
        await other.extend_slots("s", ["b"], ttl_seconds=LONG)
        assert await store.slots_taken("s") == 2
        await other.extend_slots("s", [], ttl_seconds=LONG)

    async def test_a_window_ends_and_the_next_begins_with_its_first_use(self, place: Place):
        store = place.open()
        short = Quota("requests", 1, RACED, 1)
        assert await store.take_slot("s", "a", limit=None, ttl_seconds=LONG, quotas=[short, self.tokens()])
        assert not await store.take_slot("s", "b", limit=None, ttl_seconds=LONG, quotas=[short])

        async def taken() -> bool:
            return bool(await store.take_slot("s", "b", limit=None, ttl_seconds=LONG, quotas=[short]))

        await until(taken)
        await store.free_slot("s", "a", quotas=[self.tokens(amount=2**40)])
        await until(taken)
        assert [use.used for use in await store.quota_uses("s", [self.tokens()])] == [2**40]

    async def test_of_many_at_once_as_many_as_the_limit_are_let_in(self, place: Place):
        stores = [place.open() for _ in range(4)]
        for limit, quotas in ((7, []), (None, [self.requests(7)])):
            name = uuid4().hex
            answers = await asyncio.gather(
                *(
                    stores[n % 4].take_slot(name, str(n), limit=limit, ttl_seconds=LONG, quotas=quotas)
                    for n in range(60)
                )
            )
            assert sum(map(bool, answers)) == 7


class Logs:
    async def test_the_newest_come_first(self, place: Place):
        store = place.open()
        assert await store.entries("log", 5) == []
        for number in range(5):
            await store.append("log", b"%d" % number + EVERY_BYTE, keep=100)
        await store.append("other", b"x", keep=100)
        assert await place.open().entries("log", 3) == [b"%d" % number + EVERY_BYTE for number in (4, 3, 2)]
        assert len(await store.entries("log", 100)) == 5
        assert await store.entries("log", 0) == []

    async def test_the_oldest_leave(self, place: Place):
        store = place.open()
        for number in range(10):
            await store.append("log", b"%d" % number, keep=4)
        assert await store.entries("log", 100) == [b"9", b"8", b"7", b"6"]
        await store.append("log", b"x", keep=2)
        assert await store.entries("log", 100) == [b"x", b"9"]


class Observations:
    async def test_the_newest_is_kept(self, place: Place):
        store = place.open()
        assert await store.observe("o", EVERY_BYTE, stamp=1_790_000_000.25, ttl_seconds=LONG)
        assert not await store.observe("o", b"older", stamp=1_790_000_000.125, ttl_seconds=0.001)
        assert await place.open().observed(["o"]) == [EVERY_BYTE]
        assert await store.observe("o", b"newer", stamp=1_790_000_000.5, ttl_seconds=LONG)
        assert await store.observed(["o"]) == [b"newer"]

    async def test_of_two_at_once_the_later_call_wins(self, place: Place):
        store = place.open()
        assert await store.observe("o", b"1", stamp=1.0, ttl_seconds=LONG)
        assert await store.observe("o", b"2", stamp=1.0, ttl_seconds=LONG)
        assert await store.observed(["o"]) == [b"2"]

    @pytest.mark.parametrize(("older", "newer"), [(-1.5, -1.25), (1e-9, 2e-9), (1e300, 1.5e300), (0.1, 0.1 + 2e-17)])
    async def test_any_unit_will_do(self, place: Place, older: float, newer: float):
        store = place.open()
        assert await store.observe("o", b"newer", stamp=newer, ttl_seconds=LONG)
        assert await store.observe("o", b"older", stamp=older, ttl_seconds=LONG) is (older == newer)

    async def test_many_come_in_the_order_asked(self, place: Place):
        store = place.open()
        for name in "ab":
            await store.observe(name, name.encode(), stamp=1, ttl_seconds=LONG)
        assert await store.observed(["b", "x", "a", "b"]) == [b"b", None, b"a", b"b"]
        assert await store.observed([]) == []

    async def test_they_expire_and_any_stamp_is_new_again(self, place: Place):
        store = place.open()
        await store.observe("o", b"1", stamp=100, ttl_seconds=SHORT)

        async def gone() -> bool:
            return await store.observed(["o"]) == [None]

        await until(gone)
        assert await store.observe("o", b"2", stamp=1, ttl_seconds=LONG)
        assert await store.observed(["o"]) == [b"2"]


class Handles:
    async def test_a_probe_leaves_nothing(self, place: Place):
        store = place.open()
        for _ in range(3):
            await store.probe()
        assert await store.names("") == []

    async def test_a_closed_handle_opens_again_and_others_never_noticed(self, place: Place):
        store, other = place.open(), place.open()
        await store.write("a", b"1", expected=0)
        assert await other.read("a") == Record(1, b"1")
        await store.close()
        assert await other.write("a", b"2", expected=1) is None
        assert await store.read("a") == Record(2, b"2")
        await store.close()
        await store.close()


class Crowds:
    """Many tasks on several handles, as requests on several workers."""

    async def test_no_increment_is_lost(self, place: Place):
        stores = [place.open() for _ in range(3)]

        async def increment(store: Store, times: int) -> None:
            for _ in range(times):
                stands = await store.read("n")
                while True:
                    version, number = (stands.version, int(stands.value or b"0")) if stands else (0, 0)
                    stands = await store.write("n", b"%d" % (number + 1), expected=version)
                    if stands is None:
                        break

        async with asyncio.TaskGroup() as group:
            for worker in range(24):
                group.create_task(increment(stores[worker % 3], 5))
        assert await stores[0].read("n") == Record(120, b"120")

    async def test_one_of_many_takes_the_lease(self, place: Place):
        stores = [place.open() for _ in range(3)]
        for _ in range(5):
            owners = [uuid4().hex for _ in range(30)]
            name = uuid4().hex
            taken = await asyncio.gather(
                *(stores[n % 3].acquire(name, owner, ttl_seconds=LONG) for n, owner in enumerate(owners))
            )
            assert sum(taken) == 1
            assert await stores[0].release(name, owners[taken.index(True)])

    async def test_slots_are_never_exceeded(self, place: Place):
        stores = [place.open() for _ in range(3)]
        inside, most, served = set[str](), 0, 0

        async def visit(number: int) -> None:
            nonlocal most, served
            store, owner = stores[number % 3], uuid4().hex
            while not await store.take_slot("s", owner, limit=4, ttl_seconds=LONG):  # noqa: ASYNC110 - as above
                await asyncio.sleep(random.uniform(0.001, 0.01))
            inside.add(owner)
            most, served = max(most, len(inside)), served + 1
            await asyncio.sleep(0.001)
            inside.discard(owner)
            await store.free_slot("s", owner)

        await asyncio.gather(*(visit(number) for number in range(40)))
        assert served == 40
        assert most <= 4
        assert await stores[0].slots_taken("s") == 0

    async def test_every_addition_counts(self, place: Place):
        stores = [place.open() for _ in range(3)]
        await asyncio.gather(
            *(stores[n % 3].add([Addition("a", {"n": 1, "m": n}, LONG), Addition("b", {"n": 1})]) for n in range(150))
        )
        assert await stores[0].totals("a") == {"n": 150, "m": sum(range(150))}
        assert await stores[1].totals("b") == {"n": 150}

    async def test_the_newest_of_many_observations_is_kept(self, place: Place):
        stores = [place.open() for _ in range(3)]
        stamps = random.sample(range(1000), 100)
        await asyncio.gather(
            *(stores[n % 3].observe("o", b"%d" % s, stamp=s, ttl_seconds=LONG) for n, s in enumerate(stamps))
        )
        assert await stores[0].observed(["o"]) == [b"%d" % max(stamps)]

    async def test_many_names_are_observed_at_once_each_by_its_stamp(self, place: Place):
        store = place.open()
        assert await store.observe("newer", b"kept", stamp=5, ttl_seconds=LONG)
        names = [f"n{number}" for number in range(600)]
        values = {name: name.encode() for name in names} | {"newer": b"late"}
        await store.observe_all(values, stamp=4, ttl_seconds=LONG)
        assert await store.observed([*names, "newer"]) == [*(name.encode() for name in names), b"kept"]
        await store.observe_all({}, stamp=4, ttl_seconds=LONG)
        await store.observe_all({names[0]: b"soon gone"}, stamp=6, ttl_seconds=SHORT)

        async def is_gone() -> bool:
            return await store.observed([names[0]]) == [None]

        await until(is_gone)

    async def test_those_who_leave_mix_up_nothing(self, place: Place):
        """The reply to a cancelled call must not be read as the reply to the next call."""
        store = place.open()
        names = [f"r{number}" for number in range(20)]
        for name in names:
            await store.write(name, name.encode(), expected=0)
        for _ in range(10):
            left = [asyncio.ensure_future(store.read(random.choice(names))) for _ in range(30)]
            stayed = {name: asyncio.ensure_future(store.read(name)) for name in names}
            for task in left:
                asyncio.get_running_loop().call_later(random.uniform(0, 0.01), task.cancel)
            for name, task in stayed.items():
                assert await task == Record(1, name.encode())
            await asyncio.gather(*left, return_exceptions=True)
        assert await store.read_many(names) == [Record(1, name.encode()) for name in names]

    @pytest.mark.alone
    async def test_the_loop_goes_on_meanwhile(self, place: Place):
        store, longest = place.open(), 0.0
        work = asyncio.gather(*(store.write(f"r{n}", b"x" * 10_000, expected=0) for n in range(50)))
        while not work.done():
            began = occupied()
            await asyncio.sleep(0)
            longest = max(longest, occupied() - began)
        await work
        assert longest < 0.3
