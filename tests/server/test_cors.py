from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.server.cors import CorsPolicy
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.harness import client as open_client

PAGE = "http://localhost:3000"
APP = "app://obsidian.md"
EVIL = "https://evil.example"
KEY = "sk-planted-0123456789abcd"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-lang"}


@pytest.fixture
async def pages(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A server that allows the origins of a web page and an app."""
    async with (
        serving_simulator(simulator, home, cors_origins=f"{PAGE}, {APP}") as url,
        open_client(url) as client,
    ):
        yield client


def said_of_origins(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


# --- The policy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (PAGE, PAGE),
        (APP, APP),
        ("HTTP://LOCALHOST:3000", "HTTP://LOCALHOST:3000"),
        (EVIL, None),
        ("null", None),
        ("", None),
        (None, None),
        (f"{PAGE}.evil.example", None),
        (f"{EVIL}/{PAGE}", None),
        (f"{PAGE}/", None),
        ("http://localhost", None),
        ("http://localhost:3001", None),
        ("https://localhost:3000", None),
        ("*", None),
        (f"{PAGE}, {EVIL}", None),
        (f"{PAGE}\r\nx: y", None),
    ],
)
def test_an_origin_is_compared_as_a_whole(origin: str | None, allowed: str | None):
    headers = {} if origin is None else {"origin": origin}
    answer = CorsPolicy((PAGE, APP)).answer(headers)
    assert answer.get("access-control-allow-origin") == allowed
    assert answer["vary"] == "Origin"
    assert CorsPolicy(()).answer(headers) == {}


def test_all_origins_are_one_answer_for_everybody():
    policy = CorsPolicy(("*",))
    assert policy.answer({"origin": EVIL})["access-control-allow-origin"] == "*"
    assert "vary" not in policy.answer({"origin": EVIL})
    assert policy.answer({}) == {}


@pytest.mark.parametrize("asked", ["x\r\ny: z", "x" * 5000, "\udcff", "", "a;b", '"'])
def test_only_a_list_of_names_is_repeated(asked: str):
    allowed = CorsPolicy(("*",)).preflight({"access-control-request-headers": asked})["access-control-allow-headers"]
    assert allowed.startswith("Authorization, Content-Type")


# --- Over HTTP ------------------------------------------------------------------------------


@pytest.mark.check(91)
@pytest.mark.parametrize("origin", [PAGE, APP])
@pytest.mark.parametrize("path", [CHAT_PATH, "/chat/completions/", "/v1/completions", "/v1/models", "/v1/nowhere"])
async def test_a_browser_may_ask(pages: httpx.AsyncClient, simulator: Simulator, origin: str, path: str):
    response = await pages.options(path, headers={"origin": origin, **ASKS})
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["access-control-allow-headers"] == "authorization,x-stainless-lang"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert int(response.headers["access-control-max-age"]) > 0
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers
    assert simulator.state.model_call_count == 0


@pytest.mark.check(91)
@pytest.mark.parametrize("origin", [EVIL, "null"])
async def test_a_foreign_page_is_told_nothing(pages: httpx.AsyncClient, origin: str):
    for method, path in (("OPTIONS", CHAT_PATH), ("GET", "/v1/models"), ("GET", "/nowhere"), ("GET", "/health")):
        response = await pages.request(method, path, headers={"origin": origin, **ASKS})
        assert (response.status_code, said_of_origins(response)) == (403, set())
        assert response.headers["vary"] == "Origin"


@pytest.mark.check(91)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", CHAT_PATH, chat("scene:text"), 200),
        ("POST", CHAT_PATH, chat("scene:text", stream=True), 200),
        ("POST", CHAT_PATH, {}, 400),
        ("POST", CHAT_PATH, chat("scene:503-overload"), 503),
        ("GET", "/v1/models", None, 200),
        ("HEAD", "/v1/models", None, 200),
        ("GET", "/v1/nowhere", None, 404),
        ("GET", "/api/nowhere", None, 404),
        ("GET", CHAT_PATH, None, 405),
        ("OPTIONS", CHAT_PATH, None, 405),
        ("POST", "/v1/embeddings", {}, 404),
    ],
)
async def test_answers_of_every_kind_can_be_read_by_the_page(
    pages: httpx.AsyncClient, method: str, path: str, body: object, status: int
):
    response = await pages.request(method, path, json=body, headers={"origin": PAGE})
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == PAGE
    exposed = response.headers["access-control-expose-headers"]
    assert {"x-request-id", "retry-after", "x-should-retry"} <= set(exposed.split(", "))
    assert "access-control-allow-credentials" not in response.headers


async def test_a_question_needs_no_key_and_an_answer_does(simulator: Simulator, home: Path):
    async with (
        serving_simulator(simulator, home, cors_origins=PAGE, api_key=KEY) as url,
        open_client(url) as client,
    ):
        assert (await client.options(CHAT_PATH, headers={"origin": PAGE, **ASKS})).status_code == 204
        refused = await client.post(CHAT_PATH, json=chat(), headers={"origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.check(91)
async def test_by_default_nothing_is_said_about_origins(client: httpx.AsyncClient):
    for method, path in (("OPTIONS", CHAT_PATH), ("POST", CHAT_PATH), ("GET", "/v1/models"), ("GET", "/nowhere")):
        response = await client.request(
            method, path, headers={"origin": PAGE, **ASKS}, content=json.dumps(chat("scene:text"))
        )
        assert (response.status_code, said_of_origins(response)) == (403, set())
        assert "vary" not in response.headers


async def test_a_star_lets_all_pages_in_without_credentials(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, cors_origins="*") as url, open_client(url) as client:
        response = await client.options(CHAT_PATH, headers={"origin": EVIL, **ASKS})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (204, "*")
        assert "access-control-allow-credentials" not in response.headers
