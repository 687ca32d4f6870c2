"""The admin API on the whole program: roles, keys, accounts, usage, live turns, problems and the audit log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import IssuedKey, KeyTerms, Role
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, client, serving_simulator, write_login

ADMIN = "sk-planted-admin-0123456789"
STATIC = "sk-planted-static-0123456789"
ACTIONS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/admin/accounts/ada@example.test/pause", None),
    ("POST", "/admin/accounts/ada@example.test/resume", None),
    ("POST", "/admin/accounts/ada@example.test/default", None),
    ("POST", "/admin/accounts/ada@example.test/sign-out", None),
    ("POST", "/admin/keys", {"name": "new"}),
    ("PATCH", "/admin/keys/other", {"rpm": 1}),
    ("DELETE", "/admin/keys/other", None),
    ("POST", "/admin/keys/other/rotate", {}),
)
TEAM_READS = ("/admin/workers", "/admin/audit")
READS = ("/admin/accounts", "/admin/keys", "/admin/usage", "/admin/models", "/admin/problems", "/admin/clients")


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.fixture
async def opened(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with an admin key, which it sends unless a request has another."""
    async with (
        serving_simulator(simulator, home, admin_key=ADMIN, api_key=STATIC) as url,
        client(url, headers=bearer(ADMIN)) as made,
    ):
        yield made


def bearer(issued: IssuedKey | str) -> dict[str, str]:
    text = issued if isinstance(issued, str) else issued.text.reveal()
    return {"authorization": f"Bearer {text}"}


async def audited(opened: httpx.AsyncClient) -> list[Any]:
    """The audit log, newest first, without the login that the test brought along."""
    events = (await opened.get("/admin/audit")).json()["events"]
    return [one for one in events if one["action"] != "account.imported"]


async def of_role(state: State, role: Role) -> dict[str, str]:
    return bearer(await state.keys.create(f"a {role}", KeyTerms(role=role)))


@pytest.mark.parametrize("role", ["user", "viewer"])
async def test_only_an_admin_acts(opened: httpx.AsyncClient, state: State, role: Role):
    await state.keys.create("other", KeyTerms())
    headers = await of_role(state, role)
    for method, path, body in ACTIONS:
        refused = await opened.request(method, path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions"), path
        assert (await opened.request(method, path, json=body, headers=bearer("wrong"))).status_code == 401
    # One for the minute.
    (event,) = await audited(opened)
    assert (event["action"], event["detail"]) == (
        "administration.refused",
        "POST /admin/accounts/ada@example.test/pause",
    )
    assert event["actor"] == {"name": f"a {role}", "origin": "127.0.0.1"}
    assert event["target"] == (await state.keys.show(f"a {role}")).id
    assert headers["authorization"].removeprefix("Bearer ") not in str(event)


async def test_a_login_that_ends_is_in_the_audit_log_once(simulator: Simulator, home: Path, state: State):
    ended = simulator.state.logins.issue(email="ada@example.test", expires_in=-5).auth_json()
    write_login(home, ended)
    simulator.state.logins.revoke(ended["tokens"]["refresh_token"])
    async with serving_simulator(simulator, home, admin_key=ADMIN) as url, client(url, headers=bearer(ADMIN)) as opened:
        for _ in range(3):
            assert (await opened.post(CHAT_PATH, json=chat())).status_code == 503
        (event,) = await audited(opened)
    (login,) = await state.vault.logins()
    assert (event["action"], event["target"], event["detail"]) == (
        "account.login_ended",
        login.account.id,
        login.refused,
    )
    assert event["actor"]["name"] == "server"
    assert not [token for token in ended["tokens"].values() if token in str(event)]


async def test_a_viewer_reads_and_a_user_sees_its_own(opened: httpx.AsyncClient, state: State):
    viewer, user = await of_role(state, "viewer"), await of_role(state, "user")
    secret = await state.keys.create("secret-key-of-another", KeyTerms(owner="secret-owner"))
    for headers in (user, bearer(secret)):
        assert (await opened.post(CHAT_PATH, json=chat(), headers=headers)).status_code == 200
    for path in (*READS, *TEAM_READS):
        assert (await opened.get(path, headers=viewer)).status_code == 200
        assert (await opened.get(path, headers={"authorization": ""})).status_code == 401
    for path in TEAM_READS:
        assert (await opened.get(path, headers=user)).status_code == 403
    for path in READS:
        seen = await opened.get(path, headers=user)
        assert seen.status_code == 200
        for foreign in ("secret-key-of-another", "secret-owner", "ada@example.test", secret.key.id):
            assert foreign not in seen.text, path
    assert [one["name"] for one in (await opened.get("/admin/keys", headers=user)).json()["keys"]] == ["a user"]
    for name in ("secret-key-of-another", secret.key.id, "nobody"):
        missing = await opened.get(f"/admin/keys/{name}", headers=user)
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "key_not_found")


async def test_a_user_revokes_its_own_key(opened: httpx.AsyncClient, state: State):
    user = await of_role(state, "user")
    ended = await opened.delete("/admin/keys/a user", headers=user)
    assert (ended.status_code, ended.json()["state"]) == (200, "revoked")
    assert (await opened.get("/admin/keys", headers=user)).status_code == 401


async def test_a_key_from_its_creation_to_its_end(opened: httpx.AsyncClient):
    body = {
        "name": "ci",
        "rpm": 60,
        "models": ["gpt-5*"],
        "owner": "the build",
        "account": "ada@example.test",
        "expires_at": "2099-01-31T12:00:00Z",
        "defaults": {"reasoning_effort": "low", "web_search": False},
    }
    labels = [one["label"] for one in (await opened.get("/admin/accounts")).json()["accounts"]]
    body["account"] = labels[0]
    made = await opened.post("/admin/keys", json=body)
    assert made.status_code == 200, made.text
    assert made.headers["cache-control"] == "no-store"
    first = made.json()
    assert {name: first[name] for name in ("rpm", "models", "owner", "account", "expires_at")} == {
        name: body[name] for name in ("rpm", "models", "owner", "account", "expires_at")
    }
    assert (await opened.post("/admin/keys", json=body)).status_code == 409
    changed = await opened.patch("/admin/keys/ci", json={"rpm": None, "concurrency": 2, "account": None})
    assert [changed.json()[name] for name in ("rpm", "concurrency", "account")] == [None, 2, None]
    assert (await opened.post(CHAT_PATH, json=chat(), headers=bearer(first["key"]))).status_code == 200
    rotated = (await opened.post("/admin/keys/ci/rotate", json={"overlap_seconds": 60})).json()
    assert rotated["id"] == first["id"]
    assert rotated["key"] != first["key"]
    listed = await opened.get("/admin/keys")
    assert first["key"] not in listed.text
    assert {one["kind"]: one["limit"] for one in listed.json()["keys"][0]["limits"]} == {"turns": 2}
    assert (await opened.delete("/admin/keys/ci")).json()["state"] == "revoked"
    events = await audited(opened)
    assert [one["action"] for one in events] == ["key.revoked", "key.rotated", "key.updated", "key.created"]
    assert {one["actor"]["name"] for one in events} == {"GPTMOCK_ADMIN_KEY"}
    assert {one["actor"]["origin"] for one in events} == {"127.0.0.1"}
    assert first["key"] not in str(events)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": " padded"},
        {"name": "line\nbreak"},
        {"name": "n" * 101},
        {"name": "x", "rmp": 60},
        {"name": "x", "rpm": 0},
        {"name": "x", "rpm": "60"},
        {"name": "x", "role": "root"},
        {"name": "x", "models": [""]},
        {"name": "GPTMOCK_ADMIN_KEY"},
        {"name": "server without client keys"},
        {"name": "x", "owner": "\u202eevil"},
        {"name": "x", "expires_at": "tomorrow"},
        {"name": "x", "expires_at": "2001-01-01"},
        {"name": "x", "defaults": {"reasoning_effort": "huge"}},
        {"name": "x", "defaults": {"reasoning_style": "loud"}},
    ],
)
async def test_a_mistake_is_named_and_makes_no_key(opened: httpx.AsyncClient, body: Any):
    refused = await opened.post("/admin/keys", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"]
    assert (await opened.get("/admin/keys")).json() == {"keys": []}


async def test_accounts_are_paused_resumed_and_made_default(opened: httpx.AsyncClient):
    (account,) = (await opened.get("/admin/accounts")).json()["accounts"]
    path = f"/admin/accounts/{account['label']}"
    assert (await opened.post(f"{path}/pause")).json()["paused"] is True
    assert (await opened.get("/admin/accounts")).json()["accounts"][0]["paused"] is True
    assert (await opened.post(f"{path}/resume")).json()["paused"] is False
    assert (await opened.post(f"{path}/default")).json()["default"] is True
    missing = await opened.post("/admin/accounts/nobody/pause")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "account_not_found")
    actions = [one["action"] for one in await audited(opened)]
    assert actions == ["account.made_default", "account.resumed", "account.paused"]


async def test_usage_problems_and_workers_are_told(
    opened: httpx.AsyncClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gptmock")
    assert (await opened.post(CHAT_PATH, json=chat())).status_code == 200
    simulator.state.scenes.append("429-usage")
    failed = await opened.post(CHAT_PATH, json=chat())
    assert failed.status_code == 429
    async with asyncio.timeout(20):
        while not (found := (await opened.get("/admin/problems")).json()["problems"]):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)
    assert [(one["status"], one["code"], one["key"]) for one in found] == [(429, "usage_limit_reached", "none")]
    assert found[0]["request_id"] == failed.headers["x-request-id"]
    (worker,) = (await opened.get("/admin/workers")).json()["workers"]
    assert worker["pid"] > 0
    usage = (await opened.get("/admin/usage?days=2&by=day")).json()
    assert usage["by"] == ["day"]
    for query in ("days=0", "days=x", "days=401", "by=nothing", "by=day,day"):
        assert (await opened.get(f"/admin/usage?{query}")).status_code == 400


async def test_without_keys_the_caller_on_this_machine_is_the_operator(client: httpx.AsyncClient):
    made = await client.post("/admin/keys", json={"name": "first"})
    assert made.status_code == 200
    (event,) = await audited(client)
    assert event["actor"]["name"] == "server without client keys"
