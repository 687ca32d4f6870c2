import dataclasses

import pytest

from gptmock.simulator import state as memory
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.state import RecordedRequest, RequestLog
from tests.simulator.sse import text_of
from tests.simulator.wire import RESPONSES, body, headers_of


async def test_health(stranger):
    assert (await stranger.get("/health")).json() == {"status": "ok"}


async def test_requests_are_recorded(simulator, client):
    await client.post(RESPONSES, json=body("one"), headers={"X-Probe": "p"})
    await client.get("/backend-api/wham/usage")
    assert [each.path for each in simulator.state.requests] == [RESPONSES, "/backend-api/wham/usage"]
    (call,) = simulator.state.model_calls()
    assert call.body == body("one")
    assert call.headers["x-probe"] == "p"


async def test_secrets_are_shown_as_fingerprints(client, login):
    await client.post(RESPONSES, json=body("one"))
    await client.post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": login.refresh_token})
    response = await client.get("/simulator/requests")
    assert login.access_token not in response.text
    assert login.refresh_token not in response.text
    call, exchange = response.json()["requests"]
    assert call["headers"]["authorization"].startswith("Bearer sha256:")
    assert call["body"]["model"] == "gpt-5.5"
    assert exchange["body"]["refresh_token"].startswith("sha256:")
    assert len((await client.get("/simulator/requests?last=1")).json()["requests"]) == 1
    assert len((await client.get(f"/simulator/requests?path={RESPONSES}")).json()["requests"]) == 1


async def test_queued_scenes_come_first(client):
    queued = await client.post("/simulator/scenes", json={"scenes": ["500", "text", "failed-mid:slow_down"]})
    assert queued.json() == {"queued": ["500", "text", "failed-mid:slow_down"]}
    assert (await client.post(RESPONSES, json=body("scene:429-burst"))).status_code == 500
    assert text_of((await client.post(RESPONSES, json=body())).content).startswith("Hello from the simulator")
    assert b"slow_down" in (await client.post(RESPONSES, json=body())).content
    assert text_of((await client.post(RESPONSES, json=body("back"))).content) == "You said: back"


async def test_a_queued_401_needs_a_refresh(simulator, client, login):
    await client.post("/simulator/scenes", json={"scenes": ["401", "text"]})
    assert (await client.post(RESPONSES, json=body())).status_code == 401
    assert (await client.post(RESPONSES, json=body())).status_code == 401
    fresh = simulator.state.logins.rotate(login.refresh_token)
    assert (await client.post(RESPONSES, json=body(), headers=headers_of(fresh))).status_code == 200


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        ("scenes", {"scenes": ["nope"]}, "no scene is called 'nope'"),
        ("scenes", {"scenes": "text"}, "scenes must be a list"),
        ("scenes", {}, "scenes must be a list"),
        ("token-faults", {"faults": ["nope"]}, "faults must be a list of: 302, 400, 401"),
        ("options", {"colour": 1}, "unknown options: colour; known are: any_redirect_port"),
        ("options", {"port": 1}, "unknown options: port"),
        ("options", {"pace_seconds": "slow"}, "Expected `float`, got `str`"),
        ("options", {"reuse": "never"}, "Invalid enum value 'never'"),
        ("logins", {"expires_in": "soon"}, "Expected `int | null`, got `str`"),
        ("logins", {"colour": "red"}, "unknown field `colour`"),
        ("device/approve", {"colour": "red"}, "unknown field `colour`"),
    ],
)
async def test_mistakes_are_told(stranger, path, wrong, said):
    response = await stranger.post(f"/simulator/{path}", json=wrong)
    assert response.status_code == 400
    assert said in response.json()["error"]


async def test_the_table_of_scenes(stranger):
    rows = (await stranger.get("/simulator/scenes")).json()["scenes"]
    assert {"name": "text", "summary": "a short text in several deltas", "stream": True} in rows
    assert {"name": "500", "summary": "a server error", "stream": False} in rows


async def test_token_faults_over_http(stranger):
    await stranger.post("/simulator/token-faults", json={"faults": ["429"]})
    assert (await stranger.post("/oauth/token", json={"grant_type": "refresh_token"})).status_code == 429


async def test_options_change_while_running(simulator, stranger):
    changed = await stranger.post(
        "/simulator/options", json={"token_seconds": 60, "used_percent": 99, "reuse": "family"}
    )
    assert changed.json()["token_seconds"] == 60
    assert simulator.state.options == SimulatorOptions(token_seconds=60, used_percent=99.0, reuse="family")
    assert simulator.state.logins.issue().expires_in == 60


async def test_logins_and_expiry(stranger):
    document = (await stranger.post("/simulator/logins", json={"email": "a@b.test", "account_id": "acc"})).json()
    headers = {"authorization": f"Bearer {document['tokens']['access_token']}", "chatgpt-account-id": "acc"}
    assert (await stranger.post(RESPONSES, json=body(), headers=headers)).status_code == 200
    assert (await stranger.post("/simulator/expire")).json()["expired"] >= 1
    refused = await stranger.post(RESPONSES, json=body(), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "token_expired")
    fields = {"grant_type": "refresh_token", "refresh_token": document["tokens"]["refresh_token"]}
    fields["client_id"] = SimulatorOptions().client_id
    tokens = (await stranger.post("/oauth/token", json=fields)).json()
    headers["authorization"] = f"Bearer {tokens['access_token']}"
    assert (await stranger.post(RESPONSES, json=body(), headers=headers)).status_code == 200


async def test_a_login_may_be_born_expired(stranger):
    document = (await stranger.post("/simulator/logins", json={"expires_in": -10})).json()
    tokens = document["tokens"]
    headers = {"authorization": f"Bearer {tokens['access_token']}", "chatgpt-account-id": tokens["account_id"]}
    response = await stranger.post(RESPONSES, json=body(), headers=headers)
    assert response.json()["error"]["code"] == "token_expired"


async def test_stats_and_reset(simulator, client):
    await client.post(RESPONSES, json=body())
    await client.post(RESPONSES, json=body(model="gpt-5"))
    await client.post("/simulator/scenes", json={"scenes": ["text"]})
    await client.post("/simulator/options", json={"token_seconds": 5})
    assert (await client.get("/simulator/stats")).json() == {
        "model_calls": 2,
        "image_calls": 0,
        "token_exchanges": {"ok": 0, "refused": 0},
        "open_streams": 0,
        "closed_by_client": 0,
        "refresh_tokens_spent_twice": 0,
        "queued_scenes": ["text"],
    }
    after = (await client.post("/simulator/reset")).json()
    assert (after["model_calls"], after["queued_scenes"]) == (0, [])
    assert simulator.state.options == SimulatorOptions()
    assert (await client.post(RESPONSES, json=body())).status_code == 200
    await client.post("/simulator/reset", json={"logins": True})
    assert (await client.post(RESPONSES, json=body())).status_code == 401


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(memory, "REQUESTS_LIMIT", 3)
    monkeypatch.setattr(memory, "BODIES_LIMIT_BYTES", 100)
    record = RecordedRequest(at=0, method="GET", path="/", query={}, headers={}, body=None, size_bytes=10)
    log = RequestLog()
    for _ in range(5):
        log.append(record)
    assert len(log) == 3
    log.append(dataclasses.replace(record, size_bytes=90))
    assert len(log) == 2
    assert log[-1].size_bytes == 90


async def test_one_account_is_limited_and_the_others_are_not(simulator, client, login):
    other = simulator.state.logins.issue()
    limits = {"account_id": login.account_id, "seconds": 600}
    assert (await client.post("/simulator/limits", json=limits)).json() == {"limited": [login.account_id]}
    refused = await client.post(RESPONSES, json=body())
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["resets_in_seconds"]) == ("usage_limit_reached", 600)
    assert refused.headers["x-codex-primary-reset-after-seconds"] == "600"
    assert (await client.post(RESPONSES, json=body(), headers=headers_of(other))).status_code == 200
    await client.post("/simulator/limits", json={**limits, "seconds": 0})
    assert (await client.post(RESPONSES, json=body())).status_code == 200
    assert (await client.post("/simulator/limits", json={"account": "x"})).status_code == 400
