from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from gptmock.dialects.responses.codex import shown_version
from gptmock.gateway.version import VersionWatch
from gptmock.protocol.codex_version import OWN_VERSION
from gptmock.stores.codex_version import SharedVersion
from gptmock.stores.memory import MemoryPlace, MemoryStore
from tests.harness import until


def codex(version: str) -> dict[str, str]:
    return {"originator": "codex_exec", "user-agent": f"codex_exec/{version} (Debian 13.0.0; x86_64) unknown"}


def worker(
    place: MemoryPlace,
    *,
    fixed: str | None = None,
    shown: Callable[[Mapping[str, str]], str | None] = shown_version,
) -> VersionWatch:
    return VersionWatch(SharedVersion(MemoryStore(place)), fixed=fixed, shown=shown)


@asynccontextmanager
async def running(watch: VersionWatch) -> AsyncIterator[None]:
    task = asyncio.ensure_future(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def saved(place: MemoryPlace) -> str | None:
    return await SharedVersion(MemoryStore(place)).load()


async def test_without_a_codex_client_it_is_our_own():
    place = MemoryPlace()
    watch = worker(place)
    watch.changed = lambda _: pytest.fail("told")
    await watch.reload()
    for headers in ({}, {"user-agent": "OpenAI/Python 3.57.0"}, codex("0.170.0"), codex(OWN_VERSION)):
        watch.note(headers)
    assert watch.current == OWN_VERSION


async def test_a_newer_client_raises_it_here_at_once_and_everywhere_after_the_next_load(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, "gptmock.version")
    place = MemoryPlace()
    first, second = worker(place), worker(place)
    told: list[str] = []
    first.changed = second.changed = told.append
    async with running(first):
        first.note(codex("0.172.0"))
        assert (first.current, told) == ("0.172.0", ["0.172.0"])
        await asyncio.wait_for(_until_saved(place, "0.172.0"), 10)
    await second.reload()
    assert (second.current, told) == ("0.172.0", ["0.172.0", "0.172.0"])
    late = worker(place)
    await late.reload()
    assert late.current == "0.172.0"
    assert [record.message for record in caplog.records] == ["codex_version.raised"]


async def _until_saved(place: MemoryPlace, version: str) -> None:
    while await saved(place) != version:  # noqa: ASYNC110 - what is awaited knows no event
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", ["999.0.0", "1.0.0", "0.372.0", "0.172.0-alpha.1", "0.99999999.0", "0.172", ""])
async def test_nonsense_changes_nothing(version: str):
    place = MemoryPlace()
    watch = worker(place)
    async with running(watch):
        watch.note(codex(version))
        watch.note({"originator": "codex_exec", "version": version})
        await asyncio.sleep(0.02)
    assert (watch.current, await saved(place)) == (OWN_VERSION, None)


async def test_it_never_falls():
    place = MemoryPlace()
    watch = worker(place)
    watch.note(codex("0.180.0"))
    watch.note(codex("0.175.0"))
    await SharedVersion(MemoryStore(place)).save("0.172.0")
    await watch.reload()
    assert watch.current == "0.180.0"


async def test_the_operators_version_wins_and_what_was_seen_is_kept_for_others():
    place = MemoryPlace()
    watch, free = worker(place, fixed="0.160.0"), worker(place)
    watch.changed = lambda _: pytest.fail("told")
    async with running(watch):
        watch.note(codex("0.172.0"))
        await asyncio.wait_for(_until_saved(place, "0.172.0"), 10)
    await watch.reload()
    await free.reload()
    assert (watch.current, free.current) == ("0.160.0", "0.172.0")


async def test_the_store_is_written_for_a_higher_version_only():
    place = MemoryPlace()
    watch = worker(place)
    async with running(watch):
        watch.note(codex("0.172.0"))
        await asyncio.wait_for(_until_saved(place, "0.172.0"), 10)
        await asyncio.sleep(0.02)
        before = place.calls
        for number in range(50):
            watch.note(codex("0.172.0"))
            watch.note({"user-agent": f"OpenAI/Python {number}"})
            watch.note(codex("0.171.0"))
        await asyncio.sleep(0.02)
        assert place.calls == before
        await watch.reload()
        await asyncio.sleep(0.02)
        assert place.calls == before + 1


async def test_equal_clients_are_parsed_once():
    parsed: list[object] = []
    watch = worker(MemoryPlace(), shown=parsed.append)
    for _ in range(100):
        watch.note(codex("0.172.0"))
    assert len(parsed) == 1
    watch.note({**codex("0.172.0"), "version": "0.172.0"})
    assert len(parsed) == 2


async def test_what_could_not_be_saved_is_saved_later():
    place = MemoryPlace()
    watch = worker(place)
    place.fail()
    async with running(watch):
        before = place.calls
        watch.note(codex("0.172.0"))
        await until(lambda: place.calls > before)
        assert watch.current == "0.172.0"
        place.recover()
        assert await saved(place) is None
        await watch.reload()
        await asyncio.wait_for(_until_saved(place, "0.172.0"), 10)
