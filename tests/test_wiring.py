from __future__ import annotations

import multiprocessing
import pickle
from functools import partial
from pathlib import Path

import pytest
from sanic import Sanic

from gptmock import wiring
from gptmock.accounts import Secret
from gptmock.dialects.table import DIALECTS
from gptmock.settings import Settings, load_settings
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import UpstreamDeadlines
from tests.harness import CHAT_PATH, chat, client, serving_simulator, write_login
from tests.upstream.raw import Proxy


def settings(home: Path, **more: object) -> Settings:
    return load_settings({"home": str(home), **more}, environ={}, directory=home)


def test_the_factory_of_a_worker_travels_to_it(tmp_path: Path):
    factory = pickle.loads(pickle.dumps(partial(wiring.build_app, settings(tmp_path))))  # noqa: S301 - our own bytes
    assert factory.args == (settings(tmp_path),)


def test_a_worker_is_a_process_that_can_build_the_app_by_itself(tmp_path: Path):
    spawned = multiprocessing.get_context("spawn").Process(target=wiring.build_app, args=(settings(tmp_path),))
    spawned.start()
    spawned.join(60)
    assert spawned.exitcode == 0


def test_every_door_of_every_dialect_is_a_route(tmp_path: Path):
    app = wiring.build_app(settings(tmp_path))
    Sanic.unregister_app(app)
    routes = {(method, f"/{route.path}") for route in app.router.routes for method in route.methods}
    assert {(door.method, path) for door in DIALECTS for path in door.paths} <= routes
    assert {("GET", "/health"), ("HEAD", "/health"), ("GET", "/v1/models")} <= routes


def test_building_the_app_opens_nothing(tmp_path: Path):
    app = wiring.build_app(settings(tmp_path / "nothing-here"))
    Sanic.unregister_app(app)
    assert not (tmp_path / "nothing-here").exists()


@pytest.mark.parametrize("content", [None, "{", "[]"])
async def test_a_login_that_cannot_be_read_is_a_problem_in_words(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "auth.json").write_text(content)
    state = await wiring.login_state(settings(tmp_path))
    assert state.tokens is None
    assert state.problem
    assert str(tmp_path) not in state.problem


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
    assert (await wiring.login_state(settings(tmp_path))).tokens is not None
    assert Secret(login.access_token) != (await wiring.open_vault(settings(tmp_path)).load()).access_token
