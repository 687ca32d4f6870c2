"""A page of another origin in a real Chromium: it can neither read answers nor spend the account."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, plain_environment, serving_simulator, until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE_SECONDS = 200.0
PAGE = (Path(__file__).parent / "guard" / "page.html").read_text()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium in the PATH"),
    pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only"),
]


class ForeignSite:
    """
    The server of a foreign page, on a loopback address of its own (Linux has them all).

    ``/attack`` is the page, ``/result`` takes what it found. Whatever else is asked under the name ``evil.test`` goes
    to the attacked server, byte by byte: to the browser it is one origin, as after DNS rebinding.
    """

    def __init__(self, target: str) -> None:
        self.host, self.port = target.removeprefix("http://").split(":")
        self.target = target
        self.report_to = ""
        self._connections: set[asyncio.Task[None]] = set()
        self.found: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listens at 127.0.0.2 on the port of the attacked server, and on another for what the page reports."""
        server = await asyncio.start_server(self._answer, "127.0.0.2", int(self.port))
        reports = await asyncio.start_server(self._answer, "127.0.0.2", 0)
        # Not on the first port, where a connection may be passed on already.
        self.report_to = f"http://evil.test:{reports.sockets[0].getsockname()[1]}/result"
        try:
            yield
        finally:
            server.close()
            reports.close()
            # A browser opens more connections than it uses.
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answered(reader, writer)
        finally:
            writer.close()
            self._connections.discard(task)

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /attack"):
                self._page(writer)
            elif head.startswith(b"POST /result"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                document = json.loads(await reader.readexactly(length))
                if not self.found.done():
                    self.found.set_result(document)
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            else:
                await self._pass_on(head, reader, writer)
            await writer.drain()

    def _page(self, writer: asyncio.StreamWriter) -> None:
        values = {
            "TARGET": self.target,
            "REPORT_TO": self.report_to,
            "CHAT_PATH": CHAT_PATH,
            "BODY": chat("scene:text"),
        }
        body = PAGE.replace("VALUES", json.dumps(values)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(self.host, int(self.port))
        requests.write(head)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        try:
            with suppress(ConnectionError):
                await asyncio.gather(copy(reader, requests), copy(answers, writer))
        finally:
            requests.close()


async def attack(target: str, profile: Path) -> dict[str, Any]:
    """Show the page to a browser; returns what it could do, by the name of the attempt."""
    assert CHROMIUM is not None
    site = ForeignSite(target)
    flags = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--no-proxy-server", f"--user-data-dir={profile}"),
        "--host-resolver-rules=MAP evil.test 127.0.0.2, MAP rebound.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    async with site.serving():
        browser = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *flags,
            f"http://evil.test:{site.port}/attack",
            env=plain_environment(HOME=str(profile)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return await asyncio.wait_for(site.found, PAGE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            await browser.wait()


UNREADABLE = {"failed: TypeError", "opaque", "not loaded", "closed", "refused", "sent"}
REBOUND = ("rebound, GET", "rebound, JSON", "rebound, headers of a proxy")
"""To the browser the page's own origin: it may read the refusal."""


async def test_a_foreign_page_can_neither_read_nor_spend(
    base_url: str, simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptmock")
    found = await attack(base_url, tmp_path / "profile")
    assert len(found) >= 17
    for name, outcome in found.items():
        if name in REBOUND:
            assert outcome.startswith("421 "), (name, outcome)
            assert "host_not_allowed" in outcome
        else:
            assert outcome in UNREADABLE, (name, outcome)
    assert simulator.state.model_call_count == 0
    # The requests have come, and were refused here, not by the browser.
    refused = [vars(record) for record in caplog.records if record.message == "request"]
    statuses = Counter(one["status"] for one in refused)
    assert set(statuses) == {403, 421}
    assert statuses[403] >= 10
    assert statuses[421] >= 6
    assert {one["method"] for one in refused} >= {"GET", "POST", "OPTIONS"}


async def test_the_page_can_do_all_that_where_it_is_let_in(simulator: Simulator, home: Path, tmp_path: Path):
    names = "evil.test,rebound.test"
    async with serving_simulator(simulator, home, cors_origins="*", allowed_hosts=names) as url:
        found = await attack(url, tmp_path / "profile")
        for name in ("fetch, simple", "fetch, JSON", "fetch, GET", "name of loopback, JSON", *REBOUND):
            assert found[name].startswith("200 "), (name, found[name])
        # Also those that cannot be read, the beacon and the text form among them; a multipart form is no JSON.
        await until(lambda: simulator.state.model_call_count >= 10)
    assert simulator.state.model_call_count == 10
