"""Two keys of one server: nothing that one says reaches the other, and upstream they share no id."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from tests.faults.state import Place, times
from tests.harness import CHAT_PATH, SimulatorProcess, chat, client, server_process, until_all_serve

pytestmark = pytest.mark.faults

WORKERS = 4
REQUESTS = times(600, 12_000)
AT_ONCE = 40
LEFT = 0.3
"""The part of the requests whose client leaves."""
MODEL_PATH = "/backend-api/codex/responses"
BOTH = {"session_id": "0197aaaa-0000-7000-8000-000000000001", "conversation_id": "0197aaaa-0000-7000-8000-000000000001"}
"""What both say of themselves."""
IDS = ("session-id", "thread-id", "x-client-request-id", "conversation_id", "session_id")


@dataclass
class Member:
    """Somebody with a key of their own."""

    name: str
    headers: dict[str, str]
    responses: list[str] = field(default_factory=list)
    """Ids of stored responses."""
    answered: int = 0

    @property
    def canary(self) -> str:
        return f"CANARY-OF-{self.name.upper()}"


@dataclass
class Traffic:
    """The requests of both, of every kind, some left by their client."""

    opened: httpx.AsyncClient
    chance: random.Random
    foreign: int = 0
    """Answers with what the other has said."""

    async def ask(self, member: Member, other: Member) -> None:
        path, body, refused = self._request(member, other)
        try:
            async with asyncio.timeout(self.chance.uniform(0.0, 0.05) if self.chance.random() < LEFT else 60):
                answer = await self.opened.post(path, json=body, headers=member.headers)
        except TimeoutError:
            return
        assert (answer.status_code == 400) == refused, answer.text
        assert refused or answer.status_code == 200, answer.text
        assert refused or member.canary in answer.text
        self.foreign += other.canary in answer.text
        member.answered += not refused
        if path == "/v1/responses" and not refused:
            member.responses.append(answer.json()["id"])

    def _request(self, member: Member, other: Member) -> tuple[str, dict[str, Any], bool]:
        said = f"{member.canary} {self.chance.randrange(20)}"
        messages = [{"role": "user", "content": said}]
        match self.chance.choice(["chat", "streamed", "ollama", "messages", "response", "next", "theirs"]):
            case "chat":
                return CHAT_PATH, chat(said, prompt_cache_key="shared"), False
            case "streamed":
                return CHAT_PATH, chat(said, stream=True, user="shared"), False
            case "ollama":
                return "/api/chat", {"model": "gpt-5.5", "messages": messages, "stream": False}, False
            case "messages":
                return "/v1/messages", {"model": "gpt-5.5", "max_tokens": 100, "messages": messages}, False
            case "next" if member.responses:
                before = self.chance.choice(member.responses)
                return "/v1/responses", {"model": "gpt-5.5", "input": said, "previous_response_id": before}, False
            case "theirs" if other.responses:
                before = self.chance.choice(other.responses)
                return "/v1/responses", {"model": "gpt-5.5", "input": said, "previous_response_id": before}, True
            case _:
                return "/v1/responses", {"model": "gpt-5.5", "input": said, "prompt_cache_key": "shared"}, False


@pytest.mark.timeout(900)
async def test_nothing_of_one_key_reaches_another(redis_place: Place, simulator: SimulatorProcess):
    await redis_place.enroll(simulator.new_login())
    with server_process(redis_place.home, simulator.base_url, workers=WORKERS, env=redis_place.env) as server:
        await until_all_serve(server, WORKERS)
        ada, bob = [await member(redis_place, name) for name in ("ada", "bob")]
        async with client(server.base_url) as opened:
            traffic = Traffic(opened, random.Random(7))
            for _ in range(REQUESTS // AT_ONCE):
                pairs = [(ada, bob), (bob, ada)] * (AT_ONCE // 2)
                await asyncio.gather(*(traffic.ask(*pair) for pair in pairs))
        assert traffic.foreign == 0
        assert min(ada.answered, bob.answered) > REQUESTS * (1 - LEFT) / 4
        check_upstream(simulator, ada, bob)


async def member(place: Place, name: str) -> Member:
    async with place.opened() as state:
        issued = await state.keys.create(name, KeyTerms())
    return Member(name, {"authorization": f"Bearer {issued.text.reveal()}", **BOTH})


def check_upstream(simulator: SimulatorProcess, *members: Member) -> None:
    """No request holds what both said, and no id stands in requests of both."""
    ids: dict[str, set[str]] = {one.name: set() for one in members}
    for request in simulator.requests(MODEL_PATH):
        said = json.dumps(request["body"])
        owners = [one.name for one in members if one.canary in said]
        assert len(owners) == 1, said
        told = {request["headers"].get(name) for name in IDS} | {request["body"].get("prompt_cache_key")}
        ids[owners[0]] |= {one for one in told if one}
    first, second = ids.values()
    assert first
    assert second
    assert not first & second
