"""The stream of the page over real worker processes: each tells of all of them, and a stop does not wait for pages."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import httpx

from tests.harness import NO_TLS, STOP_SECONDS, get, server_process, simulator_process, wait_until, write_login

EVENT_STREAM = {"accept": "text/event-stream"}
PAGES = 4


def test_all_workers_are_told_by_each_and_pages_end_with_the_server(tmp_path: Path):
    said: dict[int, str] = dict.fromkeys(range(PAGES), "")

    def listen(number: int, url: str) -> None:
        with (
            httpx.Client(timeout=60.0, trust_env=False, verify=NO_TLS) as opened,
            opened.stream("GET", f"{url}/admin/events", headers=EVENT_STREAM) as stream,
        ):
            for piece in stream.iter_text():
                said[number] += piece

    with simulator_process() as simulator:
        write_login(tmp_path, simulator.new_login(email="ada@example.test", plan="plus"))
        with server_process(tmp_path, simulator.base_url, workers=2) as server:
            for _ in range(6):
                wait_until(lambda: len(get(f"{server.base_url}/admin/workers").json()["workers"]) == 2)
            pages = [threading.Thread(target=listen, args=(number, server.base_url)) for number in range(PAGES)]
            for page in pages:
                page.start()
            wait_until(lambda: all('"workers":2' in text for text in said.values()))
            os.kill(server.process.pid, signal.SIGTERM)
            for page in pages:
                page.join(STOP_SECONDS)
            # The default grace is a minute, and no page holds the server for it.
            assert server.process.wait(STOP_SECONDS) == 0
    assert [text.rpartition("event: ")[2] for text in said.values()] == ["ended\ndata: {}\n\n"] * PAGES
