"""Invitations over HTTP: from the link to a key that is bound to an account of its own, and who may do what."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms, invitation_text
from gptmock.gateway.guesses import MAX_GUESSES
from gptmock.gateway.invitations import MAX_SIGN_INS
from gptmock.login import flow
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, client, serving_simulator

ADMIN = "sk-planted-admin-0123456789"
STATIC = "sk-planted-static-0123456789"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The issuer wants to be asked every five seconds; here every twentieth of a second."""
    wait = flow._wait

    async def soon(_: float, *, deadline: float, tick: Callable[[float], None]) -> bool:
        return await wait(0.05, deadline=deadline, tick=tick)

    monkeypatch.setattr(flow, "_wait", soon)


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.fixture
async def guest(simulator: Simulator, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    proxies: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "allowed_hosts": "ai.example.com"}
    async with (
        serving_simulator(simulator, home, admin_key=ADMIN, api_key=STATIC, **proxies) as url,
        client(url) as opened,
    ):
        yield opened


async def invited(guest: httpx.AsyncClient, name: str = "ada", **terms: Any) -> str:
    """The token of a new invitation."""
    made = await guest.post("/admin/invitations", json={"name": name, **terms}, headers=bearer(ADMIN))
    assert made.status_code == 200, made.text
    return str(made.json()["link"].partition("#")[2])


async def approve(simulator: Simulator, user_code: str, email: str, **identity: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as issuer:
        decision = {"user_code": user_code, "email": email, **identity}
        decided = await issuer.post(f"{simulator.issuer_url}/simulator/device/approve", json=decision)
        assert decided.json() == {"decided": 1}


async def told_by(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


async def redeemed(
    guest: httpx.AsyncClient, simulator: Simulator, token: str, *, email: str = "ada@member.test", **identity: str
) -> dict[str, Any]:
    """What the last event of a sign-in says."""
    last: dict[str, Any] = {}
    headers = {"accept": "text/event-stream"}
    async with guest.stream("POST", "/admin/invitation/redeem", json={"token": token}, headers=headers) as response:
        if response.status_code != 200:
            return dict(json.loads(await response.aread()))
        assert response.headers["cache-control"] == "no-store"
        async for told in told_by(response):
            if "user_code" in told:
                await approve(simulator, told["user_code"], email, **identity)
            last = told
    return last


async def audited(guest: httpx.AsyncClient) -> list[dict[str, Any]]:
    events = (await guest.get("/admin/audit", headers=bearer(ADMIN))).json()["events"]
    return [one for one in reversed(events) if one["action"] != "account.imported"]


async def test_from_the_link_to_a_key_of_an_own_account(
    guest: httpx.AsyncClient, simulator: Simulator, state: State, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "gptmock")
    token = await invited(guest, models=["gpt-5*"], rpm=7, owner="Ada L.")
    offer = (await guest.post("/admin/invitation", json={"token": token})).json()
    assert (offer["name"], offer["models"], offer["rpm"]) == ("ada", ["gpt-5*"], 7)
    assert not {"owner", "role", "id"} & set(offer)
    entered = await redeemed(guest, simulator, token)
    assert (entered["name"], entered["account"]) == ("ada", "ada@member.test")
    key = await state.keys.show("ada")
    account = next(one for one in await state.vault.logins() if one.label == "ada@member.test").account
    assert key.terms == KeyTerms(owner="Ada L.", models=("gpt-5*",), rpm=7, account_id=account.id)
    # Requests with the key are served by that account, and the operator's stays the default.
    assert (await guest.post(CHAT_PATH, json=chat(), headers=bearer(entered["key"]))).status_code == 200
    served = [one for one in simulator.state.requests if one.path.endswith("/codex/responses")][-1]
    assert dict(served.headers)["chatgpt-account-id"] == account.workspace_id
    assert await state.vault.default() != account.id
    # The link is used up.
    assert (await guest.post("/admin/invitation", json={"token": token})).status_code == 404
    assert (await redeemed(guest, simulator, token))["error"]["code"] == "invitation_not_found"
    events = await audited(guest)
    assert [one["action"] for one in events] == [
        "invitation.created",
        "account.signed_in",
        "key.created",
        "invitation.redeemed",
    ]
    assert [one["actor"]["name"] for one in events] == ["GPTMOCK_ADMIN_KEY", *["invitation ada"] * 3]
    assert key.id in events[-1]["detail"]
    said = caplog.text + json.dumps(events) + "".join(str(vars(record)) for record in caplog.records)
    assert token[12:] not in said
    assert entered["key"][12:] not in said
    values = [await state.store.read(name) for name in await state.store.names("")]
    assert all(token[12:].encode() not in one.value for one in values if one is not None)


async def test_a_member_sees_and_ends_only_its_own(guest: httpx.AsyncClient, simulator: Simulator, state: State):
    ada = await redeemed(guest, simulator, await invited(guest, "ada"))
    await redeemed(guest, simulator, await invited(guest, "bob"), email="bob@member.test")
    await invited(guest, "carol")
    own = bearer(ada["key"])
    accounts = (await guest.get("/admin/accounts", headers=own)).json()["accounts"]
    assert [one["label"] for one in accounts] == ["ada@member.test"]
    assert [one["name"] for one in (await guest.get("/admin/keys", headers=own)).json()["keys"]] == ["ada"]
    for method, path in (
        ("GET", "/admin/invitations"),
        ("POST", "/admin/invitations"),
        ("DELETE", "/admin/invitations/carol"),
        ("DELETE", "/admin/keys/bob"),
    ):
        refused = await guest.request(method, path, headers=own, json={"name": "dan"} if method == "POST" else None)
        assert refused.status_code == 403, path
    for path in ("/admin/accounts", "/admin/keys", "/admin/usage", "/admin/problems"):
        assert "bob" not in (await guest.get(path, headers=own)).text
    assert (await guest.delete("/admin/keys/ada", headers=own)).json()["state"] == "revoked"
    assert (await guest.get("/admin/keys", headers=own)).status_code == 401
    assert [key.name for key in await state.keys.all() if key.revoked_at is None] == ["bob"]


async def test_a_member_takes_its_own_login_back(guest: httpx.AsyncClient, simulator: Simulator, state: State):
    ada = bearer((await redeemed(guest, simulator, await invited(guest, "ada")))["key"])
    await redeemed(guest, simulator, await invited(guest, "bob"), email="bob@member.test")
    operators = next(one for one in await state.vault.logins() if not one.member)
    bound = await state.keys.create("bound", KeyTerms(account_id=operators.account.id))
    for headers, label in (
        (ada, "bob@member.test"),
        (ada, operators.label),
        (bearer(bound.text.reveal()), operators.label),
        (bearer(STATIC), "bob@member.test"),
    ):
        refused = await guest.post(f"/admin/accounts/{label}/sign-out", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
    left = await guest.post("/admin/accounts/ada@member.test/sign-out", headers=ada)
    assert left.json() == {"label": "ada@member.test", "signed_out": True, "revoked": True}
    assert [one.label for one in await state.vault.logins() if one.member] == ["bob@member.test"]
    async with asyncio.timeout(10):
        while (await guest.post(CHAT_PATH, json=chat(), headers=ada)).status_code != 503:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)
    assert (await audited(guest))[-1]["action"] == "account.signed_out"
    # An admin may, for any account.
    assert (await guest.post("/admin/accounts/bob@member.test/sign-out", headers=bearer(ADMIN))).status_code == 200


async def test_of_several_with_one_link_one_enters_and_the_other_login_is_revoked(
    guest: httpx.AsyncClient, simulator: Simulator, state: State
):
    token = await invited(guest)
    results = await asyncio.gather(
        *(redeemed(guest, simulator, token, email=f"{name}@member.test") for name in ("one", "two", "three"))
    )
    assert sum("key" in one for one in results) == 1
    assert [one["error"]["code"] for one in results if "error" in one] == ["invitation_not_found"] * 2
    assert len(await state.keys.all()) == 1
    assert len(await state.vault.logins()) == 2, "the operator's and one member's"
    assert sum(one.path == "/oauth/revoke" for one in simulator.state.requests) == 2


async def test_the_same_account_again_gets_a_second_key_of_the_same_account(
    guest: httpx.AsyncClient, simulator: Simulator, state: State
):
    await redeemed(guest, simulator, await invited(guest, "laptop"))
    (known,) = [one for one in await state.vault.logins() if one.member]
    identity: dict[str, Any] = {"account_id": known.account.workspace_id, "user_id": known.account.user_id}
    second = await redeemed(guest, simulator, await invited(guest, "desk"), **identity)
    assert second["account"] == "ada@member.test"
    assert len([one for one in await state.vault.logins() if one.member]) == 1
    assert {key.terms.account_id for key in await state.keys.all()} == {known.account.id}
    # Also for the operator's account, which stays the default and no member's.
    default = await state.vault.default()
    (operators,) = [one for one in await state.vault.logins() if one.account.id == default]
    identity = {"account_id": operators.account.workspace_id, "user_id": operators.account.user_id}
    await redeemed(guest, simulator, await invited(guest, "own"), email=operators.account.email or "", **identity)
    assert (await state.keys.show("own")).terms.account_id == default
    assert [one.label for one in await state.vault.logins() if not one.member] == [operators.label]


async def test_a_server_of_members_only_is_ready_and_serves_nobody_else(simulator: Simulator, tmp_path: Path):
    async with serving_simulator(simulator, tmp_path, admin_key=ADMIN, api_key=STATIC) as url, client(url) as guest:
        assert (await guest.get("/readyz")).status_code == 503
        entered = await redeemed(guest, simulator, await invited(guest))
        async with asyncio.timeout(10):
            while (await guest.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.1)
        assert (await guest.post(CHAT_PATH, json=chat(), headers=bearer(entered["key"]))).status_code == 200
        refused = await guest.post(CHAT_PATH, json=chat(), headers=bearer(STATIC))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "login_required")


async def test_a_name_that_was_given_meanwhile_gets_a_number(
    guest: httpx.AsyncClient, simulator: Simulator, state: State
):
    token = await invited(guest)
    await state.keys.create("ada", KeyTerms())
    assert (await redeemed(guest, simulator, token))["name"] == "ada-2"


async def test_a_sign_in_that_ends_leaves_the_link_open(guest: httpx.AsyncClient, simulator: Simulator, state: State):
    token = await invited(guest)
    headers = {"accept": "text/event-stream"}
    async with guest.stream("POST", "/admin/invitation/redeem", json={"token": token}, headers=headers) as response:
        told = await anext(told_by(response))
    async with guest.stream("POST", "/admin/invitation/redeem", json={"token": token}, headers=headers) as response:
        events = told_by(response)
        code = (await anext(events))["user_code"]
        async with httpx.AsyncClient(trust_env=False) as issuer:
            await issuer.post(f"{simulator.issuer_url}/simulator/device/deny", json={"user_code": code})
        assert "error" in [one async for one in events][-1]
    assert code != told["user_code"]
    assert "key" in await redeemed(guest, simulator, token)
    assert len(await state.keys.all()) == 1


async def test_the_link_leads_to_the_public_url(simulator: Simulator, home: Path):
    public: dict[str, Any] = {"public_url": "https://ai.example.com", "base_path": "/ai"}
    async with serving_simulator(simulator, home, admin_key=ADMIN, **public) as url, client(url) as opened:
        made = await opened.post("/ai/admin/invitations", json={"name": "ada"}, headers=bearer(ADMIN))
        assert made.json()["link"].startswith("https://ai.example.com/ai/join#gi_")
        setups = (await opened.get("/ai/admin/clients", headers=bearer(ADMIN))).json()["clients"]
        assert "https://ai.example.com/ai" in setups[0]["snippets"][0]["text"]


async def test_it_is_listed_revoked_and_has_its_own_link(guest: httpx.AsyncClient):
    admin = bearer(ADMIN)
    headers = {**admin, "x-forwarded-proto": "https", "x-forwarded-host": "ai.example.com"}
    made = await guest.post("/admin/invitations", json={"name": "ada", "valid_seconds": 3600}, headers=headers)
    assert made.json()["link"].startswith("https://ai.example.com/join#gi_")
    assert made.headers["cache-control"] == "no-store"
    token = made.json()["link"].partition("#")[2]
    listed = (await guest.get("/admin/invitations", headers=admin)).json()["invitations"]
    assert [one["name"] for one in listed] == ["ada"]
    assert "link" not in listed[0]
    assert token[12:] not in json.dumps(listed)
    assert (await guest.post("/admin/invitations", json={"name": "ada"}, headers=admin)).status_code == 409
    assert (await guest.delete("/admin/invitations/ada", headers=admin)).status_code == 200
    assert (await guest.delete("/admin/invitations/ada", headers=admin)).status_code == 404
    assert (await guest.post("/admin/invitation", json={"token": token})).status_code == 404
    assert [one["action"] for one in await audited(guest)] == ["invitation.created", "invitation.revoked"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "ada", "role": "admin"}, "role"),
        ({"name": "ada", "valid_seconds": 59}, "valid_seconds"),
        ({"name": "ada", "valid_seconds": 31 * 86400}, "valid_seconds"),
        ({"name": "ada", "account": "work"}, "account"),
        ({"name": " ada"}, "name"),
        ({"name": "ada", "expires_at": "2020-01-01"}, "expires_at"),
        ({}, "name"),
    ],
)
async def test_a_mistake_is_named(guest: httpx.AsyncClient, body: dict[str, Any], param: str):
    refused = await guest.post("/admin/invitations", json=body, headers=bearer(ADMIN))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert (await guest.get("/admin/invitations", headers=bearer(ADMIN))).json() == {"invitations": []}


async def test_wrong_tokens_are_alike_and_bounded(guest: httpx.AsyncClient):
    wrong = [invitation_text("a" * 8, f"{number:043d}").reveal() for number in range(MAX_GUESSES)]
    answers = [await guest.post("/admin/invitation", json={"token": text}) for text in (*wrong[:-1], "gi_nonsense")]
    assert {one.status_code for one in answers} == {404}
    assert len({one.json()["error"]["message"] for one in answers}) == 1
    more = await guest.post("/admin/invitation", json={"token": wrong[-1]})
    assert (more.status_code, int(more.headers["retry-after"]) > 0) == (429, True)
    # A right one is accepted all the same, from the same address.
    token = await invited(guest)
    assert (await guest.post("/admin/invitation", json={"token": token})).status_code == 200


async def test_an_invitation_begins_a_bounded_number_of_sign_ins(guest: httpx.AsyncClient):
    token = await invited(guest)
    headers = {"accept": "text/event-stream"}
    for _ in range(MAX_SIGN_INS):
        async with guest.stream("POST", "/admin/invitation/redeem", json={"token": token}, headers=headers) as begun:
            assert begun.status_code == 200
    refused = await guest.post("/admin/invitation/redeem", json={"token": token}, headers=headers)
    assert refused.status_code == 429


async def test_the_routes_are_in_the_document(guest: httpx.AsyncClient):
    document = (await guest.get("/openapi.json")).json()
    for path, method, body in (
        ("/admin/invitations", "post", "InvitationBody"),
        ("/admin/invitation", "post", "InvitationTokenBody"),
        ("/admin/invitation/redeem", "post", "InvitationTokenBody"),
    ):
        schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{body}"}
    assert set(document["paths"]["/admin/invitations/{name}"]) == {"delete", "parameters"}


@pytest.mark.parametrize("path", ["/admin/invitation", "/admin/invitation/redeem"])
async def test_a_page_of_another_site_cannot_use_a_token(guest: httpx.AsyncClient, path: str):
    token = await invited(guest)
    for headers in ({"origin": "https://evil.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "app://obsidian.md"}):
        refused = await guest.post(path, json={"token": token}, headers={**headers, "accept": "text/event-stream"})
        assert refused.status_code == 403
    form = {"origin": str(guest.base_url).rstrip("/"), "content-type": "text/plain"}
    assert (await guest.post(path, content=json.dumps({"token": token}), headers=form)).status_code == 415


async def test_the_page_keeps_the_token_to_itself(guest: httpx.AsyncClient):
    page = await guest.get("/join")
    assert page.status_code == 200
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy
    for attribute in ("onclick=", "style=", "<style", "javascript:"):
        assert attribute not in page.text
