"""A headless Chromium that a test drives over the DevTools protocol: as much of it as the tests of the page need."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.harness import plain_environment

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
SHIFT = 8
"""Source: Chrome DevTools Protocol, ``Input.dispatchKeyEvent``, ``modifiers``."""


class Tab:
    """One page of the browser; remembers what its console said, errors and violations of its policy above all."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self.complaints: list[str] = []

    async def attach(self) -> None:
        """Open a tab."""
        target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")

    async def listen(self) -> None:
        """Background task: read what the browser sends."""
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
                continue
            given = message.get("params", {})
            match message["method"]:
                case "Runtime.exceptionThrown":
                    self.complaints.append(str(given["exceptionDetails"]))
                case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                    self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
                case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                    self.complaints.append(str(given["args"]))

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session is not None else {}
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params, **session}))
        message = await asyncio.wait_for(answer, WAIT_SECONDS)
        assert "error" not in message, (method, message)
        return dict(message["result"])

    async def open(self, url: str) -> None:
        """Go to a page."""
        await self.send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of a script; a promise is awaited."""
        done = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in done, (script, done["exceptionDetails"])
        return done["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a script is true."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                with suppress(AssertionError):
                    if await self.run(script):
                        return
                await asyncio.sleep(0.1)

    async def size(self, width: int, height: int) -> None:
        """The size of the window, in CSS pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def prefers(self, scheme: str) -> None:
        """``light`` or ``dark``."""
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def key(self, name: str, code: int, *, modifiers: int = 0) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=code,
                modifiers=modifiers,
                **text,
            )

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def picture(self, *, whole: bool = True) -> bytes:
        """A screenshot as PNG, of the whole page or of the window."""
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Tab]:
    """A browser with one tab, whose files are in ``profile``."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        "--hide-scrollbars",
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        env=plain_environment(HOME=str(profile)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port, path = (await _address(profile / "DevToolsActivePort")).split("\n")
        async with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            listening = asyncio.get_running_loop().create_task(tab.listen())
            try:
                await tab.attach()
                yield tab
            finally:
                listening.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()


async def _address(file: Path) -> str:
    async with asyncio.timeout(START_SECONDS):
        while not file.exists() or "\n" not in file.read_text():  # noqa: ASYNC110, ASYNC240 - another process writes it
            await asyncio.sleep(0.1)
    return file.read_text()  # noqa: ASYNC240
