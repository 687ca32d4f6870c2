"""Stored responses over several processes, and when their keys change."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gptmock.errors import SealBroken
from tests.faults.state import KEY, Place
from tests.faults.test_secrets import NEW_KEY
from tests.harness import SimulatorProcess, client, server_process, until_all_serve

pytestmark = pytest.mark.faults

PATH = "/v1/responses"


async def respond(base_url: str, text: str, **members: Any) -> dict[str, Any]:
    """Over a connection of its own, so that any worker may answer."""
    async with client(base_url) as opened:
        answer = await opened.post(PATH, json={"model": "gpt-5.5", "input": text, **members})
    assert answer.status_code == 200, answer.text
    if not members.get("stream"):
        return dict(answer.json())
    frame = answer.text.rstrip().rpartition("\n\n")[2]
    return dict(json.loads(frame.partition("data: ")[2])["response"])


def texts(simulator: SimulatorProcess) -> list[str]:
    """What the last model call was given."""
    items = simulator.requests("/backend-api/codex/responses")[-1]["body"]["input"]
    return [item["content"][0]["text"] for item in items if item["type"] == "message"]


@pytest.mark.check(77)
async def test_two_servers_continue_one_conversation(simulator: SimulatorProcess, redis_place: Place):
    place = redis_place
    await place.enroll(simulator.new_login())
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(server_process(place.home, simulator.base_url, env=place.env, workers=1))
            for _ in range(2)
        ]
        previous: dict[str, Any] = {}
        for turn in range(6):
            base_url = servers[turn % 2].base_url
            answer = await respond(base_url, f"turn {turn}", stream=turn % 3 == 0, **previous)
            said.append(f"turn {turn}")
            assert texts(simulator) == said
            said.append(f"You said: turn {turn}")
            previous = {"previous_response_id": answer["id"]}
            # What one has said the other can tell at once: it was stored before its end was heard.
            stored = await asyncio.to_thread(httpx.get, f"{servers[(turn + 1) % 2].base_url}{PATH}/{answer['id']}")
            assert stored.json() == answer
        reference = [{"type": "item_reference", "id": answer["output"][-1]["id"]}]
        await respond(servers[0].base_url, "", input=[*reference, {"role": "user", "content": "and?"}])
        assert texts(simulator) == ["You said: turn 5", "and?"]


@pytest.mark.check(77)
async def test_the_workers_of_a_server_continue_one_conversation(simulator: SimulatorProcess, place: Place):
    await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, env=place.env, workers=2) as server:
        await until_all_serve(server, 2)
        previous: dict[str, Any] = {}
        pids: set[int] = set()
        turn = 0
        # Who takes a connection is the kernel's choice: until more than one worker has taken part.
        while turn < 12 or len(pids) < 2:
            assert turn < 200
            # A crowd beside it keeps one worker from taking all.
            async with client(server.base_url) as crowd:
                answer, *_ = await asyncio.gather(
                    respond(server.base_url, f"turn {turn}", stream=turn % 2 == 0, **previous),
                    *(crowd.post(PATH, content=b"{") for _ in range(10)),
                )
            previous = {"previous_response_id": answer["id"]}
            assert len(texts(simulator)) == 2 * turn + 1
            turn += 1
            pids = {line["pid"] for line in server.logs("turn") if line["status"] == 200}


async def test_responses_outlive_a_change_of_keys(simulator: SimulatorProcess, redis_place: Place):
    place = redis_place
    await place.enroll(simulator.new_login())
    with server_process(place.home, simulator.base_url, env=place.env) as server:
        first = await respond(server.base_url, "before")
    both = {**place.env, "GPTMOCK_ENCRYPTION_KEYS": f"{NEW_KEY},{KEY}"}
    with server_process(place.home, simulator.base_url, env=both, workers=1):
        await until_resealed(place, first["id"])
    alone = {**place.env, "GPTMOCK_ENCRYPTION_KEYS": NEW_KEY}
    with server_process(place.home, simulator.base_url, env=alone) as server:
        await respond(server.base_url, "after", previous_response_id=first["id"])
    assert texts(simulator) == ["before", "You said: before", "after"]


async def until_resealed(place: Place, response_id: str) -> None:
    """Wait until the new key alone opens the response, and the logins."""
    async with asyncio.timeout(60), replace(place, keys=NEW_KEY).opened() as state:
        while True:
            with contextlib.suppress(SealBroken):
                await state.vault.check_key()
                if not await state.vault.broken():
                    assert await state.conversations.load("", response_id) is not None
                    return
            await asyncio.sleep(0.2)
