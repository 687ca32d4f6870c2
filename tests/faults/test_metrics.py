"""Metrics of real workers: any of them tells the sum, and it equals what the simulator has seen."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import (
    CHAT_PATH,
    ServerProcess,
    SimulatorProcess,
    chat,
    client,
    server_process,
    until_all_serve,
)
from tests.metrics.test_deploy_files import RULES
from tests.metrics.test_metrics import samples
from tests.ports import free_port

pytestmark = pytest.mark.faults
WORKERS = 2
TURNS = 40
OK = (("dialect", "chat"), ("model", "gpt-5.5"), ("outcome", "ok"))


async def scraped(server: ServerProcess, **headers: str) -> bytes:
    """One scrape over a connection of its own, by whichever worker takes it."""
    async with client(server.base_url) as opened:
        response = (await opened.get("/metrics", headers=headers)).raise_for_status()
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return response.content


async def call(server: ServerProcess, count: int) -> None:
    async with client(server.base_url) as opened:
        answers = await asyncio.gather(
            *(opened.post(CHAT_PATH, json=chat("scene:text", stream=bool(number % 2))) for number in range(count))
        )
    assert {answer.status_code for answer in answers} == {200}


async def test_every_worker_tells_the_sum_also_after_one_was_killed(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=WORKERS) as server:
        await until_all_serve(server, WORKERS)
        await call(server, TURNS)
        os.kill(min(server.workers()), signal.SIGKILL)
        # The new one, too.
        await until_all_serve(server, WORKERS + 1)
        await call(server, TURNS)
        # Sampled some times a second.
        async with asyncio.timeout(10):
            while samples(await scraped(server))["gptmock_open_turns", ()]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        told = [samples(await scraped(server)) for _ in range(8)]
        sent = len(simulator.requests("/backend-api/codex/responses"))
        assert sent == 2 * TURNS
        for one in told:
            assert one["gptmock_turns_total", OK] == sent
            assert one["gptmock_upstream_responses_total", (("status", "200"),)] == sent
            assert one["gptmock_turn_seconds_count", (("dialect", "chat"),)] >= sent
            assert one["gptmock_workers", ()] == WORKERS
            assert one["gptmock_worker_starts_total", ()] == WORKERS + 1
        active = [
            value
            for (name, labels), value in told[0].items()
            if name == "gptmock_account_state" and ("state", "active") in labels
        ]
        assert active == [1]


async def test_the_static_key_calls_models_and_reads_no_metrics(simulator: SimulatorProcess, home: Path):
    with server_process(home, simulator.base_url, workers=1, env={"GPTMOCK_API_KEY": "for-calls"}) as server:
        async with client(server.base_url) as opened:
            keyless = await opened.get("/metrics")
            user = await opened.get("/metrics", headers={"authorization": "Bearer for-calls"})
    assert (keyless.status_code, keyless.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (user.status_code, user.json()["error"]["code"]) == (403, "insufficient_permissions")


@pytest.mark.parametrize("given", ["flag", "variable"])
async def test_a_listener_for_scrapes_alone(simulator: SimulatorProcess, home: Path, given: str):
    port = free_port()
    bind, env = f"127.0.0.1:{port}", {"GPTMOCK_API_KEY": "for-calls"}
    more: dict[str, Any] = {"args": ["--metrics-bind", bind], "env": env}
    if given == "variable":
        more = {"env": {**env, "GPTMOCK_METRICS_BIND": bind}}
    with server_process(home, simulator.base_url, workers=WORKERS, **more) as server:
        await until_all_serve(server, WORKERS)
        async with client(f"http://127.0.0.1:{port}") as opened:
            told = [samples((await opened.get("/metrics", headers={"connection": "close"})).content) for _ in range(8)]
            probes = [(await opened.get(path)).status_code for path in ("/health", "/readyz")]
            model = await opened.post(CHAT_PATH, json=chat())
            # A page whose name was rebound, and one of another origin.
            rebound = await opened.get("/metrics", headers={"host": f"evil.test:{port}"})
            foreign = await opened.get("/metrics", headers={"origin": "http://evil.test"})
        assert (await get_metrics(server)).status_code == 401
        assert server.stop() == 0
    assert {one["gptmock_workers", ()] for one in told} == {WORKERS}
    assert probes == [200, 200]
    assert (model.status_code, model.json()["error"]["code"]) == (404, "unknown_url")
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (421, "host_not_allowed")
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "origin_not_allowed")


async def get_metrics(server: ServerProcess) -> httpx.Response:
    async with client(server.base_url) as opened:
        return await opened.get("/metrics")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus (Debian: prometheus) is not installed")
async def test_a_real_prometheus_scrapes_a_server(simulator: SimulatorProcess, home: Path, tmp_path: Path):
    with server_process(home, simulator.base_url, workers=1) as server:
        await call(server, 2)
        address, port = server.base_url.removeprefix("http://"), free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "gptmock", "static_configs": [{"targets": [address]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML.
        command = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with running(command):
            async with client(f"http://127.0.0.1:{port}") as opened:
                assert await answered(opened, "sum(gptmock_turns_total{outcome='ok'})") == "2"
                rules = (await opened.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []
    assert len(rules) == 10


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A program beside the test."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


async def answered(prometheus: httpx.AsyncClient, query: str) -> str:
    """The first value that a query has."""
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx.HTTPError, LookupError):
                # While it starts, it says 503.
                found = (await prometheus.get("/api/v1/query", params={"query": query})).raise_for_status()
                return str(found.json()["data"]["result"][0]["value"][1])
            await asyncio.sleep(0.2)
