from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import msgspec
import pytest

from gptmock.accounts import Secret
from gptmock.clients import KeyTerms, key_text
from gptmock.errors import SealBroken
from gptmock.settings_sources import SettingsError, load_settings
from gptmock.shared_state import lacks_pepper, open_state, prepare
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.locations import Place as StatePlace
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.peppers import Pepper, parse_peppers
from gptmock.stores.seal import Sealer
from tests.stores.conftest import Place
from tests.stores.logins import NEW, OLD, Time, vault_on
from tests.stores.test_client_keys import House, keys_on
from tests.stores.test_migrate import Kept, migrated

ONE, TWO = "planted-pepper-of-the-operator-1", "planted-pepper-of-the-operator-2"


def peppered(place: MemoryPlace, clock: Time, *peppers: str) -> StoreClientKeys:
    return StoreClientKeys(MemoryStore(place), Sealer([OLD]), clock=clock, peppers=parse_peppers(",".join(peppers)))


def stored(place: MemoryPlace, key_id: str) -> dict[str, str]:
    """The record of a key, decrypted."""
    name = f"key:{{{key_id}}}:terms"
    (record, _) = place.records[name]
    decoded: dict[str, str] = msgspec.json.decode(
        Sealer([OLD]).open(record.value, kind="key", name=name, version=record.version)
    )
    return decoded


def make_old(place: MemoryPlace, key_id: str, **fields: str) -> None:
    """Give a key's record the plain hashes of before."""
    name = f"key:{{{key_id}}}:terms"
    (record, expiry) = place.records[name]
    plain = msgspec.json.encode({**stored(place, key_id), **fields})
    sealed = Sealer([OLD]).seal(plain, kind="key", name=name, version=record.version)
    place.records[name] = (type(record)(record.version, sealed), expiry)


def plain(text: Secret) -> str:
    return hashlib.sha256(text.reveal().encode()).hexdigest()


async def test_a_record_that_was_opened_does_not_tell_whether_a_guess_is_right(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    digest = stored(house.place, issued.key.id)["digest"]
    assert plain(issued.text) not in digest
    (name,) = [name for name in house.place.records if name.startswith("pepper:")]
    (record, _) = house.place.records[name]
    secret = Sealer([OLD]).open(record.value, kind="pepper", name=name, version=1)
    assert len(secret) == 32
    assert secret not in record.value
    assert digest == Pepper.of(secret).hash(plain(issued.text))


async def test_processes_that_begin_at_once_check_each_others_keys(place: Place):
    workers = [keys_on(place.open()) for _ in range(4)]
    made = await asyncio.gather(*(one.create(f"key {number}", KeyTerms()) for number, one in enumerate(workers)))
    for reader in (*workers, keys_on(place.open())):
        assert [await reader.find(one.text) for one in made] == [one.key for one in made]


async def test_a_given_pepper_is_not_stored_and_a_former_one_still_checks(house: House):
    issued = await peppered(house.place, house.clock, ONE).create("ada", KeyTerms())
    assert not [name for name in house.place.records if name.startswith("pepper:")]
    changed = peppered(house.place, house.clock, TWO, ONE)
    assert await changed.find(issued.text) == issued.key
    newer = await changed.create("bob", KeyTerms())
    assert await peppered(house.place, house.clock, TWO).find(newer.text) == newer.key
    for without in (peppered(house.place, house.clock, TWO), house.mine):
        with pytest.raises(SealBroken, match="GPTMOCK_KEY_PEPPER") as caught:
            await without.find(issued.text)
        assert caught.value.code == "key_pepper_unknown"
        assert issued.key in await without.unchecked()
    assert await changed.unchecked() == []


async def test_keys_from_before_the_operator_gave_a_pepper_go_on(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    assert await peppered(house.place, house.clock, ONE).find(issued.text) == issued.key


async def test_keys_without_a_pepper_go_on_and_get_one_in_one_step(house: House):
    first = await house.mine.create("ada", KeyTerms())
    second = await house.mine.rotate("ada", overlap_seconds=60.0)
    other = await house.mine.create("bob", KeyTerms())
    make_old(house.place, first.key.id, digest=plain(second.text), former_digest=plain(first.text))
    make_old(house.place, other.key.id, digest=plain(other.text))
    keys = house.process()
    for _ in range(2):
        assert await keys.find(first.text) == replace(second.key, text_ends_at=house.clock.now + 60)
        assert await keys.find(second.text) == second.key
        assert await keys.find(other.text) == other.key
        assert await keys.find(key_text(other.key.id, "x" * 43)) is None
        await keys.add_peppers()
    assert plain(first.text) not in str(stored(house.place, first.key.id))
    assert plain(second.text) not in str(stored(house.place, first.key.id))
    assert await house.process().add_peppers() == 0
    assert await house.process().find(first.text) is not None


async def test_keys_written_before_are_checked_by_a_process_that_knew_them(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    make_old(house.place, issued.key.id, digest=plain(issued.text))
    reader = house.process()
    assert await reader.find(issued.text) == issued.key
    assert await house.process().add_peppers() == 1
    house.clock.now += 2
    assert await reader.find(issued.text) == issued.key


async def test_a_pepper_that_the_store_lost_is_written_back(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    assert await house.yours.find(issued.text) == issued.key
    kept = dict(house.place.records)
    house.place.records.clear()
    house.clock.now += 2
    await house.yours.reload()
    assert {name for name in kept if name.startswith(("pepper:", "key:"))} <= set(house.place.records)
    assert await house.process().find(issued.text) == issued.key


async def test_peppers_are_sealed_anew_and_carried_with_the_keys():
    source, target = Kept(), Kept()
    mine = await keys_on(source.open()).create("ada", KeyTerms())
    theirs = await keys_on(target.open()).create("bob", KeyTerms())
    assert (await migrated(source, target)).keys.carried == 1
    await _both_are_found(target, [mine.text, theirs.text])
    assert await vault_on(target.open(), NEW, OLD).reseal() == 4
    keys = keys_on(target.open(), None, NEW)
    assert None not in [await keys.find(text) for text in (mine.text, theirs.text)]


async def _both_are_found(place: StatePlace, texts: Sequence[Secret]) -> None:
    keys = keys_on(place.open())
    assert None not in [await keys.find(text) for text in texts]


async def test_it_is_said_that_the_pepper_of_keys_is_missing(tmp_path):
    def settings(**more: str):
        return load_settings({"home": str(tmp_path)}, environ=more, directory=tmp_path)

    (tmp_path / "pepper").write_text(f"{ONE}\n")
    by_file = settings(GPTMOCK_KEY_PEPPER_FILE=str(tmp_path / "pepper"))
    async with open_state(by_file) as state:
        issued = await state.keys.create("ada", KeyTerms())
    words = "GPTMOCK_KEY_PEPPER: 1 client keys were stored with another pepper, such as that of 'ada'"
    assert (await lacks_pepper(settings()) or "").startswith(words)
    assert (await prepare(settings()))[0].startswith(words), "commands say so, and go on"
    both = settings(GPTMOCK_KEY_PEPPER=f"{TWO}, {ONE}")
    assert await lacks_pepper(both) is None
    assert len(await prepare(both)) == 1, "nobody is signed in"
    async with open_state(by_file) as state:
        assert await state.keys.find(issued.text) == issued.key


@pytest.mark.parametrize("value", ["short", f"{ONE},short"])
def test_a_short_pepper_is_refused(value: str, tmp_path):
    with pytest.raises(SettingsError, match="at least 32 characters") as caught:
        load_settings({}, environ={"GPTMOCK_KEY_PEPPER": value}, directory=tmp_path)
    assert value not in str(caught.value)


# --- Timing ------------------------------------------------------------------------------


async def test_how_much_of_a_guess_is_right_does_not_show_in_the_time_of_the_answer(house: House):
    issued = await house.mine.create("ada", KeyTerms())
    body = issued.text.reveal()[12:-6]
    wrong_at_first = key_text(issued.key.id, ("A" if body[0] != "A" else "B") + body[1:])
    wrong_at_last = key_text(issued.key.id, body[:-1] + ("A" if body[-1] != "A" else "B"))
    times: dict[str, list[float]] = {"first": [], "last": []}
    for _ in range(1500):
        for name, text in (("first", wrong_at_first), ("last", wrong_at_last)):
            started = time.perf_counter()
            assert await house.mine.find(text) is None
            times[name].append(time.perf_counter() - started)
    assert 0.5 < median(times["first"]) / median(times["last"]) < 2


def test_a_static_key_is_compared_in_a_time_that_does_not_depend_on_where_it_differs():
    # As long as to make a comparison that stops at the first difference a hundred times faster.
    own = Secret("k" * 500_000)
    wrong_at_first, wrong_at_last = Secret("x" + "k" * 499_999), Secret("k" * 499_999 + "x")

    def fastest(other: Secret) -> float:
        return min(_seconds(lambda: own == other) for _ in range(15))

    assert 0.3 < fastest(wrong_at_first) / fastest(wrong_at_last) < 3


def _seconds(call: Callable[[], bool]) -> float:
    started = time.perf_counter()
    assert not call()
    return time.perf_counter() - started


@pytest.fixture
def house() -> House:
    return House()
