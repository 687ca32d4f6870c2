"""What open pages cost: the store is read once for all pages of a worker, whoever has opened them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.gateway.team import Team
from gptmock.server.live_feed import EVERY_TICKS, READING_SECONDS
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from gptmock.stores.client_keys import StoreClientKeys
from tests.harness import CHAT_PATH, chat, client, serving_simulator

EVENTS = {"accept": "text/event-stream"}
PAGES = 40
READINGS = ("overview", "broken", "labels", "all_keys", "open_invitations", "used", "workers", "problems")
READING_TICKS = 3
ADMIN = "sk-planted-admin-0123456789"
FORWARDED = {"x-forwarded-for": "203.0.113.7"}
"""Of a request that came by a proxy: where no key is required, its role is ``user``."""


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the store is read for pages, by the kind of the reading."""
    counted: Counter[str] = Counter()

    def counting(kind: type, name: str) -> Any:
        read = getattr(kind, name)

        async def wrapped(*arguments: Any) -> Any:
            counted[" ".join([name, *map(str, arguments[1:])])] += 1
            return await read(*arguments)

        return wrapped

    for name in READINGS:
        monkeypatch.setattr(Team, name, counting(Team, name))
    monkeypatch.setattr(StoreClientKeys, "show", counting(StoreClientKeys, "show"))
    return counted


async def page(opened: httpx.AsyncClient, headers: dict[str, str], shown: asyncio.Semaphore) -> None:
    """An open page; says when it has its first state."""
    async with opened.stream("GET", "/admin/events", headers=headers) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: state"):
                shown.release()


@pytest.mark.parametrize("owners", [1, PAGES], ids=["one key", "a key for each"])
async def test_many_pages_cost_one_reader(simulator: Simulator, home: Path, readings: Counter[str], owners: int):
    settings = load_settings({"home": str(home)}, environ={}, directory=home)
    async with (
        open_state(settings) as state,
        serving_simulator(simulator, home, admin_key=ADMIN) as url,
        client(url) as opened,
        asyncio.TaskGroup() as group,
    ):
        terms = (KeyTerms(role="viewer"), KeyTerms(role="user"))
        keys = [await state.keys.create(f"k{number}", terms[number % 2]) for number in range(owners)]
        headers = [EVENTS | {"authorization": f"Bearer {key.text.reveal()}"} for key in keys]
        began = asyncio.get_running_loop().time()
        shown = asyncio.Semaphore(0)
        pages = [group.create_task(page(opened, headers[number % owners], shown)) for number in range(PAGES)]
        async with asyncio.timeout(60):
            for _ in pages:
                await shown.acquire()
        # Some ticks of the feed, told by what is read in each.
        before = readings["workers"]
        async with asyncio.timeout(60):
            while readings["workers"] < before + READING_TICKS:  # noqa: ASYNC110 - the feed has its own clock
                await asyncio.sleep(0.05)
        intervals = (asyncio.get_running_loop().time() - began) / READING_SECONDS + 2
        # Keys are read for themselves, and for their names.
        assert 0 < max(readings.values()) <= 2 * intervals, readings
        assert not any(kind.startswith("show") for kind in readings), "keys are not read one by one"
        for one in pages:
            one.cancel()


@asynccontextmanager
async def opened_page(opened: httpx.AsyncClient, headers: dict[str, str]) -> AsyncIterator[AsyncIterator[Any]]:
    """A page that stays open while the context lasts; yields the states that it gets, the first one complete."""

    async def states() -> AsyncIterator[Any]:
        async for line in stream.aiter_lines():
            if line.startswith("data: {") and line != "data: {}":
                yield json.loads(line.removeprefix("data: "))

    async with opened.stream("GET", "/admin/events", headers=EVENTS | headers) as stream:
        yield states()


async def test_each_page_is_complete_at_once(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, client(url) as opened, opened_page(opened, {}) as first:
        assert (await anext(first)).keys() == EVERY_TICKS.keys()
        # A turn is news for the section that is read most often, and the others have not been read again.
        assert (await opened.post(CHAT_PATH, json=chat())).is_success
        assert (await anext(first)).keys() < EVERY_TICKS.keys()
        async with opened_page(opened, {}) as second:
            assert (await anext(second)).keys() == EVERY_TICKS.keys()


@pytest.mark.parametrize("names", [("operator", "guest"), ("guest", "operator")], ids=lambda names: f"{names[0]} first")
async def test_pages_of_operator_and_guest_are_kept_apart(simulator: Simulator, home: Path, names: tuple[str, str]):
    headers = {"operator": dict[str, str](), "guest": FORWARDED}
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        assert (await opened.post("/admin/keys", json={"name": "ada"})).is_success
        assert (await opened.post("/admin/invitations", json={"name": "bob"})).is_success
        async with opened_page(opened, headers[names[0]]) as one:
            seen = {names[0]: await anext(one)}
            async with opened_page(opened, headers[names[1]]) as two:
                seen[names[1]] = await anext(two)
                # What comes later is for each of them, too.
                assert (await opened.post("/admin/keys", json={"name": "eve"})).is_success
                async with asyncio.timeout(60):
                    while "keys" not in (state := await anext(one if names[0] == "operator" else two)):
                        pass
                assert [key["name"] for key in state["keys"]] == ["ada", "eve"]
    mine = seen["operator"]
    assert [account["email"] for account in mine["accounts"]["accounts"]] == ["demo@example.test"]
    assert [[one["name"] for one in mine[place]] for place in ("keys", "invitations")] == [["ada"], ["bob"]]
    guests = seen["guest"]
    assert guests["accounts"]["accounts"] == guests["keys"] == guests["invitations"] == guests["workers"] == []


async def test_a_page_with_fewer_rights_does_not_get_what_the_key_saw_before(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        made = (await opened.post("/admin/keys", json={"name": "ada", "role": "viewer"})).json()
        headers = {"authorization": f"Bearer {made['key']}"}
        async with opened_page(opened, headers) as before:
            assert (await anext(before))["accounts"]["accounts"]
            assert (await opened.patch("/admin/keys/ada", json={"role": "user"})).is_success
            async with opened_page(opened, headers) as after:
                assert (await anext(after))["accounts"]["accounts"] == []


async def test_a_page_by_a_replaced_text_goes_on_until_the_overlap_ends(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home) as url, client(url) as opened, asyncio.timeout(60):
        made = (await opened.post("/admin/keys", json={"name": "ada", "role": "viewer"})).json()
        assert (await opened.post("/admin/keys/ada/rotate", json={"overlap_seconds": 8})).is_success
        async with opened_page(opened, {"authorization": f"Bearer {made['key']}"}) as page:
            assert [key["name"] for key in (await anext(page))["keys"]] == ["ada"]
            assert (await opened.post("/admin/keys", json={"name": "eve"})).is_success
            # Keys are read every third second, and callers each second.
            while "keys" not in (state := await anext(page)):
                pass
            assert [key["name"] for key in state["keys"]] == ["ada", "eve"]
            assert [state async for state in page if "error" in state] == []


@pytest.mark.parametrize(("limits", "told"), [({"rpm": 60}, range(1, 50)), ({}, [None])], ids=["limits", "no limits"])
async def test_a_call_in_progress_tells_its_tokens_where_they_are_counted(
    simulator: Simulator, home: Path, limits: dict[str, int], told: Container[int | None]
):
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        made = (await opened.post("/admin/keys", json={"name": "ada", **limits})).json()
        body, headers = chat("scene:stall:60", stream=True), {"authorization": f"Bearer {made['key']}"}
        async with (
            asyncio.timeout(60),
            opened.stream("POST", CHAT_PATH, json=body, headers=headers) as reply,
            opened_page(opened, {}) as page,
        ):
            text = ""
            frames = reply.aiter_lines()
            while not text:
                frame = json.loads((await anext(frames)).removeprefix("data: ") or "{}")
                text = "".join(one["delta"].get("content") or "" for one in frame.get("choices", ()))
            turns: list[Any] = []
            while not (turns and turns[0]["sent_bytes"]):
                turns = (await anext(page)).get("now", {}).get("turns", turns)
        assert turns[0]["output_tokens"] in told
