import asyncio
import base64
import json
import time
import urllib.parse
from typing import Any

import httpx
import pytest

from gptmock.simulator.device import pkce_challenge
from gptmock.simulator.options import CODEX_CLIENT_ID
from gptmock.simulator.server import Simulator, SimulatorOptions
from tests.simulator.wire import RESPONSES, body, headers_of

VERIFIER = "v" * 43
REDIRECT = "http://localhost:1455/auth/callback"
AUTHORIZE = {
    "response_type": "code",
    "client_id": CODEX_CLIENT_ID,
    "redirect_uri": REDIRECT,
    "scope": "openid profile email offline_access",
    "code_challenge": pkce_challenge(VERIFIER),
    "code_challenge_method": "S256",
    "state": "state-1",
}


def claims(token: str) -> dict[str, Any]:
    head, payload, signature = token.split(".")
    assert head
    assert signature
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


def refresh_fields(token: str) -> dict[str, str]:
    return {"client_id": CODEX_CLIENT_ID, "grant_type": "refresh_token", "refresh_token": token}


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/oauth/token", json=refresh_fields(token))


async def code_from(client: httpx.AsyncClient) -> str:
    response = await client.get("/oauth/authorize", params=AUTHORIZE)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(response.headers["location"]).query)
    assert (response.status_code, query["state"]) == (302, ["state-1"])
    return query["code"][0]


def code_fields(code: str, /, **changes: str) -> dict[str, str]:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return {**fields, "client_id": CODEX_CLIENT_ID, **changes}


@pytest.mark.parametrize("encoding", ["data", "json"])
async def test_a_login_in_the_browser(stranger, encoding):
    response = await stranger.post("/oauth/token", **{encoding: code_fields(await code_from(stranger))})
    tokens = response.json()
    assert response.status_code == 200
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 864000
    found, access = claims(tokens["id_token"]), claims(tokens["access_token"])
    auth = found["https://api.openai.com/auth"]
    assert found["email"] == "demo@example.test"
    assert found["aud"] == [CODEX_CLIENT_ID]
    assert found["iss"].startswith("http://127.0.0.1:")
    assert auth["chatgpt_plan_type"] == "plus"
    assert auth["chatgpt_account_id"] == access["https://api.openai.com/auth"]["chatgpt_account_id"]
    assert access["exp"] - access["iat"] == 864000
    headers = {"authorization": f"Bearer {tokens['access_token']}", "chatgpt-account-id": auth["chatgpt_account_id"]}
    assert (await stranger.post(RESPONSES, json=body(), headers=headers)).status_code == 200


async def test_the_same_person_returns_to_the_same_account(stranger):
    seen = set()
    for _ in range(2):
        tokens = (await stranger.post("/oauth/token", data=code_fields(await code_from(stranger)))).json()
        seen.add(claims(tokens["id_token"])["https://api.openai.com/auth"]["chatgpt_account_id"])
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"response_type": "token"}, "response_type must be code"),
        ({"client_id": "app_other"}, "client_id is not known"),
        ({"redirect_uri": "http://localhost:1456/auth/callback"}, "redirect_uri is not allowed"),
        ({"redirect_uri": "http://127.0.0.1:1455/auth/callback"}, "redirect_uri is not allowed"),
        ({"redirect_uri": "https://evil.test/auth/callback"}, "redirect_uri is not allowed"),
        ({"redirect_uri": "http://localhost:1455/other"}, "redirect_uri is not allowed"),
        ({"code_challenge_method": "plain"}, "code_challenge_method must be S256"),
        ({"code_challenge": "short"}, "code_challenge is not a SHA-256 digest"),
        ({"scope": "email"}, "scope lacks openid or offline_access"),
    ],
)
async def test_authorize_refuses(stranger, changes, problem):
    response = await stranger.get("/oauth/authorize", params={**AUTHORIZE, **changes})
    assert response.status_code == 400
    assert response.json() == {"error": "invalid_request", "error_description": problem}


async def test_a_user_may_deny(stranger):
    response = await stranger.get("/oauth/authorize", params={**AUTHORIZE, "deny": "1"})
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(response.headers["location"]).query)
    assert (query["error"], query["state"]) == (["access_denied"], ["state-1"])
    assert "code" not in query


async def test_any_port_if_told_so():
    uri = "http://127.0.0.1:40001/auth/callback"
    async with Simulator(SimulatorOptions(any_redirect_port=True)) as simulator, httpx.AsyncClient() as client:
        address = f"{simulator.issuer_url}/oauth/authorize"
        response = await client.get(address, params={**AUTHORIZE, "redirect_uri": uri})
    assert response.status_code == 302


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"code_verifier": "w" * 43}, "The code_verifier does not match the code_challenge."),
        ({"code_verifier": ""}, "The code_verifier does not match the code_challenge."),
        ({"redirect_uri": "http://localhost:1457/auth/callback"}, "The redirect_uri does not match."),
        ({"code": "ac_unknown"}, "The authorization code is unknown, used or expired."),
    ],
)
async def test_a_code_must_match(stranger, changes, problem):
    response = await stranger.post("/oauth/token", data=code_fields(await code_from(stranger), **changes))
    assert response.status_code == 400
    assert response.json() == {"error": "invalid_grant", "error_description": problem}


async def test_a_code_is_good_once(stranger):
    code = await code_from(stranger)
    assert (await stranger.post("/oauth/token", data=code_fields(code))).status_code == 200
    assert (await stranger.post("/oauth/token", data=code_fields(code))).json()["error"] == "invalid_grant"


async def test_unknown_clients_and_grants_are_refused(stranger, login):
    fields = {**refresh_fields(login.refresh_token), "client_id": "app_other"}
    response = await stranger.post("/oauth/token", json=fields)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_client")
    fields = {"client_id": CODEX_CLIENT_ID, "grant_type": "password"}
    assert (await stranger.post("/oauth/token", data=fields)).json()["error"] == "unsupported_grant_type"


async def test_a_refresh_token_rotates(simulator, stranger, login):
    response = await stranger.post("/oauth/token", data=refresh_fields(login.refresh_token))
    tokens = response.json()
    assert response.status_code == 200
    assert tokens["refresh_token"] != login.refresh_token
    assert tokens["access_token"] != login.access_token
    assert (await refresh(stranger, tokens["refresh_token"])).status_code == 200
    # The older access token lives on until it expires.
    assert (await stranger.post(RESPONSES, json=body(), headers=headers_of(login))).status_code == 200
    assert [each.outcome for each in simulator.state.token_exchanges] == ["ok", "ok"]
    assert simulator.state.token_exchanges[0].account_id == login.account_id


async def test_reuse_is_refused(simulator, stranger, login):
    living = (await refresh(stranger, login.refresh_token)).json()
    response = await refresh(stranger, login.refresh_token)
    assert response.status_code == 401
    assert response.json() == {
        "error": {
            "message": "Your refresh token has already been used to generate a new access token. "
            "Please try signing in again.",
            "type": "invalid_request_error",
            "param": None,
            "code": "refresh_token_reused",
        }
    }
    assert (await refresh(stranger, login.refresh_token)).status_code == 401
    assert (await refresh(stranger, living["refresh_token"])).status_code == 200
    assert simulator.state.logins.spent_twice == 1
    assert simulator.state.stats()["token_exchanges"] == {"ok": 2, "refused": 2}


async def test_reuse_may_cost_the_family():
    async with Simulator(SimulatorOptions(reuse="family")) as simulator:
        login = simulator.state.logins.issue()
        other = simulator.state.logins.issue()
        async with httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as client:
            living = (await refresh(client, login.refresh_token)).json()
            assert (await refresh(client, login.refresh_token)).json()["error"]["code"] == "refresh_token_reused"
            refused = await refresh(client, living["refresh_token"])
            assert refused.json()["error"]["code"] == "refresh_token_invalidated"
            response = await client.post(RESPONSES, json=body(), headers=headers_of(login))
            assert (response.status_code, response.json()["error"]["code"]) == (401, "token_revoked")
            assert (await client.post(RESPONSES, json=body(), headers=headers_of(other))).status_code == 200


async def test_a_race_has_one_winner(stranger, login):
    answers = await asyncio.gather(*[refresh(stranger, login.refresh_token) for _ in range(8)])
    assert sorted(each.status_code for each in answers) == [200] + [401] * 7


async def test_an_unknown_refresh_token_is_refused(stranger):
    response = await refresh(stranger, "rt_unknown")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "refresh_token_invalidated")


async def test_a_slow_answer_has_already_rotated():
    async with Simulator(SimulatorOptions(refresh_delay_seconds=30)) as simulator:
        login = simulator.state.logins.issue()
        async with httpx.AsyncClient(base_url=simulator.base_url, timeout=0.2, trust_env=False) as client:
            with pytest.raises(httpx.ReadTimeout):
                await refresh(client, login.refresh_token)
            refused = await refresh(client, login.refresh_token)
    assert refused.json()["error"]["code"] == "refresh_token_reused"


async def test_faults_of_the_token_endpoint(simulator, stranger, login):
    simulator.state.token_faults.extend(["500", "403-html", "lost"])
    assert (await refresh(stranger, login.refresh_token)).status_code == 500
    assert (await refresh(stranger, login.refresh_token)).headers["content-type"].startswith("text/html")
    with pytest.raises(httpx.RemoteProtocolError):
        await refresh(stranger, login.refresh_token)
    assert (await refresh(stranger, login.refresh_token)).json()["error"]["code"] == "refresh_token_reused"


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
async def test_revoking(stranger, login, kind):
    fields = {"token": getattr(login, kind), "token_type_hint": kind, "client_id": CODEX_CLIENT_ID}
    assert (await stranger.post("/oauth/revoke", json=fields)).status_code == 200
    response = await stranger.post(RESPONSES, json=body(), headers=headers_of(login))
    assert (response.status_code, response.json()["error"]["code"]) == (401, "token_revoked")
    again = await refresh(stranger, login.refresh_token)
    assert again.status_code == (401 if kind == "refresh_token" else 200)


async def test_revoking_nothing(stranger):
    assert (await stranger.post("/oauth/revoke", json={"token": "rt_unknown"})).status_code == 200
    assert (await stranger.post("/oauth/revoke", json={})).status_code == 400


async def test_a_device_waits_for_its_user(stranger):
    begun = (await stranger.post("/api/accounts/deviceauth/usercode", json={"client_id": CODEX_CLIENT_ID})).json()
    assert begun["interval"] == "5"
    poll = {"device_auth_id": begun["device_auth_id"], "user_code": begun["user_code"]}
    assert (await stranger.post("/api/accounts/deviceauth/token", json=poll)).status_code == 403
    who = {"user_code": begun["user_code"], "email": "grace@example.test", "plan": "pro"}
    assert (await stranger.post("/simulator/device/approve", json=who)).json() == {"decided": 1}
    granted = (await stranger.post("/api/accounts/deviceauth/token", json=poll)).json()
    assert granted["code_challenge"] == pkce_challenge(granted["code_verifier"])
    fields = code_fields(
        granted["authorization_code"],
        redirect_uri="http://auth.example.test/deviceauth/callback",
        code_verifier=granted["code_verifier"],
    )
    tokens = (await stranger.post("/oauth/token", data=fields)).json()
    found = claims(tokens["id_token"])
    assert found["email"] == "grace@example.test"
    assert found["https://api.openai.com/auth"]["chatgpt_plan_type"] == "pro"
    assert (await stranger.post("/api/accounts/deviceauth/token", json=poll)).status_code == 404


async def test_a_device_may_be_denied(stranger):
    begun = (await stranger.post("/api/accounts/deviceauth/usercode", json={"client_id": CODEX_CLIENT_ID})).json()
    await stranger.post("/simulator/device/deny", json={})
    poll = {"device_auth_id": begun["device_auth_id"], "user_code": begun["user_code"]}
    response = await stranger.post("/api/accounts/deviceauth/token", json=poll)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "access_denied")
    assert (await stranger.post("/api/accounts/deviceauth/usercode", json={})).status_code == 401


def test_an_issued_login_is_a_codex_auth_file(simulator):
    login = simulator.state.logins.issue(
        email="a@b.test", account_id="acc", user_id="user-1", plan="team", expires_in=-1
    )
    document = login.auth_json()
    assert document["auth_mode"] == "chatgpt"
    assert document["OPENAI_API_KEY"] is None
    assert document["tokens"]["account_id"] == "acc"
    assert document["last_refresh"].endswith("Z")
    assert claims(document["tokens"]["access_token"])["exp"] < time.time()
    assert login.refresh_token not in repr(login)
