"""``/backend-api/*`` and the side paths of a Codex that is signed in with its user's own ChatGPT account."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.server import Simulator
from gptmock.stores.audit import StoreAuditLog
from tests.harness import client as open_client
from tests.harness import serving_simulator

JWT = "eyJhbGciOiJub25lIn0.eyJjYW5hcnkiOiJjYW5hcnktand0In0.canary-signature"
THEIRS = {
    "authorization": f"Bearer {JWT}",
    "chatgpt-account-id": "canary-account-id",
    "cookie": "session=canary-cookie",
    "x-openai-account-routing-override": "canary-routing",
    "x-openai-fedramp": "canary-fedramp",
    "x-oai-attestation": "canary-attestation",
    "oai-device-id": "canary-device",
    "originator": "codex_cli_rs",
    "user-agent": "codex_cli_rs/0.171.0 (Linux; x86_64)",
    "x-codex-window-id": "window:0",
}
INSTALLATION = "canary-installation-id"
KEY = "sk-server-0123456789"
CHECK = "/backend-api/wham/accounts/check"
MODELS = "/v1/models?client_version=0.171.0"
TURN = {
    "model": "gpt-5.5",
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
    "stream": True,
    "store": False,
    "client_metadata": {"x-codex-installation-id": INSTALLATION, "session_id": "s"},
    "prompt_cache_key": "conversation",
}
METADATA = {"x-codex-turn-metadata": json.dumps({"installation_id": INSTALLATION, "turn_id": "t"})}
EMPTY = ("settings/user", "config/bundle", "profiles/me", "workspace-messages")
FOREIGN = (
    ("GET", "/backend-api/ps/plugins/installed?limit=200"),
    ("POST", "/backend-api/ps/mcp"),
    ("GET", "/backend-api/connectors/directory/list"),
    ("GET", "/backend-api/wham/tasks/list"),
    ("POST", "/backend-api/wham/rate-limit-reset-credits/consume"),
    ("POST", "/backend-api/files"),
    ("POST", "/backend-api/codex/realtime/calls"),
    ("GET", "/backend-api/me"),
    ("GET", "/backend-api/codex/models/gpt-5.5"),
)
SIDE_BODY = {"model": "gpt-5.5", "traces": [{"id": "1"}], "query": "x", "unknown": {"a": 1}}
SIDE = (
    "/v1/memories/trace_summarize",
    "/v1/alpha/search",
    "/memories/trace_summarize",
    "/backend-api/codex/memories/trace_summarize",
    "/backend-api/codex/alpha/search",
)


def went_up(simulator: Simulator) -> str:
    """Whatever the upstream has received since the test began."""
    return json.dumps([[call.path, call.query, call.headers, call.body] for call in simulator.state.requests])


def secrets_of(home: Path) -> list[str]:
    """What tells of the account that is signed in here."""
    tokens = json.loads((home / "auth.json").read_text())["tokens"]
    return [tokens["access_token"], tokens["refresh_token"], tokens["id_token"], tokens["account_id"]]


@pytest.mark.check(353)
@pytest.mark.parametrize(
    ("settings", "origin"),
    [({}, "https://{host}"), ({"public_url": "https://codex.example:8443"}, "https://codex.example:8443")],
)
async def test_the_check_names_our_origin_and_the_clients_account(
    simulator: Simulator, home: Path, settings: dict[str, Any], origin: str
):
    async with serving_simulator(simulator, home, **settings) as url, open_client(url) as client:
        answer = await client.get(CHECK, headers=THEIRS)
        assert answer.status_code == 200
        assert answer.json() == {
            "accounts": [
                {
                    "id": "canary-account-id",
                    "workspace_backend_origin": origin.format(host=client.base_url.netloc.decode()),
                    "account_routing_override": "us",
                    "plan_type": "plus",
                    "structure": "personal",
                    "is_deactivated": False,
                }
            ],
            "account_ordering": ["canary-account-id"],
        }
        assert (await client.get(CHECK)).json() == {"accounts": [], "account_ordering": []}
    assert simulator.state.model_calls() == []


@pytest.mark.check(271)
async def test_what_is_not_listed_is_not_found(client: httpx.AsyncClient, simulator: Simulator):
    for method, path in FOREIGN:
        answer = await client.request(method, path, headers=THEIRS)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path
    assert "canary" not in went_up(simulator)
    assert (await client.post("/v1/realtime/calls", headers=THEIRS)).status_code == 404


async def test_what_would_tell_of_an_account_is_empty(client: httpx.AsyncClient, simulator: Simulator):
    for name in EMPTY:
        answer = await client.get(f"/backend-api/wham/{name}", headers=THEIRS)
        assert answer.status_code == 200
        assert answer.json() in ({}, {"messages": []})
    sent = await client.post("/backend-api/codex/analytics-events/events", headers=THEIRS, json={"events": [1]})
    assert (sent.status_code, sent.content) == (204, b"")
    assert "canary" not in went_up(simulator)


def resets_of(usage: dict[str, Any]) -> list[int]:
    """Taken out of the document: these seconds go on between two answers."""
    windows = ("primary_window", "secondary_window")
    return [usage["rate_limit"][name].pop("reset_after_seconds") for name in windows]


@pytest.mark.check(354)
async def test_usage_is_that_of_the_account_that_would_serve(client: httpx.AsyncClient, simulator: Simulator):
    simulator.state.options = SimulatorOptions(used_percent=42)
    first = (await client.get("/backend-api/wham/usage", headers=THEIRS)).json()
    assert first["rate_limit"]["primary_window"]["used_percent"] == 42
    assert first["rate_limit"]["primary_window"]["limit_window_seconds"] == 300 * 60
    assert first["rate_limit"]["secondary_window"]["used_percent"] == 3
    assert (first["rate_limit"]["allowed"], first["rate_limit"]["limit_reached"]) == (True, False)
    assert first["plan_type"] == "plus"
    assert not {"email", "user_id", "account_id"} & first.keys()
    asked = [call for call in simulator.state.requests if call.path.endswith("/wham/usage")]
    resets = resets_of(first)
    for _ in range(3):
        again = (await client.get("/backend-api/wham/usage", headers=THEIRS)).json()
        assert resets_of(again) == pytest.approx(resets, abs=10)
        assert again == first
    answer = await client.get("/backend-api/wham/rate-limit-reset-credits", headers=THEIRS)
    assert answer.json() == {"available_count": 0, "credits": []}
    assert [call for call in simulator.state.requests if call.path.endswith("/wham/usage")] == asked
    assert len(asked) <= 1


async def test_models_with_an_entity_tag(client: httpx.AsyncClient):
    async with asyncio.timeout(30):
        # The catalogue is loaded beside the first requests.
        while "etag" not in (await client.get(MODELS, headers=THEIRS)).headers:  # noqa: ASYNC110 - as ``until``
            await asyncio.sleep(0.05)
    for path in ("/v1/models", "/backend-api/codex/models"):
        first = await client.get(path, params={"client_version": "0.171.0"}, headers=THEIRS)
        assert {model["slug"] for model in first.json()["models"]} >= {"gpt-5.5"}
        tag = first.headers["etag"]
        again = await client.get(path, params={"client_version": "0.171.0"}, headers={**THEIRS, "if-none-match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.check(272)
@pytest.mark.parametrize("path", ["/v1/responses", "/backend-api/codex/responses"])
async def test_nothing_of_theirs_goes_up_and_nothing_of_ours_comes_down(
    simulator: Simulator, home: Path, path: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    async with serving_simulator(simulator, home, verbose=True) as url, open_client(url) as client:
        answers = [
            await client.post(path, json=TURN, headers={**THEIRS, **METADATA}),
            await client.post(f"{path}/compact", json={**TURN, "stream": False}, headers={**THEIRS, **METADATA}),
            await client.get("/backend-api/wham/usage", headers=THEIRS),
            await client.get("/metrics"),
            await client.get("/admin/audit"),
            *[await client.post(one, json=SIDE_BODY, headers=THEIRS) for one in SIDE[:2]],
        ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert "You said: hello" in answers[0].text
    up = went_up(simulator)
    assert "canary" not in up
    (call,) = simulator.state.model_calls()
    assert call.headers["x-codex-window-id"] == "window:0"
    ours = call.body["client_metadata"]["x-codex-installation-id"]
    assert call.body["client_metadata"]["session_id"] == "s"
    assert json.loads(call.headers["x-codex-turn-metadata"]) == {"installation_id": ours, "turn_id": "t"}
    down = "".join(f"{dict(answer.headers)}{answer.text}" for answer in answers)
    assert "set-cookie" not in down
    assert "x-codex-plan-type" not in down
    for secret in secrets_of(home):
        assert secret not in down
    logged = "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records if record.name != "httpx")
    # A verbose log shows the client's body as it came; of its login there is nothing.
    assert "canary" not in logged.replace(INSTALLATION, "")
    for secret in secrets_of(home)[:3]:
        assert secret not in logged


@pytest.mark.check(272)
async def test_the_plan_of_our_account_is_in_no_event(client: httpx.AsyncClient):
    content = [{"type": "input_text", "text": "scene:vendor-first"}]
    body = {**TURN, "input": [{"type": "message", "role": "user", "content": content}]}
    told = (await client.post("/v1/responses", json=body, headers=THEIRS)).text
    assert '"codex.rate_limits"' in told
    assert '"plan_type":null' in told
    assert told.count('"plan_type"') == 1
    strangers = {name: value for name, value in THEIRS.items() if name in ("originator", "user-agent")}
    assert '"plan_type":"plus"' in (await client.post("/v1/responses", json=body, headers=strangers)).text


@pytest.mark.parametrize("path", SIDE)
async def test_side_calls_are_passed_on_with_our_login(client: httpx.AsyncClient, simulator: Simulator, path: str):
    answer = await client.post(path, json=SIDE_BODY, headers=THEIRS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]
    (call,) = [one for one in simulator.state.requests if "trace_summarize" in one.path or "search" in one.path]
    assert call.path == "/backend-api/codex/" + path.removeprefix("/v1/").removeprefix("/backend-api/codex/").strip("/")
    assert call.body == SIDE_BODY
    assert "canary" not in went_up(simulator)


@pytest.mark.parametrize("body", [b"[1]", b"{", b'"text"'])
async def test_a_side_call_that_is_no_object_costs_nothing(client: httpx.AsyncClient, simulator: Simulator, body):
    answer = await client.post(SIDE[0], content=body, headers=THEIRS)
    assert answer.status_code == 400
    assert [one for one in simulator.state.requests if "memories" in one.path] == []


@pytest.mark.check(350)
async def test_with_keys_a_signed_in_client_never_gets_a_401(simulator: Simulator, home: Path):
    """The key travels in ``x-api-key``, beside the client's own login."""
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        calls = [
            ("POST", "/v1/responses"),
            ("POST", "/backend-api/codex/responses"),
            ("POST", "/backend-api/codex/responses/compact"),
            ("GET", "/backend-api/codex/models"),
            ("GET", "/backend-api/wham/usage"),
            ("GET", "/backend-api/wham/rate-limit-reset-credits"),
            ("POST", "/v1/images/generations"),
            ("POST", "/backend-api/codex/images/edits"),
            *[("POST", path) for path in SIDE],
        ]
        opaque = {"authorization": "Bearer opaque-token", "chatgpt-account-id": "canary-account-id"}
        for method, path in calls:
            for headers in (THEIRS, {**THEIRS, "x-api-key": "sk-wrong-0123456789"}, opaque):
                answer = await client.request(method, path, headers=headers, json=TURN)
                assert answer.status_code == 403, path
                assert "config.toml" in answer.text
                assert "env_http_headers" in answer.text
        upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        for path in ("/v1/responses", "/backend-api/codex/responses"):
            handshake = {**THEIRS, **upgrade, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
            assert (await client.get(path, headers=handshake)).status_code == 426
        assert simulator.state.model_calls() == []
        # What says nothing of our accounts is needed before the client sends any key.
        for path in (CHECK, "/backend-api/wham/settings/user"):
            assert (await client.get(path, headers=THEIRS)).status_code == 200
        for path in ("/v1/responses", "/backend-api/codex/responses"):
            served = await client.post(path, json=TURN, headers={**THEIRS, "x-api-key": KEY})
            assert served.status_code == 200
        assert "canary" not in went_up(simulator)
        assert "canary" not in (await client.get("/metrics", headers={"x-api-key": KEY})).text
    async with open_state(load_settings({"home": str(home)}, environ={})) as state:
        entries = await StoreAuditLog(state.store).latest(100)
        assert "canary" not in str(entries)


@pytest.mark.check(355)
async def test_a_model_that_our_catalogue_lacks_is_asked_for_and_explained(client: httpx.AsyncClient, simulator):
    refused = await client.post("/v1/responses", json={**TURN, "model": "gpt-7-next"}, headers=THEIRS)
    assert refused.status_code == 404
    assert "gpt-7-next" in refused.json()["error"]["message"]
    (call,) = simulator.state.model_calls()
    assert call.body["model"] == "gpt-7-next"
