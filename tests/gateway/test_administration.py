"""The audit log of administration: what is recorded, and what happens when it cannot be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gptmock.audit import Actor, AuditEvent, AuditLog
from gptmock.clients import KeyDefaults, KeyTerms
from gptmock.errors import NameTaken, StoreUnavailable, UnknownClientKey
from gptmock.gateway.administration import LATELY_SECONDS, AuditTrail, KeyAdministration, changes
from gptmock.stores.audit import MAX_EVENTS, StoreAuditLog
from gptmock.stores.client_keys import StoreClientKeys
from gptmock.stores.memory import MemoryPlace, MemoryStore
from gptmock.stores.seal import Sealer
from tests.gateway.memory import KEY, Clock

ACTOR = Actor("ada", "laptop")


class BrokenLog:
    """An audit log that takes nothing."""

    async def record(self, event: AuditEvent) -> None:
        """See ``AuditLog.record``."""
        raise StoreUnavailable(f"No room for {event.action}.")

    async def is_first(self, subject: str, *, seconds: float) -> bool:
        """See ``AuditLog.is_first``."""
        raise StoreUnavailable(f"No room for {subject}, nor in {seconds} s.")

    async def latest(self, count: int) -> Sequence[AuditEvent]:
        """See ``AuditLog.latest``."""
        raise StoreUnavailable(f"No room for {count}.")


class House:
    def __init__(self, events: AuditLog | None = None) -> None:
        self.clock = Clock()
        store = MemoryStore(MemoryPlace(self.clock))
        self.events = events or StoreAuditLog(store)
        self.keys = StoreClientKeys(store, Sealer([KEY]), clock=self.clock)
        self.administration = KeyAdministration(self.keys, AuditTrail(self.events, ACTOR, clock=self.clock))


async def test_every_change_of_a_key_is_recorded_and_no_secret(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock.audit")
    house = House()
    issued = await house.administration.create("ci", KeyTerms(rpm=5))
    await house.administration.update("ci", lambda terms: replace(terms, rpm=None, models=("a", "b")))
    rotated = await house.administration.rotate("ci", overlap_seconds=60)
    await house.administration.revoke("ci")
    events = await house.events.latest(10)
    assert [(event.action, event.detail) for event in reversed(events)] == [
        ("key.created", "ci; rpm: 5"),
        ("key.updated", "ci; models: a,b, rpm: removed"),
        ("key.rotated", "ci; the old key is valid until 2026-09-21T14:14:20Z"),
        ("key.revoked", "ci"),
    ]
    assert {(event.target, event.actor, event.at) for event in events} == {(issued.key.id, ACTOR, house.clock.now)}
    written = str([vars(record) for record in caplog.records]) + str(events)
    assert [record.getMessage() for record in caplog.records][:1] == ["key.created"]
    for text in (issued.text, rotated.text):
        assert text.reveal() not in written


async def test_what_was_not_done_is_not_recorded():
    house = House()
    await house.administration.create("ci", KeyTerms())
    with pytest.raises(NameTaken):
        await house.administration.create("ci", KeyTerms())
    for change in (house.administration.revoke("x"), house.administration.rotate("x")):
        with pytest.raises(UnknownClientKey):
            await change
    assert len(await house.events.latest(10)) == 1
    assert (await house.administration.show("ci")).name == (await house.administration.all())[0].name == "ci"


async def test_an_event_that_cannot_be_written_is_an_error_but_the_text_of_a_new_key_is_not_lost():
    house = House(BrokenLog())
    issued = await house.administration.create("ci", KeyTerms())
    rotated = await house.administration.rotate("ci")
    assert await house.keys.find(rotated.text) is not None
    assert await house.keys.find(issued.text) is None
    with pytest.raises(StoreUnavailable, match=r"^This was done, but .* No room for key.revoked\.$"):
        await house.administration.revoke("ci")
    assert await house.keys.find(rotated.text) is None


async def test_an_event_of_security_is_recorded_or_in_the_log_of_the_server(caplog: pytest.LogCaptureFixture):
    house = House()
    trail = AuditTrail(house.events, ACTOR, clock=house.clock)
    await trail.note_event("account.login_ended", "a", "reused")
    for each in ("one", "one", "other", "one"):
        await trail.note_lately("administration.refused", "k", each=each)
    house.clock.now += LATELY_SECONDS
    await trail.note_lately("administration.refused", "k", each="one")
    actions = [event.action for event in await house.events.latest(10)]
    assert sorted(actions) == ["account.login_ended", *["administration.refused"] * 3]
    broken = AuditTrail(BrokenLog(), ACTOR, clock=house.clock)
    caplog.clear()
    await broken.note_event("account.login_ended", "a")
    await broken.note_lately("administration.refused", "k", each="one")
    assert [record.getMessage() for record in caplog.records].count("audit.unwritten") == 2


async def test_the_log_keeps_the_newest():
    place = MemoryPlace()
    events = StoreAuditLog(MemoryStore(place))
    for number in range(MAX_EVENTS + 3):
        await events.record(AuditEvent(float(number), ACTOR, "key.revoked", "k"))
    latest = await events.latest(MAX_EVENTS + 3)
    assert (len(latest), latest[0].at, latest[-1].at) == (MAX_EVENTS, MAX_EVENTS + 2, 3.0)


def test_changes_name_what_differs():
    old, new = KeyTerms(rpm=5), KeyTerms(role="admin", owner="Ada", defaults=KeyDefaults("o3", None, web_search=False))
    assert changes(old, new) == "role: user -> admin, owner: Ada, rpm: removed, reasoning_style: o3, web_search: off"
    assert changes(old, old) == ""
