"""
The load of a soak: a number of streams at any time, and short requests beside them; a tenth of all has a fault.

Each answer is judged at once: what the upstream completed looks complete, what it did not never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.harness import CHAT_PATH, chat

FAULT_SHARE = 0.1
GOOD_STREAMS = ("long", "reasoning", "tool", "separators")
FAULTS = (
    "eof-mid",
    "abort-mid",
    "truncated-chunk",
    "failed-mid",
    "garbage",
    "429-burst",
    "500",
    "403-html",
    "client-leaves",
)
_COMPLETE_ALL_THE_SAME = frozenset({"garbage"})
_DONE = b"data: [DONE]"


@dataclass
class Load:
    """
    What is asked of a server, and what came of it.

    Args:
        base_url: of the server.
        streams: how many at any time.
        per_second: short requests.
        seed: of the choice of scenes.
    """

    base_url: str
    streams: int
    per_second: float
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that are not what the scene calls for."""

    async def run(self, seconds: float) -> None:
        """Ask for so long, and wait for what is under way."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with (
            httpx.AsyncClient(base_url=self.base_url, timeout=120.0, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(self.streams):
                tasks.create_task(self._stream_again_and_again(client, random.Random(self.seed + number), ends_at))
            dice = random.Random(self.seed - 1)
            while loop.time() < ends_at:
                tasks.create_task(self._ask(client, self._scene(dice, ("text",)), stream=False))
                await asyncio.sleep(1 / self.per_second)

    async def _stream_again_and_again(self, client: httpx.AsyncClient, dice: random.Random, ends_at: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < ends_at:
            await self._ask(client, self._scene(dice, GOOD_STREAMS), stream=True)

    def _scene(self, dice: random.Random, good: tuple[str, ...]) -> str:
        return dice.choice(FAULTS) if dice.random() < FAULT_SHARE else dice.choice(good)

    async def _ask(self, client: httpx.AsyncClient, scene: str, *, stream: bool) -> None:
        if scene == "client-leaves":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.post(CHAT_PATH, json=chat("scene:long", stream=True))
            self.outcomes["left"] += 1
            return
        response = await client.post(CHAT_PATH, json=chat(f"scene:{scene}", stream=stream))
        is_complete = _DONE in response.content if stream else response.status_code == 200
        should_be = scene not in FAULTS or scene in _COMPLETE_ALL_THE_SAME
        self.outcomes["complete" if is_complete else "told to be broken"] += 1
        if is_complete != should_be:
            self.wrong.append(f"{scene}: {response.status_code} {response.text[-200:]}")
