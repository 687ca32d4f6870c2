"""Client keys on the whole program: authentication, tenants, and bound accounts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.accounts import Account
from gptmock.clients import IssuedKey, KeyTerms
from gptmock.gateway.guesses import GUESS_SECONDS, MAX_GUESSES
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from gptmock.stores.auth_file import read_login
from tests.harness import CHAT_PATH, chat, client, serving_simulator, write_login
from tests.timing import generous

STATIC = "sk-planted-0123456789abcd"
SEEN_SECONDS = 1.0
"""A change is seen by every worker within this time."""


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    """Another process on the store of the server, as a command is."""
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


def bearer(issued: IssuedKey | str) -> dict[str, str]:
    text = issued if isinstance(issued, str) else issued.text.reveal()
    return {"authorization": f"Bearer {text}"}


async def second_account(state: State, simulator: Simulator, directory: Path) -> Account:
    path = write_login(directory / "second", simulator.state.logins.issue(email="bob@example.test").auth_json())
    login = read_login(path)
    assert login is not None
    return (await state.vault.enroll(login, label="bob")).account


async def test_an_expired_key_is_called_so_only_where_the_api_does(simulator: Simulator, home: Path, state: State):
    async with serving_simulator(simulator, home, api_key=STATIC) as url, client(url) as opened:
        expired = bearer(await state.keys.create("ada", KeyTerms(expires_at=time.time() - 1)))
        wrong = {"authorization": expired["authorization"][:-4] + "0000"}
        body = {"model": "gpt-5.5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        said = [await opened.post("/v1/messages", json=body, headers=headers) for headers in (expired, wrong)]
        listed = await opened.get("/v1/models", headers={**expired, "anthropic-version": "2023-06-01"})
        other = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=expired)
    assert [one.status_code for one in (*said, listed, other)] == [403, 401, 403, 401]
    assert [one.json()["error"]["type"] for one in said] == ["permission_error", "authentication_error"]
    assert "expired" in said[0].json()["error"]["message"]
    assert (other.json()["error"]["code"], "expired" in other.text) == ("invalid_api_key", False)


async def test_a_key_bound_to_an_account_uses_it(
    simulator: Simulator, home: Path, state: State, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="gptmock.turn")
    async with serving_simulator(simulator, home, api_key=STATIC) as url, client(url) as opened:
        bob = await second_account(state, simulator, home)
        bound = await state.keys.create("bound", KeyTerms(account_id=bob.id))
        free = await state.keys.create("free", KeyTerms())
        for headers in (bearer(bound), bearer(free), bearer(STATIC)):
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"), headers=headers)).status_code == 200
    asked = [call.headers["chatgpt-account-id"] for call in simulator.state.model_calls()]
    assert [one == bob.workspace_id for one in asked] == [True, False, False]
    cache_keys = {call.headers["session-id"] for call in simulator.state.model_calls()}
    assert len(cache_keys) == 3, "what belongs to different keys never mixes"
    turns = [vars(record) for record in caplog.records if record.getMessage() == "turn"]
    assert [turn["key"] for turn in turns] == [bound.key.id, free.key.id, None]
    assert bound.text.reveal() not in str(turns)


async def test_a_key_bound_to_an_account_that_left_is_served_by_nobody(simulator: Simulator, home: Path, state: State):
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        bob = await second_account(state, simulator, home)
        bound = await state.keys.create("bound", KeyTerms(account_id=bob.id))
        await state.vault.forget(bob.id)
        refused = await opened.post(CHAT_PATH, json=chat("scene:text"), headers=bearer(bound))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "login_required")
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
    assert simulator.state.model_call_count == 1


async def test_a_revoked_key_is_refused_within_a_second(simulator: Simulator, home: Path, state: State):
    async with serving_simulator(simulator, home) as url, client(url) as opened:
        issued = await state.keys.create("ada", KeyTerms())
        assert (await opened.get("/v1/models", headers=bearer(issued))).status_code == 200
        await state.keys.revoke("ada")
        revoked = time.monotonic()
        while (response := await opened.get("/v1/models", headers=bearer(issued))).status_code == 200:
            assert time.monotonic() - revoked < generous(SEEN_SECONDS)
            await asyncio.sleep(0.05)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
        assert issued.text.reveal() not in response.text
        assert (await opened.get("/v1/models", headers=bearer("anything"))).status_code == 200


GUESSED = (
    ("POST", "/v1/chat/completions", "authorization", ("error", "code"), "rate_limit_exceeded"),
    ("POST", "/v1/responses", "api-key", ("error", "code"), "rate_limit_exceeded"),
    ("POST", "/v1/completions", "x-api-key", ("error", "code"), "rate_limit_exceeded"),
    ("POST", "/v1/messages", "x-api-key", ("error", "type"), "rate_limit_error"),
    ("GET", "/v1/models", "authorization", ("error", "code"), "rate_limit_exceeded"),
    ("GET", "/admin/keys", "api-key", ("error", "code"), "rate_limit_exceeded"),
    ("GET", "/v1/usage", "x-api-key", ("error", "code"), "rate_limit_exceeded"),
    ("GET", "/metrics", "authorization", ("error", "code"), "rate_limit_exceeded"),
)


async def test_guesses_are_bounded_on_every_route_in_its_own_shape(simulator: Simulator, home: Path, state: State):
    async with serving_simulator(simulator, home, api_key=STATIC) as url, client(url) as opened:

        async def guess(number: int, method: str, path: str, header: str) -> httpx.Response:
            text = f"gm_guess-{number}"
            headers = {header: f"Bearer {text}" if header == "authorization" else text}
            return await opened.request(method, path, headers=headers, json={} if method == "POST" else None)

        for number in range(MAX_GUESSES):
            method, path, header, *_ = GUESSED[number % len(GUESSED)]
            assert (await guess(number, method, path, header)).status_code == 401
        for number, (method, path, header, (outer, inner), code) in enumerate(GUESSED):
            refused = await guess(100 + number, method, path, header)
            assert (refused.status_code, refused.json()[outer][inner]) == (429, code), path
            assert 0 < int(refused.headers["retry-after"]) <= GUESS_SECONDS
            assert refused.headers["x-should-retry"] == "false"
        ollama = await guess(200, "POST", "/api/chat", "authorization")
        assert (ollama.status_code, list(ollama.json())) == (429, ["error"])
        assert (await opened.post(CHAT_PATH, json=chat("scene:text"), headers=bearer(STATIC))).status_code == 200
        events = (await opened.get("/admin/audit", headers=bearer(await admin_of(state)))).json()["events"]
    (event,) = [one for one in events if one["action"] == "keys.guessed"]
    assert event["actor"] == {"name": "unknown client", "origin": "127.0.0.1"}


async def admin_of(state: State) -> IssuedKey:
    return await state.keys.create("boss", KeyTerms(role="admin"))
