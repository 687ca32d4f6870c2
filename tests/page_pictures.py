"""
The pictures of the page in the README: ``python -m tests.page_pictures`` shows a server in use, in front of the
simulator, to a browser, and writes ``deploy/dashboard-{light,dark}.png``.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import httpx

from gptmock.simulator.server import Simulator
from tests.devtools import Tab, chromium
from tests.harness import CHAT_PATH, chat, client, serving_simulator, write_login
from tests.screenshots import DEPLOY

QUESTION = "Please answer word by word, so that I can watch the stream arrive. " * 20
MODELS = ("gpt-6.2-sol", "gpt-6-sol", "gpt-5.5")


async def main() -> None:
    """Take both."""
    # The page is told of failed calls by what the log is told.
    logging.getLogger("gptmock").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        home, profile = Path(folder, "home"), Path(folder, "profile")
        async with Simulator() as simulator:
            simulator.state.options = replace(simulator.state.options, used_percent=72.0)
            write_login(home, simulator.state.logins.issue(email="ada@example.test", plan="plus").auth_json())
            async with (
                serving_simulator(simulator, home) as url,
                client(url) as opened,
                chromium(profile) as tab,
                asyncio.TaskGroup() as calls,
            ):
                keys = [await _key(opened, name, terms) for name, terms in _TEAM.items()]
                await _use(opened, simulator, keys)
                simulator.state.options = replace(simulator.state.options, pace_seconds=1.0)
                streams = [
                    calls.create_task(_stream(opened, key, model)) for key, model in zip(keys, MODELS, strict=True)
                ]
                await _take(tab, url)
                for stream in streams:
                    stream.cancel()


_TEAM: dict[str, dict[str, object]] = {
    "anneliese": {"owner": "Anneliese", "rpm": 60, "tokens_per_day": 20_000, "concurrency": 5},
    "ci": {"owner": "the build", "models": ["gpt-6*"], "rpm": 30},
    "grafana": {"role": "viewer"},
}


async def _key(opened: httpx.AsyncClient, name: str, terms: dict[str, object]) -> dict[str, str]:
    made = await opened.post("/admin/keys", json={"name": name, **terms})
    return {"authorization": f"Bearer {made.json()['key']}"}


async def _use(opened: httpx.AsyncClient, simulator: Simulator, keys: list[dict[str, str]]) -> None:
    for number in range(24):
        key = keys[number % len(keys)]
        await opened.post(CHAT_PATH, json=chat(QUESTION, model=MODELS[number % 2]), headers=key)
    simulator.state.scenes.append("429-burst")
    await opened.post(CHAT_PATH, json=chat(model="gpt-5.5"), headers=keys[0])
    # Usage is written some seconds later.
    async with asyncio.timeout(30):
        while (await opened.get("/admin/usage")).json()["total"]["requests"] < 22:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.2)


async def _stream(opened: httpx.AsyncClient, key: dict[str, str], model: str) -> None:
    body = chat(QUESTION, model=model, stream=True)
    async with opened.stream("POST", CHAT_PATH, json=body, headers=key) as reply:
        async for _ in reply.aiter_bytes():
            pass


async def _take(tab: Tab, url: str) -> None:
    await tab.size(1180, 860)
    for scheme in ("light", "dark"):
        await tab.prefers(scheme)
        await tab.open(f"{url}/dashboard")
        await tab.until("document.querySelectorAll('#now tbody tr').length >= 3")
        await tab.until("/[0-9]B/.test(document.getElementById('now').textContent)")
        await tab.until("/about [0-9.]+K? tokens/.test(document.getElementById('now').textContent)")
        await tab.until("document.querySelectorAll('#problems tbody tr').length >= 1")
        await tab.until("!document.getElementById('chart-text').textContent.includes('today 0 in')")
        picture = await tab.picture(whole=False)
        await asyncio.to_thread((DEPLOY / f"dashboard-{scheme}.png").write_bytes, picture)


if __name__ == "__main__":
    asyncio.run(main())
