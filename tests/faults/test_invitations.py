"""One invitation over several worker processes on a real Redis: of all who redeem it at once, one gets a key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from gptmock.clients import KeyTerms
from gptmock.shared_state import open_state
from tests.faults.state import Place
from tests.harness import NO_TLS, SimulatorProcess, server_process, until_all_serve, write_login

GUESTS = 6
EVENTS = {"accept": "text/event-stream"}


async def test_of_all_who_redeem_a_link_at_once_one_gets_a_key(redis_place: Place, simulator: SimulatorProcess):
    write_login(redis_place.home, simulator.new_login())
    with server_process(redis_place.home, simulator.base_url, workers=2, env=redis_place.env) as server:
        await until_all_serve(server, 2)
        async with open_state(redis_place.settings) as state:
            token = (await state.invitations.create("ada", KeyTerms(), ttl_seconds=600.0)).text.reveal()
            codes: asyncio.Queue[str] = asyncio.Queue()
            async with asyncio.TaskGroup() as group:
                guests = [group.create_task(_redeem(server.base_url, token, codes)) for _ in range(GUESTS)]
                # Each has its code; all are approved before any worker asks again.
                known = [await asyncio.wait_for(codes.get(), 60.0) for _ in guests]
                await _approve(simulator, known)
            ends = [guest.result() for guest in guests]
            assert sum("key" in one for one in ends) == 1
            assert [one["error"]["code"] for one in ends if "error" in one] == ["invitation_not_found"] * (GUESTS - 1)
            (key,) = await state.keys.all()
            members = [one for one in await state.vault.logins() if one.member]
            assert [one.account.id for one in members] == [key.terms.account_id]
            assert await state.vault.default() != key.terms.account_id
        assert token[12:] not in server.text()


async def _approve(simulator: SimulatorProcess, codes: list[str]) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as issuer:
        for number, code in enumerate(codes):
            decision = {"user_code": code, "email": f"guest{number}@member.test"}
            await issuer.post(f"{simulator.base_url}/simulator/device/approve", json=decision)


async def _redeem(url: str, token: str, codes: asyncio.Queue[str]) -> dict[str, Any]:
    """Redeem over a connection of its own, so that any worker may serve it; returns the last event."""
    last: dict[str, Any] = {}
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=60.0) as opened:
        body = {"token": token}
        async with opened.stream("POST", f"{url}/admin/invitation/redeem", json=body, headers=EVENTS) as response:
            assert response.status_code == 200
            async for told in _events(response):
                last = told
                if "user_code" in told:
                    codes.put_nowait(told["user_code"])
    return last


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])
