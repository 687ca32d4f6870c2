import asyncio
import gzip
import json
import time

import httpx
import pytest
import zstandard

from gptmock.simulator.scenes import STREAM_SCENE_NAMES, STREAM_SCENES
from gptmock.simulator.server import Simulator, SimulatorOptions
from tests.encodings import decoded
from tests.simulator.sse import events, text_of, types
from tests.simulator.wire import RESPONSES, body, headers_of
from tests.timing import generous

WHOLE = [
    name
    for name in STREAM_SCENE_NAMES
    if name not in {"abort-mid", "truncated-chunk", "stall", "silent", "slow-head", "giant"}
]


async def raw_head(simulator: Simulator, lines: list[str], payload: bytes = b"") -> str:
    """The head of a response, byte for byte."""
    host, port = simulator.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(("\r\n".join([*lines, "host: x", f"content-length: {len(payload)}"]) + "\r\n\r\n").encode() + payload)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head.decode().lower()


async def test_a_stream_has_no_content_type(simulator, login):
    lines = [f"POST {RESPONSES} HTTP/1.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers_of(login).items()]
    head = await raw_head(simulator, lines, json.dumps(body()).encode())
    assert head.startswith("http/1.1 200")
    assert "content-type:" not in head.replace("x-content-type-options:", "")
    assert "transfer-encoding: chunked" in head
    for name in ("x-codex-primary-used-percent: 12", "x-codex-credits-has-credits: false", "x-models-etag: w/"):
        assert name in head
    assert "x-oai-request-id: req_" in head


async def test_a_stream_of_events(client):
    response = await client.post(RESPONSES, json=body("Good evening"))
    assert text_of(response.content) == "You said: Good evening"
    assert b"[DONE]" not in response.content
    last = events(response.content)[-1]["response"]
    assert last["model"] == response.headers["openai-model"] == "gpt-5.5-2026-04-23"
    assert (await client.post(RESPONSES, json=body(model="gpt-6.1-sol"))).headers["openai-model"] == "gpt-6.1-sol"


async def test_two_calls_have_two_ids(client):
    found = [events((await client.post(RESPONSES, json=body())).content)[0]["response"]["id"] for _ in range(2)]
    assert found[0] != found[1]
    assert all(each.startswith("resp_") for each in found)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "Unauthorized"),
        ({"authorization": "Bearer x"}, 401, "Unauthorized"),
        ({"chatgpt-account-id": "x"}, 401, "Unauthorized"),
        ({"authorization": "Bearer x", "chatgpt-account-id": "x"}, 401, "token_invalidated"),
    ],
)
async def test_who_may_call(stranger, headers, status, code):
    for path in ("/backend-api/wham/usage", "/backend-api/codex/models?client_version=1.0.0"):
        assert (await stranger.get(path, headers=headers)).status_code == status
    response = await stranger.post(RESPONSES, json=body(), headers=headers)
    said = response.json()
    assert response.status_code == status
    assert code == (said["detail"] if "detail" in said else said["error"]["code"])


async def test_a_bearer_belongs_to_one_account(client):
    response = await client.post(RESPONSES, json=body(), headers={"chatgpt-account-id": "another"})
    assert (response.status_code, response.json()) == (401, {"detail": "Unauthorized"})


async def test_an_expired_token_is_told_apart(simulator, stranger):
    login = simulator.state.logins.issue(expires_in=-10)
    response = await stranger.post(RESPONSES, json=body(), headers=headers_of(login))
    assert (response.status_code, response.json()["error"]["code"]) == (401, "token_expired")
    assert response.json()["status"] == 401


async def test_bodies_that_cannot_be_read(client):
    json_type = {"content-type": "application/json"}
    for content, headers, status in (
        (b"{", json_type, 400),
        (b"[1]", json_type, 400),
        (b"", json_type, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"(\xb5/\xfd", {**json_type, "content-encoding": "zstd"}, 400),
        (zstandard.compress(b"{}") + b"more", {**json_type, "content-encoding": "zstd"}, 400),
        (zstandard.compress(b"{}")[:-1], {**json_type, "content-encoding": "zstd"}, 400),
        (b"{}", {**json_type, "content-encoding": "br"}, 415),
        (b"no gzip", {**json_type, "content-encoding": "gzip"}, 400),
    ):
        assert (await client.post(RESPONSES, content=content, headers=headers)).status_code == status


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_a_packed_body_is_unpacked(client, coding, compress):
    headers = {"content-type": "application/json", "content-encoding": coding}
    response = await client.post(RESPONSES, content=compress(json.dumps(body("packed")).encode()), headers=headers)
    assert text_of(response.content) == "You said: packed"


@pytest.mark.parametrize(
    ("model", "version", "status"),
    [
        ("gpt-5.6-sol", "0.143.9", 400),
        ("gpt-5.6-sol", "0.144.0", 200),
        ("gpt-5.6-sol", "0.150.0-alpha.1", 200),
        ("gpt-5.5", "0.0.0", 400),
        ("gpt-5.5", "newest", 400),
    ],
)
async def test_the_version_gate(client, model, version, status):
    response = await client.post(RESPONSES, json=body(model=model), headers={"version": version})
    assert response.status_code == status
    if status == 400:
        assert response.json()["detail"].startswith(f"The '{model}' model requires a newer version of Codex.")


async def test_the_identity_gate(simulator, client):
    luna = body(model="gpt-5.6-luna")
    assert (await client.post(RESPONSES, json=luna)).status_code == 200
    simulator.state.options = SimulatorOptions(gate_originator=True)
    refused = await client.post(RESPONSES, json=luna, headers={"originator": "gptmock"})
    assert refused.status_code == 404
    assert refused.json()["error"]["message"] == "Model not found gpt-5.6-luna"
    assert (await client.post(RESPONSES, json=luna, headers={"originator": "codex_cli_rs"})).status_code == 200
    assert (await client.post(RESPONSES, json=body(), headers={"originator": "gptmock"})).status_code == 200


async def test_a_plan_may_lack_a_model(simulator, stranger):
    free = headers_of(simulator.state.logins.issue(plan="free"))
    response = await stranger.post(RESPONSES, json=body(model="codex-auto-review"), headers=free)
    assert "is not supported when using Codex" in response.json()["detail"]
    future = headers_of(simulator.state.logins.issue(plan="plan-of-2027"))
    assert (await stranger.post(RESPONSES, json=body(), headers=future)).status_code == 200


async def test_the_list_of_models(client):
    path = "/backend-api/codex/models"
    assert (await client.get(path)).status_code == 400
    old = await client.get(path, params={"client_version": "0.130.0"})
    new = await client.get(path, params={"client_version": "0.171.0"})
    assert [each["slug"] for each in old.json()["models"]] == ["gpt-5.5", "codex-auto-review"]
    assert len(new.json()["models"]) == 14
    assert new.headers["etag"].startswith('W/"')
    assert new.headers["etag"] != old.headers["etag"]
    reply = await client.post(RESPONSES, json=body(), headers={"version": "0.171.0"})
    assert reply.headers["x-models-etag"] == new.headers["etag"]


async def test_a_model_can_be_withdrawn(simulator, client):
    path, query = "/backend-api/codex/models", {"client_version": "0.171.0"}
    before = await client.get(path, params=query)
    simulator.state.options = SimulatorOptions(withdrawn_models=("gpt-5.5",))
    after = await client.get(path, params=query)
    slugs = [each["slug"] for each in after.json()["models"]]
    assert (len(slugs), "gpt-5.5" in slugs) == (13, False)
    assert after.headers["etag"] != before.headers["etag"]
    refused = await client.post(RESPONSES, json=body(model="gpt-5.5"))
    assert refused.status_code == 400
    assert "not supported" in refused.json()["detail"]
    served = await client.post(RESPONSES, json=body(model="gpt-6.1-sol"), headers={"version": "0.171.0"})
    assert served.headers["x-models-etag"] == after.headers["etag"]
    simulator.state.reset()
    assert (await client.get(path, params=query)).headers["etag"] == before.headers["etag"]


async def test_a_model_can_need_a_newer_client(simulator, client):
    path, old, new = "/backend-api/codex/models", {"client_version": "0.171.0"}, {"client_version": "0.172.0"}
    before = await client.get(path, params=old)
    simulator.state.options = SimulatorOptions(model_versions={"gpt-6-sol": "0.172.0", "no-such-model": "9.9.9"})
    less, more = await client.get(path, params=old), await client.get(path, params=new)
    missing = {each["slug"] for each in more.json()["models"]} - {each["slug"] for each in less.json()["models"]}
    assert missing == {"gpt-6-sol"}
    (entry,) = [each for each in more.json()["models"] if each["slug"] == "gpt-6-sol"]
    assert entry["minimal_client_version"] == "0.172.0"
    assert len({before.headers["etag"], less.headers["etag"], more.headers["etag"]}) == 3
    refused = await client.post(RESPONSES, json=body(model="gpt-6-sol"), headers={"version": "0.171.0"})
    assert refused.status_code == 400
    assert "requires a newer version of Codex" in refused.json()["detail"]
    for version, listed in (("0.171.0", less), ("0.172.0", more)):
        served = await client.post(RESPONSES, json=body(), headers={"version": version})
        assert served.headers["x-models-etag"] == listed.headers["etag"]
    assert (
        await client.post(RESPONSES, json=body(model="gpt-6-sol"), headers={"version": "0.172.0"})
    ).status_code == 200


async def test_the_list_of_models_is_plain_unless_told_otherwise(simulator, client):
    path, query = "/backend-api/codex/models", {"client_version": "0.171.0"}
    tag = (await client.get(path, params=query)).headers["etag"]
    assert (await client.get(path, params=query, headers={"if-none-match": tag})).status_code == 200
    simulator.state.options = SimulatorOptions(not_modified=True, models_delay_seconds=0.2)
    began = time.monotonic()
    same = await client.get(path, params=query, headers={"if-none-match": tag})
    assert time.monotonic() - began >= 0.2
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (await client.get(path, params=query, headers={"if-none-match": 'W/"x"'})).status_code == 200


async def test_usage_agrees_with_the_headers(simulator, client):
    simulator.state.options = SimulatorOptions(used_percent=100)
    report = (await client.get("/backend-api/wham/usage")).json()
    headers = (await client.post(RESPONSES, json=body())).headers
    window = report["rate_limit"]["primary_window"]
    assert report["plan_type"] == headers["x-codex-plan-type"] == "plus"
    assert window["used_percent"] == int(headers["x-codex-primary-used-percent"]) == 100
    assert window["limit_window_seconds"] == int(headers["x-codex-primary-window-minutes"]) * 60
    assert abs(window["reset_at"] - int(headers["x-codex-primary-reset-at"])) <= 2
    assert report["rate_limit"]["limit_reached"] is True


async def test_accounts_check_leads_back_here(simulator, client, login):
    report = (await client.get("/backend-api/wham/accounts/check")).json()
    assert report["account_ordering"] == [login.account_id]
    assert report["accounts"][0]["workspace_backend_origin"] == simulator.base_url


async def test_compaction_is_unary(client):
    given = {"model": "gpt-5.5", "input": body()["input"], "instructions": "x", "parallel_tool_calls": True}
    response = await client.post(f"{RESPONSES}/compact", json=given)
    assert [item["type"] for item in response.json()["output"]] == ["compaction"]
    assert response.json()["output"][0]["encrypted_content"].startswith("gAAAA")
    refused = await client.post(f"{RESPONSES}/compact", json={**given, "store": False})
    assert refused.json() == {"detail": "Unsupported parameter: store"}
    assert (await client.post(f"{RESPONSES}/compact", json={**given, "input": "x"})).status_code == 400


async def test_unknown_routes(client):
    response = await client.get("/backend-api/nowhere")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


# -- scenes over the wire ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
async def test_a_scene_plays_to_its_end(client, name):
    response = await client.post(RESPONSES, json=body(f"scene:{name} please"))
    scene = STREAM_SCENES[name]
    assert response.status_code == 200
    ends = [kind for kind in types(response.content) if kind in {"completed", "incomplete", "failed", "error"}]
    assert ends == ([] if scene.ending == "cut" else [scene.ending])


@pytest.mark.parametrize("codings", ["", ":gzip", ":deflate", ":zstd", ":gzip.zstd", ":zstd.deflate.gzip"])
async def test_an_encoded_scene_says_the_same_once_decoded(client, codings):
    async with client.stream("POST", RESPONSES, json=body(f"scene:encoded{codings}")) as response:
        raw = b"".join([block async for block in response.aiter_raw()])
        said = response.headers["content-encoding"]
    assert said == (codings[1:] or "gzip").replace(".", ", ")
    plain = decoded(raw, said, limit_bytes=len(raw) * 1000)
    assert plain != raw
    assert types(plain)[-1] == "completed"


async def test_an_unknown_coding_is_no_parameter(client):
    response = await client.post(RESPONSES, json=body("scene:encoded:gzip.lzw"))
    assert (response.status_code, "does not take" in response.json()["detail"]) == (400, True)


async def test_what_is_no_stream_has_its_own_type_or_none(client):
    kinds = {}
    for name in ("200-detail", "200-error", "200-401", "200-html"):
        response = await client.post(RESPONSES, json=body(f"scene:{name}"))
        assert response.status_code == 200
        kinds[name] = response.headers.get("content-type")
    assert kinds == {
        "200-detail": "application/json",
        "200-error": None,
        "200-401": "application/json",
        "200-html": "text/html; charset=UTF-8",
    }
    assert (await client.post(RESPONSES, json=body("scene:302"))).headers["location"].startswith("https://user:")


async def test_giant_over_the_wire(client):
    response = await client.post(RESPONSES, json=body("scene:giant"))
    assert len(response.content) > 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "error"), [("abort-mid", httpx.ReadError), ("truncated-chunk", httpx.RemoteProtocolError)]
)
async def test_a_connection_breaks(simulator, client, name, error):
    seen = bytearray()

    async def read() -> None:
        async with client.stream("POST", RESPONSES, json=body(f"scene:{name}")) as response:
            async for chunk in response.aiter_bytes():
                seen.extend(chunk)

    with pytest.raises(error):
        await read()
    assert types(bytes(seen)).count("output_text.delta") == 4
    assert (simulator.state.open_streams, simulator.state.closed_by_client) == (0, 0)


@pytest.mark.parametrize("name", ["stall", "silent", "slow-head"])
async def test_a_silence_lasts_as_long_as_told(client, name):
    began = time.monotonic()
    response = await client.post(RESPONSES, json=body(f"scene:{name}:0.15."))
    assert time.monotonic() - began >= 0.15
    assert types(response.content)[-1] == "completed"


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("400-detail", 400, "Unsupported parameter: temperature"),
        ("400-effort", 400, "unsupported_value"),
        ("402", 402, "deactivated_workspace"),
        ("403-html", 403, "Just a moment..."),
        ("404-gate", 404, "Model not found gpt-5.5"),
        ("429-usage", 429, "resets_in_seconds"),
        ("429-usage-noreset", 429, "usage_limit_reached"),
        ("429-burst", 429, "Please try again in 1.5s"),
        ("429-not-included", 429, "usage_not_included"),
        ("500", 500, "server_error"),
        ("502-html", 502, "502 Bad Gateway"),
        ("503-overload", 503, "server_is_overloaded"),
        ("504", 504, "upstream request timeout"),
    ],
)
async def test_a_refusal(client, name, status, said):
    response = await client.post(RESPONSES, json=body(f"scene:{name}"))
    assert response.status_code == status
    assert said in response.text
    assert "retry-after" not in response.headers
    html = "html" in name
    assert response.headers["content-type"].startswith("text/html" if html else ("text/plain", "application/json"))


async def test_a_usage_limit_says_until_when(client):
    response = await client.post(RESPONSES, json=body("scene:429-usage"))
    error = response.json()["error"]
    assert abs(error["resets_at"] - time.time() - error["resets_in_seconds"]) < 5
    assert response.headers["x-codex-primary-used-percent"] == "100"
    assert response.headers["x-codex-primary-reset-at"] == str(error["resets_at"])
    bare = (await client.post(RESPONSES, json=body("scene:429-usage-noreset"))).json()["error"]
    assert not {"resets_at", "resets_in_seconds"} & set(bare)


async def test_401_is_over_after_a_refresh(simulator, client, login):
    for _ in range(2):
        refused = await client.post(RESPONSES, json=body("scene:401"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "token_invalidated")
    fresh = simulator.state.logins.rotate(login.refresh_token)
    assert (await client.post(RESPONSES, json=body("scene:401"), headers=headers_of(fresh))).status_code == 200


async def test_401_always_is_never_over(simulator, client, login):
    assert (await client.post(RESPONSES, json=body("scene:401-always"))).status_code == 401
    fresh = headers_of(simulator.state.logins.rotate(login.refresh_token))
    assert (await client.post(RESPONSES, json=body("scene:401-always"), headers=fresh)).status_code == 401
    assert (await client.post(RESPONSES, json=body("x"), headers=fresh)).status_code == 200


async def test_an_unknown_scene_is_told(client):
    response = await client.post(RESPONSES, json=body("scene:nope"))
    assert response.status_code == 400
    assert "no scene is called 'nope'; known are: auto, text" in response.json()["detail"]


@pytest.mark.parametrize("name", ["stall", "silent"])
async def test_a_client_that_leaves_is_seen_within_a_second(simulator, client, name):
    async with client.stream("POST", RESPONSES, json=body(f"scene:{name}:60")) as response:
        await anext(response.aiter_bytes())
        assert simulator.state.open_streams == 1
    left = time.time()
    closure = await simulator.state.until_closed(seconds=generous(1.0))
    assert (simulator.state.open_streams, closure.scene) == (0, name)
    assert abs(closure.at - left) < generous(1.0)


async def test_pace_spreads_the_events(simulator, client):
    simulator.state.options = SimulatorOptions(pace_seconds=0.02)
    began = time.monotonic()
    response = await client.post(RESPONSES, json=body("scene:text"))
    assert time.monotonic() - began >= 0.02 * len(events(response.content))
