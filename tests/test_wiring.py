from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from sanic import Sanic

from gptmock import shared_state, wiring
from gptmock.accounts import Secret
from gptmock.command_services import open_command_services
from gptmock.dialects.table import DIALECTS
from gptmock.errors import UnusableKey
from gptmock.overview import AccountOverview
from gptmock.server.context import App
from gptmock.settings import Settings
from gptmock.settings_sources import SettingsError, load_settings
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.server import Simulator
from gptmock.stores.locations import KEY_FILE, STATE_FILE
from gptmock.upstream.codex import UpstreamDeadlines
from tests.harness import CHAT_PATH, chat, client, many_apps, serving_simulator, until, write_login
from tests.ports import free_port
from tests.upstream.raw import Proxy

BOOK = TokenRegistry(SimulatorOptions)
KEY = base64.b64encode(bytes(range(32))).decode()


def settings(home: Path, **more: object) -> Settings:
    return load_settings({"home": str(home), **more}, environ={}, directory=home)


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Building the app configures the logs of a whole process; here they belong to pytest."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def overview(given: Settings) -> list[AccountOverview]:
    async with open_command_services(given) as services:
        return await services.overview(ask=False)


def built(given: Settings) -> App:
    with many_apps():
        app = wiring.build_app(given)
    Sanic.unregister_app(app)
    return app


def test_every_route_of_every_dialect_is_a_route(tmp_path: Path):
    app = built(settings(tmp_path))
    routes = {(method, f"/{route.path}") for route in app.router.routes for method in route.methods}
    assert {(route.method, path) for route in DIALECTS for path in route.paths} <= routes
    assert {("GET", "/health"), ("HEAD", "/health"), ("GET", "/v1/models"), ("GET", "/api/tags")} <= routes


async def test_the_operators_word_for_ollamas_version_is_what_clients_hear(tmp_path: Path):
    app = built(settings(tmp_path, ollama_version="0.14.2"))
    (route,) = [one for one in app.router.routes if one.path == "api/version"]
    answer = await route.handler(None)
    assert answer.body == b'{"version":"0.14.2"}'


def test_building_the_app_opens_nothing(tmp_path: Path):
    built(settings(tmp_path / "nothing-here"))
    assert not (tmp_path / "nothing-here").exists()


@pytest.mark.parametrize("content", [None, "{", "[]"])
async def test_a_login_that_cannot_be_read_is_a_note_in_words(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "auth.json").write_text(content)
    (note,) = await shared_state.prepare(settings(tmp_path))
    assert note
    assert str(tmp_path) not in note
    assert await overview(settings(tmp_path)) == []


async def test_a_login_is_taken_over_once_and_a_logout_stays_one(tmp_path: Path):
    write_login(tmp_path, BOOK.issue(email="ada@example.test").auth_json())
    for _ in range(2):
        assert await shared_state.prepare(settings(tmp_path)) == []
        (account,) = await overview(settings(tmp_path))
        assert (account.login.label, account.is_default) == ("ada@example.test", True)
    async with shared_state.open_state(settings(tmp_path)) as state:
        await state.vault.forget(account.login.account.id)
    (note,) = await shared_state.prepare(settings(tmp_path))
    assert note.startswith("No ChatGPT account is signed in.")
    assert await overview(settings(tmp_path)) == []


async def test_state_sealed_with_another_key_is_left_alone_and_nothing_starts(tmp_path: Path):
    write_login(tmp_path, BOOK.issue().auth_json())
    await shared_state.prepare(settings(tmp_path))
    async with shared_state.open_state(settings(tmp_path)) as state:
        names = await state.store.names("")
        before = await state.store.read_many(names)
    with pytest.raises(UnusableKey, match="Nothing was changed"):
        await shared_state.prepare(settings(tmp_path, encryption_keys=KEY))
    async with shared_state.open_state(settings(tmp_path)) as state:
        assert await state.store.names("") == names
        assert await state.store.read_many(names) == before


async def test_a_store_that_is_away_is_a_note_and_no_reason_not_to_start(tmp_path: Path):
    away = settings(tmp_path, redis_url=f"redis://:planted@127.0.0.1:{free_port()}", encryption_keys=KEY)
    (note,) = await shared_state.prepare(away)
    assert "Redis" in note
    assert "planted" not in note + shared_state.storage(away)
    async with wiring.open_services(away, UpstreamDeadlines()) as services:
        (reason,) = await services.readiness()
        assert reason.startswith("auth_unavailable: ")
        assert "Redis" in reason


@pytest.mark.parametrize("keys", ["", "c2hvcnQ=", "not base64", "A" * 43 + "="])
async def test_a_key_that_must_not_be_used_is_named_by_what_is_wrong(tmp_path: Path, keys: str):
    file = tmp_path / "keys"
    file.write_text(keys)
    with pytest.raises(UnusableKey) as caught:
        await shared_state.prepare(settings(tmp_path, encryption_keys_file=file))
    assert not keys or keys not in str(caught.value)
    with pytest.raises(UnusableKey, match="cannot be read"):
        await shared_state.prepare(settings(tmp_path, encryption_keys_file=tmp_path / "none"))


async def test_the_key_that_is_made_is_private_and_made_once(tmp_path: Path):
    home = tmp_path / "home"
    await shared_state.prepare(settings(home))
    made = (home / KEY_FILE).read_bytes()
    await shared_state.prepare(settings(home))
    assert (home / KEY_FILE).read_bytes() == made
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        KEY_FILE: 0o600,
        STATE_FILE: 0o600,
    }


async def test_services_are_opened_and_closed_again_and_again(tmp_path: Path):
    for _ in range(3):
        async with wiring.open_services(settings(tmp_path), UpstreamDeadlines()) as services:
            (reason,) = await services.readiness()
            assert reason.startswith("login_required: ")


async def test_model_calls_and_refreshes_go_through_the_proxy(tmp_path: Path):
    async with Simulator() as simulator, Proxy() as proxy:
        login = simulator.state.logins.issue(expires_in=-5)
        write_login(tmp_path, login.auth_json())
        async with (
            serving_simulator(simulator, tmp_path, upstream_proxy=proxy.url) as url,
            client(url) as opened,
        ):
            assert (await opened.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
    assert proxy.seen[0] == f"POST {simulator.issuer_url}/oauth/token"
    assert simulator.state.model_call_count == 1
    async with shared_state.open_state(settings(tmp_path)) as state:
        held = await state.vault.load((await state.vault.logins())[0].account.id)
    assert held.access_token != Secret(login.access_token)


async def _conversation(opened: AsyncClient, path: str = "/v1/responses") -> list[int]:
    """Three turns of a client that sends back what it got; their statuses."""
    said = [{"role": "user", "content": "scene:tool"}]
    weather = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    statuses = []
    for _ in range(3):
        answer = await opened.post(path, json={"model": "gpt-5.5", "input": said, "tools": [weather], "store": False})
        statuses.append(answer.status_code)
        output = answer.json()["output"]
        results = [
            {"type": "function_call_output", "call_id": one["call_id"], "output": "12"}
            for one in output
            if one["type"] == "function_call"
        ]
        said = [*said, *output, *(results or [{"role": "user", "content": "scene:text"}])]
    return statuses


@pytest.mark.check(253)
@pytest.mark.parametrize(("transport", "by_http"), [("http", 3), ("websocket", 0), ("auto", 1)])
async def test_the_operator_chooses_the_transport(tmp_path: Path, transport: str, by_http: int):
    async with Simulator() as simulator:
        write_login(tmp_path, simulator.state.logins.issue().auth_json())
        async with serving_simulator(simulator, tmp_path, upstream_transport=transport) as url, client(url) as opened:
            assert await _conversation(opened) == [200] * 3
            metrics = (await opened.get("/metrics")).text
        assert len(simulator.state.model_calls()) == by_http
        sent = [("previous_response_id" in one.body) for one in simulator.state.socket_calls()]
        assert sent == [False, True, True][: 3 - by_http]
        if sent:
            assert f'gptmock_upstream_websocket_turns_total{{sent="incremental"}} {sum(sent)}.0' in metrics
        await until(lambda: simulator.state.open_sockets == 0)


@pytest.mark.parametrize(("given", "told"), [({}, 0), ({"host": "0.0.0.0", "allow_unauthenticated": True}, 1)])
async def test_the_metrics_tell_whether_anybody_may_call(tmp_path: Path, given: dict[str, Any], told: int):
    async with wiring.open_services(settings(tmp_path, **given), UpstreamDeadlines()) as services:
        assert f"gptmock_unauthenticated {told}.0" in (await services.exposition()).decode()


def test_websockets_do_not_go_through_a_proxy(tmp_path: Path):
    with pytest.raises(SettingsError, match="GPTMOCK_UPSTREAM_TRANSPORT: must be http with GPTMOCK_UPSTREAM_PROXY"):
        settings(tmp_path, upstream_transport="auto", upstream_proxy="http://127.0.0.1:1")


@pytest.mark.check(334)
@pytest.mark.parametrize(("given", "coding"), [({}, "zstd"), ({"upstream_compression": "off"}, None)])
async def test_the_operator_may_switch_compression_off(tmp_path: Path, given: dict[str, Any], coding: str | None):
    async with Simulator() as simulator:
        write_login(tmp_path, simulator.state.logins.issue().auth_json())
        async with serving_simulator(simulator, tmp_path, **given) as url, client(url) as opened:
            for text in ("scene:text", f"scene:text {'word ' * 4000}"):
                assert (await opened.post(CHAT_PATH, json=chat(text))).status_code == 200
        assert [one.headers.get("content-encoding") for one in simulator.state.model_calls()] == [None, coding]
