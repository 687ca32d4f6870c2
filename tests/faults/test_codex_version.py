"""The protocol version that Codex clients raise, over real processes: workers, servers over one store, and restarts."""

from __future__ import annotations

import asyncio

import pytest

from gptmock.catalog import ModelCatalog
from tests.faults.state import Place
from tests.faults.test_catalogue import ASKED, LIVING, listed, until_all_list
from tests.harness import ServerProcess, SimulatorProcess, client, server_process, until_all_serve

pytestmark = pytest.mark.faults
NEW = "gpt-6-sol"
WITHOUT = [slug for slug in LIVING if slug != NEW]
WORKERS = 2


async def codex_asks(server: ServerProcess, version: str) -> None:
    """One turn of a Codex client of that version, with the headers that it has with a custom provider."""
    agent = f"codex_exec/{version} (Debian 13.0.0; x86_64) unknown"
    headers = {"originator": "codex_exec", "user-agent": agent}
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "scene:text"}]}
    asked = {"model": "gpt-5.5", "stream": True, "store": False, "input": [message]}
    async with client(server.base_url) as opened:
        answer = await opened.post("/v1/responses", json=asked, headers=headers)
    assert (answer.status_code, b"response.completed" in answer.content) == (200, True)


def versions_asked(simulator: SimulatorProcess) -> list[str]:
    return [request["query"]["client_version"] for request in simulator.requests(ASKED)]


async def test_a_newer_codex_client_shows_all_servers_the_models_that_need_it(
    simulator: SimulatorProcess, place: Place
):
    assert NEW in [spec.slug for spec in ModelCatalog().living]
    await place.enroll(simulator.new_login())
    simulator.options(model_versions={NEW: "0.172.0"})
    with (
        server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as one,
        server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as other,
    ):
        for server in (one, other):
            await until_all_serve(server, WORKERS)
            await until_all_list(server, WITHOUT)
        await codex_asks(one, "999.0.0")
        await codex_asks(one, "0.172.0-alpha.1")
        await asyncio.sleep(1)
        assert await listed(other) == {tuple(WITHOUT)}
        assert set(versions_asked(simulator)) == {"0.171.0"}
        await codex_asks(one, "0.172.0")
        for server in (one, other):
            await until_all_list(server, LIVING)
        assert versions_asked(simulator).count("0.172.0") == 1, "one worker asks for all"
        assert [line["version"] for line in one.logs("codex_version.raised")] == ["0.172.0"]
    # The next processes know it before they ask, and a model call of ours names it.
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=place.env) as server:
        await until_all_serve(server, WORKERS)
        assert await listed(server) == {tuple(LIVING)}
        async with client(server.base_url) as opened:
            answer = await opened.post(
                "/v1/chat/completions", json={"model": NEW, "messages": [{"role": "user", "content": "scene:text"}]}
            )
        assert answer.status_code == 200
        assert simulator.requests("/backend-api/codex/responses")[-1]["headers"]["version"] == "0.172.0"
    # The operator's word wins.
    fixed = {**place.env, "GPTMOCK_CODEX_VERSION": "0.171.0"}
    with server_process(place.home, simulator.base_url, workers=WORKERS, env=fixed) as server:
        await until_all_serve(server, WORKERS)
        await codex_asks(server, "0.173.0")
        await until_all_list(server, WITHOUT)
        assert versions_asked(simulator)[-1] != "0.173.0"
