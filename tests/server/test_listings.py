"""Model lists of the whole program, and how model names, efforts and tiers are sent upstream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gptmock.catalog import EFFORTS, ModelCatalog
from gptmock.server.context import ServerOptions
from gptmock.simulator.catalogue import weak_etag
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.harness import client as open_client

MODELS_PATH = "/backend-api/codex/models"
NOBODY = "http://127.0.0.1:9/backend-api"
BUILT_IN = [spec.slug for spec in ModelCatalog().listed]
LIVING = [spec.slug for spec in ModelCatalog().living]


async def ids(client: httpx.AsyncClient, path: str = "/v1/models") -> list[str]:
    answer = (await client.get(path)).raise_for_status()
    return [model["id"] for model in answer.json()["data"]]


async def until_listed(client: httpx.AsyncClient, wanted: list[str], path: str = "/v1/models") -> None:
    """
    Wait until exactly these are listed, as of the background's next news.

    Raises:
        TimeoutError: something else was listed all the time.
    """
    async with asyncio.timeout(20):
        while await ids(client, path) != wanted:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def live(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """With the account's own catalogue."""
    await until_listed(client, LIVING)
    return client


@asynccontextmanager
async def other(simulator: Simulator, home: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The program with other settings, with the account's own catalogue."""
    async with serving_simulator(simulator, home, **settings) as url, open_client(url) as client:
        async with asyncio.timeout(20):
            while "gpt-5.2" in await ids(client):  # noqa: ASYNC110 - what is awaited knows no event
                await asyncio.sleep(0.01)
        yield client


def change(simulator: Simulator, **options: Any) -> None:
    simulator.state.options = replace(simulator.state.options, **options)


def sent(simulator: Simulator) -> dict[str, Any]:
    """The body of the last model call."""
    return dict(simulator.state.model_calls()[-1].body)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    document = answer.json()
    assert document.keys() == {"error"}
    assert document["error"].keys() == {"message", "type", "param", "code"}
    return dict(document["error"])


# --- Lists -----------------------------------------------------------------------------


@pytest.mark.check(25)
async def test_the_accounts_own_models_are_listed(live: httpx.AsyncClient, simulator: Simulator):
    for path in ("/v1/models", "/models"):
        document = (await live.get(path)).json()
        assert document["object"] == "list"
        for model in document["data"]:
            assert (model["object"], model["owned_by"], type(model["created"])) == ("model", "openai", int)
        assert [model["id"] for model in document["data"]] == LIVING
    assert document["data"][0]["display_name"] == "GPT-6.2-Sol"
    (request,) = [one for one in simulator.state.requests if one.path == MODELS_PATH]
    assert request.query == {"client_version": "0.171.0"}


@pytest.mark.check(113)
async def test_codex_gets_both_shapes(live: httpx.AsyncClient, simulator: Simulator):
    answer = await live.get("/v1/models", params={"client_version": "0.150.0"})
    document = answer.json()
    assert [model["id"] for model in document["data"]] == LIVING
    known = simulator.state.catalogue.models
    assert [entry["slug"] for entry in document["models"]][:2] == ["gpt-5.6-sol", "gpt-5.6-terra"]
    assert all(entry == known[entry["slug"]].entry for entry in document["models"])
    # The tag that replies name: Codex asks again when they differ.
    listing = simulator.state.catalogue.listing((0, 171, 0), "plus", simulator.state.options.minimal_version)
    assert answer.headers["etag"] == weak_etag(listing)
    plain = await live.get("/v1/models")
    assert "models" not in plain.json()
    assert "etag" not in plain.headers


async def test_efforts_are_exposed_when_the_operator_says_so(simulator: Simulator, home: Path):
    async with other(simulator, home, options=ServerOptions(expose_efforts=True)) as client:
        listed = await ids(client)
        assert listed[:2] == ["gpt-6.2-sol", "gpt-6.2-sol-low"]
        assert "gpt-6.2-sol-high" in listed
        for name in ("gpt-6.2-sol-high", "gpt-5.5-xhigh"):
            assert (await client.get(f"/v1/models/{name}")).json()["id"] == name


async def test_a_withdrawn_model_goes_and_comes_back_with_the_tags_of_replies(
    live: httpx.AsyncClient, simulator: Simulator
):
    change(simulator, withdrawn_models=("gpt-6.2-sol",))
    assert await ids(live) == LIVING
    assert (await live.post(CHAT_PATH, json=chat("scene:text"))).status_code == 200
    await until_listed(live, LIVING[1:])
    # What no request names goes to the first that is left.
    body = chat("scene:text")
    del body["model"]
    assert (await live.post(CHAT_PATH, json=body)).status_code == 200
    assert sent(simulator)["model"] == LIVING[1] == "gpt-6.2-astra"
    change(simulator, withdrawn_models=())
    await live.post(CHAT_PATH, json=chat("scene:text", stream=True))
    await until_listed(live, LIVING)


async def test_without_an_upstream_the_built_in_table_is_listed(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, upstream_url=NOBODY) as url, open_client(url) as client:
        assert await ids(client) == BUILT_IN
        document = (await client.get("/v1/models", params={"client_version": "0.150.0"})).json()
        assert document["models"] == []
        assert (await client.get("/v1/models/gpt-5.5")).status_code == 200


async def test_after_a_restart_the_last_catalogue_is_known(simulator: Simulator, home: Path):
    change(simulator, withdrawn_models=("gpt-5.5",))
    wanted = [slug for slug in LIVING if slug != "gpt-5.5"]
    async with serving_simulator(simulator, home) as url, open_client(url) as client:
        await until_listed(client, wanted)
    async with serving_simulator(simulator, home, upstream_url=NOBODY) as url, open_client(url) as client:
        await until_listed(client, wanted)
    assert len([one for one in simulator.state.requests if one.path == MODELS_PATH]) == 1


# --- One model ---------------------------------------------------------------------------


@pytest.mark.check(94)
@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize("prefix", ["/v1/models", "/models"])
@pytest.mark.parametrize(
    ("name", "shown"),
    [("gpt-5.5", "gpt-5.5"), ("GPT-5.5:latest", "gpt-5.5"), ("gpt-5.5:high", "gpt-5.5-high")],
)
async def test_one_model(live: httpx.AsyncClient, name: str, shown: str, prefix: str, escape: bool):  # noqa: FBT001
    answer = await live.get(f"{prefix}/{quote(name, safe='') if escape else name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    model = answer.json()
    assert (model["id"], model["object"], model["context_length"]) == (shown, "model", 272_000)


@pytest.mark.check(82)
@pytest.mark.parametrize(
    "name", ["gpt-9", "gpt-5.2-high", "openai/gpt-9", "openai%2Fgpt-9", "%00", "gpt-9%0d%0aX: y", "a//b"]
)
async def test_a_model_that_is_not_there(live: httpx.AsyncClient, name: str):
    answer = await live.get(f"/v1/models/{name}")
    error = error_of(answer)
    assert answer.status_code == 404
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "model_not_found", "model")
    assert "Models that exist: gpt-6.2-sol, " in error["message"]
    assert error["message"].isprintable()


@pytest.mark.check(82)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt-9", "The 'gpt-9' model is not supported when using Codex with a ChatGPT account."),
        ("gpt-5.4-high", "gpt-5.4 was retired for ChatGPT accounts (2026-08-31); use gpt-5.6-terra."),
        ("codex-mini", "codex-mini-latest was retired for ChatGPT accounts"),
    ],
)
async def test_a_refused_model_is_explained_with_the_upstreams_reason(
    live: httpx.AsyncClient,
    name: str,
    said: str,
    stream: bool,  # noqa: FBT001
):
    answer = await live.post(CHAT_PATH, json=chat(model=name, stream=stream))
    error = error_of(answer)
    assert answer.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "not supported" in error["message"]
    assert said in error["message"]
    assert error["message"].endswith(f"Models that exist: {', '.join(LIVING)}.")


async def test_a_refused_model_is_explained_by_the_catalogue_of_the_day(live: httpx.AsyncClient, simulator: Simulator):
    change(simulator, withdrawn_models=("gpt-6-astra",))
    await live.post(CHAT_PATH, json=chat("scene:text"))
    await until_listed(live, [slug for slug in LIVING if slug != "gpt-6-astra"])
    error = error_of(await live.post(CHAT_PATH, json=chat(model="gpt-6-astra-high")))
    assert "This account's catalogue does not have gpt-6-astra." in error["message"]
    assert "gpt-6-astra," not in error["message"].partition("Models that exist")[2]


async def test_a_model_gated_by_identity_names_the_variable(live: httpx.AsyncClient, simulator: Simulator, home: Path):
    change(simulator, gate_originator=True)
    error = error_of(await live.post(CHAT_PATH, json=chat(model="gpt-6-luna")))
    assert error["code"] == "model_not_found"
    assert error["message"].startswith("Model not found gpt-6-luna")
    assert "GPTMOCK_ORIGINATOR" in error["message"]
    async with other(simulator, home, originator="codex_cli_rs") as client:
        assert (await client.post(CHAT_PATH, json=chat("scene:text", model="gpt-6-luna"))).status_code == 200


# --- Efforts and tiers on the wire -----------------------------------------------------


@pytest.mark.check(106)
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-6-luna", "gpt-6.1-sol"])
async def test_an_effort_is_sent_as_the_model_has_it(
    live: httpx.AsyncClient, simulator: Simulator, model: str, effort: str
):
    offered = [one["effort"] for one in simulator.state.catalogue.models[model].entry["supported_reasoning_levels"]]
    nearest = {"none": "low", "minimal": "low", "ultra": "max"}.get(effort, effort)
    expected = nearest if nearest in offered else "xhigh"
    asked: list[dict[str, Any]] = [
        chat("scene:text", model=model, reasoning_effort=effort),
        chat("scene:text", model=model, reasoning={"effort": effort}),
        chat("scene:text", model=f"{model}-{effort}"),
        # What the request says wins over its model's name.
        chat("scene:text", model=f"{model}-low", reasoning_effort=effort),
    ]
    for body in asked:
        assert (await live.post(CHAT_PATH, json=body)).status_code == 200
        assert sent(simulator)["model"] == model
        assert sent(simulator)["reasoning"]["effort"] == expected


async def test_efforts_follow_the_live_catalogue(simulator: Simulator, home: Path):
    entry = dict(simulator.state.catalogue.models["gpt-5.5"].entry)
    entry["supported_reasoning_levels"] = [{"effort": "high", "description": ""}]
    entry["service_tiers"] = entry["additional_speed_tiers"] = []
    changed = {
        **simulator.state.catalogue.models,
        "gpt-5.5": replace(simulator.state.catalogue.models["gpt-5.5"], entry=entry),
    }
    simulator.state.catalogue = replace(simulator.state.catalogue, models=changed)
    async with other(simulator, home) as client:
        answer = await client.post(CHAT_PATH, json=chat("scene:text", model="gpt-5.5-low", service_tier="fast"))
        assert answer.status_code == 200
        assert sent(simulator)["reasoning"]["effort"] == "high"
        assert "service_tier" not in sent(simulator)
        assert answer.headers["x-gptmock-ignored"] == "service_tier"


@pytest.mark.check(107)
@pytest.mark.parametrize(
    ("model", "members", "tier"),
    [
        ("gpt-5.5", {"service_tier": "fast"}, "priority"),
        ("gpt-5.5", {"service_tier": "priority"}, "priority"),
        ("gpt-5.5-fast", {}, "priority"),
        ("gpt-5.5", {"service_tier": "auto"}, None),
        ("gpt-5.5", {"service_tier": "default"}, None),
        ("gpt-5.5", {"service_tier": "flex"}, None),
        ("gpt-5.5", {}, None),
        ("codex-auto-review", {"service_tier": "fast"}, "priority"),
        ("gpt-daybreak-blue-latest-fast", {}, None),
    ],
)
async def test_the_tier_is_sent_where_the_model_has_it(
    live: httpx.AsyncClient, simulator: Simulator, model: str, members: dict[str, Any], tier: str | None
):
    answer = await live.post(CHAT_PATH, json=chat("scene:text", model=model, **members))
    assert answer.status_code == 200
    assert sent(simulator).get("service_tier") == tier
    assert json.loads(answer.content)["service_tier"] in {tier or "default", "auto"}
