"""``/v1/responses`` as its clients see it, Codex and everybody else, with the simulator behind."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.gateway.reply import Outcome
from gptmock.server.turns import forwarded_to_codex
from gptmock.simulator.events import seal
from gptmock.simulator.server import Simulator
from gptmock.simulator.state import RecordedRequest
from tests.harness import client as open_client
from tests.harness import serving_simulator, write_login
from tests.responses_client import fold_responses, responses_text

PATH = "/v1/responses"
COMPACT_PATH = "/v1/responses/compact"
SESSION = "0199a0b4-5d5e-7c11-8c3f-1d2f3a4b5c6d"
CODEX = {
    "originator": "codex_exec",
    "user-agent": "codex_exec/0.171.0 (Debian 13.0.0; x86_64) unknown",
    "session-id": SESSION,
    "thread-id": SESSION,
    "x-client-request-id": SESSION,
    "x-codex-window-id": f"{SESSION}:0",
    "x-codex-beta-features": "remote_compaction_v2",
    "x-codex-turn-metadata": '{"turn_id":"t"}',
}
LITE = {"x-openai-internal-codex-responses-lite": "true"}


def codex_body(text: str = "Hello", *, model: str = "gpt-5.5", **members: Any) -> dict[str, Any]:
    """What Codex CLI 0.171.0 was seen to send."""
    messages = [("developer", "You are Codex."), ("user", text)]
    return {
        "model": model,
        "stream": True,
        "input": [
            {
                "type": "message",
                "id": f"msg_{role}",
                "role": role,
                "content": [{"type": "input_text", "text": said}],
            }
            for role, said in messages
        ],
        "tools": [
            {"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object", "properties": {}}}
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "text": {"verbosity": "low"},
        "client_metadata": {"x-codex-installation-id": "i"},
        **members,
    }


def asked(simulator: Simulator) -> Any:
    """The body of the last model call."""
    return simulator.state.model_calls()[-1].body


def owned(simulator: Simulator, body: dict[str, Any]) -> dict[str, Any]:
    """A body as it goes upstream: with the installation id of our account, and not the client's."""
    ours = asked(simulator)["client_metadata"]["x-codex-installation-id"]
    assert str(uuid.UUID(ours)) == ours
    return {**body, "client_metadata": {**body["client_metadata"], "x-codex-installation-id": ours}}


def sent_headers(simulator: Simulator) -> dict[str, str]:
    return dict(simulator.state.model_calls()[-1].headers)


def compaction(simulator: Simulator) -> RecordedRequest:
    """The last call for one; other requests go on beside the turns."""
    path = "/backend-api/codex/responses/compact"
    found: list[RecordedRequest] = [one for one in simulator.state.requests if one.path == path]
    return found[-1]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = response.content.split(b"\n")
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def folded(response: httpx.Response) -> dict[str, Any]:
    blocks = [block + b"\n\n" for block in response.content.split(b"\n\n") if block and not block.startswith(b":")]
    reply, error = fold_responses(blocks)
    assert error is None
    return reply


# --- Everybody -----------------------------------------------------------------------------


@pytest.mark.check(15, 16)
@pytest.mark.parametrize("path", [PATH, "/responses", "/v1/responses?beta=true", "//v1/responses/"])
async def test_a_string_is_answered(client: httpx.AsyncClient, simulator: Simulator, path: str):
    response = await client.post(path, json={"model": "gpt-5.5", "input": "hi scene:text"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    reply = response.json()
    assert responses_text(reply).startswith("Hello from the simulator.")
    assert (reply["status"], reply["output"][0]["type"]) == ("completed", "message")
    (message,) = asked(simulator)["input"]
    assert message["content"] == [{"type": "input_text", "text": "hi scene:text"}]
    assert (message["type"], message["role"]) == ("message", "user")


@pytest.mark.check(17, 18)
@pytest.mark.parametrize("scene", ["text", "reasoning", "tools2", "done-only", "vendor-first", "noids", "search"])
async def test_a_stream_is_regular(client: httpx.AsyncClient, scene: str):
    response = await client.post(PATH, json={"model": "gpt-5.5", "input": f"scene:{scene}", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "x-codex-plan-type" not in response.headers
    assert folded(response)["status"] == "completed"


@pytest.mark.check(35)
@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid", "abort-mid", "error-event", "error-event-nested"])
async def test_a_failure_in_the_middle_is_told_twice_and_nothing_follows(client: httpx.AsyncClient, scene: str):
    response = await client.post(PATH, json={"model": "gpt-5.5", "input": f"scene:{scene}", "stream": True})
    assert response.status_code == 200
    *_, error, failed = events(response)
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert error["code"] == error["error"]["code"] == failed["response"]["error"]["code"]
    collected = await client.post(PATH, json={"model": "gpt-5.5", "input": f"scene:{scene}"})
    assert collected.status_code >= 400
    assert collected.json()["error"]["code"] == error["code"]


async def test_no_header_of_an_ordinary_client_goes_further(client: httpx.AsyncClient, simulator: Simulator):
    strange = {name: value for name, value in CODEX.items() if name not in ("originator", "user-agent")}
    response = await client.post(
        PATH,
        json={"model": "gpt-5.5", "input": "scene:text", "unheard_of": 1},
        headers={**strange, **LITE, "x-openai-subagent": "review"},
    )
    assert response.status_code == 200
    headers = sent_headers(simulator)
    assert headers["originator"] == "gptmock"
    assert not [name for name in headers if name.startswith(("x-codex", "x-openai", "x-client"))]
    assert headers["session-id"] not in ("", SESSION)
    assert "unheard_of" not in asked(simulator)
    assert not [name for name in response.headers if name.startswith("x-codex")]


@pytest.mark.check(115)
async def test_a_websocket_elsewhere_is_refused_so_that_clients_fall_back(client: httpx.AsyncClient):
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    for path in ("/v1/responses/compact", "/v1/chat/completions"):
        response = await client.get(path, headers={**upgrade, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert response.status_code == 426
        assert response.json()["error"]["code"] == "websocket_unavailable"
        assert response.headers["upgrade"] == "HTTP/1.1"
    assert (await client.get(PATH)).status_code == 405
    assert (await client.post(PATH, json={"input": "scene:text"})).status_code == 200


@pytest.mark.check(115, 361)
async def test_tokens_are_counted_in_advance(client: httpx.AsyncClient, simulator: Simulator):
    counts = set()
    for path in (f"{PATH}/input_tokens", "/responses/input_tokens"):
        response = await client.post(path, json={"model": "gpt-5.5", "input": "hi " * 100})
        assert response.status_code == 200
        assert response.json()["object"] == "response.input_tokens"
        assert response.headers["x-gptmock-estimate"] == "true"
        counts.add(response.json()["input_tokens"])
    assert all(50 < count < 150 for count in counts)
    assert simulator.state.model_call_count == 0
    assert (await client.post(f"{PATH}/input_tokens", json={"input": 5})).status_code == 400


@pytest.mark.check(361)
async def test_the_stored_part_of_a_conversation_counts_too(client: httpx.AsyncClient):
    long = "word " * 1000
    first = (await client.post(PATH, json={"input": long, "store": True})).json()
    further = {"input": "and?", "previous_response_id": first["id"]}
    alone = (await client.post(f"{PATH}/input_tokens", json={"input": "and?"})).json()["input_tokens"]
    assert (await client.post(f"{PATH}/input_tokens", json=further)).json()["input_tokens"] > alone + 900
    unknown = await client.post(f"{PATH}/input_tokens", json={**further, "previous_response_id": "resp_unknown"})
    assert unknown.status_code == 400


@pytest.mark.check(61)
async def test_a_model_of_codex_answers_at_this_route(client: httpx.AsyncClient):
    response = await client.post(PATH, json={"model": "codex-auto-review", "input": "scene:text"})
    assert responses_text(response.json()).startswith("Hello")


@pytest.mark.check(114)
def test_in_a_pool_no_codex_hears_of_the_others():
    headers = {"x-codex-primary-used-percent": "42", "x-codex-turn-state": "t", "x-models-etag": "e"}
    assert forwarded_to_codex(Outcome(headers=headers)) == headers
    assert set(forwarded_to_codex(Outcome(headers=headers, pooled=True))) == {"x-codex-turn-state", "x-models-etag"}


# --- Encrypted thinking ----------------------------------------------------------------------


def with_reasoning(blob: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "one"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": blob, "status": None},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "scene:text"},
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_thinking_of_another_account_is_left_out_once(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    foreign = seal("another-account", "rs_1")
    body = {"model": "gpt-5.5", "input": with_reasoning(foreign), "stream": stream}
    response = await client.post(PATH, json=body)
    assert response.status_code == 200
    assert response.headers["x-gptmock-state"] == "reasoning-dropped"
    first, second = simulator.state.model_calls()
    assert [item["type"] for item in first.body["input"]] == ["message", "reasoning", "message", "message"]
    assert [item["type"] for item in second.body["input"]] == ["message", "message", "message"]


async def test_the_own_thinking_is_sent_back(client: httpx.AsyncClient, simulator: Simulator):
    first = await client.post(PATH, json={"model": "gpt-5.5", "input": "scene:reasoning"})
    again = [*first.json()["output"], {"role": "user", "content": "scene:text"}]
    second = await client.post(PATH, json={"model": "gpt-5.5", "input": again})
    assert second.status_code == 200
    assert "x-gptmock-state" not in second.headers
    assert [item["type"] for item in asked(simulator)["input"]] == ["reasoning", "message", "message"]


async def test_a_refusal_that_nothing_can_be_stripped_from_is_told(client: httpx.AsyncClient, simulator: Simulator):
    body = {"model": "gpt-5.5", "input": [{"type": "compaction", "encrypted_content": "stale"}]}
    response = await client.post(PATH, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_encrypted_content")
    assert simulator.state.model_call_count == 1


# --- Codex -------------------------------------------------------------------------------------


async def test_a_codex_call_goes_upstream_as_it_came(simulator: Simulator, home: Path):
    defaults: Any = {"default_web_search": True, "fast_mode": True, "reasoning_effort": "high"}
    async with serving_simulator(simulator, home, **defaults) as url, open_client(url) as client:
        body = codex_body("scene:text")
        response = await client.post(PATH, json=body, headers=CODEX)
    assert response.status_code == 200
    assert asked(simulator) == owned(simulator, body)
    headers = sent_headers(simulator)
    assert {name: headers[name] for name in CODEX} == CODEX
    assert headers["version"] == "0.171.0"
    assert headers["authorization"].startswith("Bearer ey")
    last = events(response)[-1]
    assert last["type"] == "response.completed"
    assert responses_text(last["response"]).startswith("Hello")


async def test_nothing_of_a_signed_in_codex_goes_upstream(client: httpx.AsyncClient, simulator: Simulator):
    canaries = {
        name: f"canary-{number}"
        for number, name in enumerate(
            (
                "chatgpt-account-id",
                "x-openai-account-routing-override",
                "x-openai-fedramp",
                "x-openai-internal-codex-residency",
                "x-oai-attestation",
                "x-codex-workspace-id",
                "oai-device-id",
                "openai-organization",
                "openai-project",
                "cookie",
            )
        )
    }
    login = {"authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.canary-payload.canary-signature"}
    response = await client.post(PATH, json=codex_body("scene:text"), headers={**CODEX, **canaries, **login})
    assert response.status_code == 200
    headers = sent_headers(simulator)
    assert [name for name, value in headers.items() if "canary" in value] == []
    assert headers["chatgpt-account-id"]


async def test_a_lite_body_is_what_the_backend_takes(client: httpx.AsyncClient, simulator: Simulator):
    tools = [{"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]}]
    body = codex_body("scene:custom", model="gpt-6.1-sol", reasoning={"effort": "low", "context": "all_turns"})
    body = {name: value for name, value in body.items() if name != "tools"} | {"parallel_tool_calls": False}
    body["input"] = [{"type": "additional_tools", "id": "at_1", "role": "developer", "tools": tools}, *body["input"]]
    response = await client.post(PATH, json=body, headers={**CODEX, **LITE})
    assert response.status_code == 200, response.text
    assert asked(simulator) == owned(simulator, body)
    assert sent_headers(simulator)["x-openai-internal-codex-responses-lite"] == "true"


async def test_codex_gets_the_words_of_the_backend_to_its_own_client(client: httpx.AsyncClient):
    response = await client.post(PATH, json=codex_body("scene:vendor-first"), headers=CODEX)
    kinds = [event["type"] for event in events(response)]
    assert kinds[:3] == ["codex.rate_limits", "response.metadata", "response.created"]
    assert response.headers["x-codex-plan-type"]
    assert response.headers["x-models-etag"]
    others = await client.post(PATH, json=codex_body("scene:vendor-first"))
    assert not [event for event in events(others) if event["type"].startswith("codex.")]


async def test_a_codex_that_names_no_version_is_known_by_its_user_agent(
    client: httpx.AsyncClient, simulator: Simulator
):
    agent = {"user-agent": "Codex Desktop/26.1.2 (Mac OS)"}
    await client.post(PATH, json=codex_body("scene:text"), headers=agent)
    headers = sent_headers(simulator)
    assert (headers["originator"], headers["version"]) == ("Codex Desktop", "26.1.2")


@pytest.mark.parametrize("value", ["a\nb: c", "a\rb", "a\x00b"])
async def test_a_header_that_breaks_out_is_refused(base_url: str, simulator: Simulator, value: str):
    import asyncio  # noqa: PLC0415 - no HTTP client sends such a thing

    body = json.dumps(codex_body()).encode()
    host, port = base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\noriginator: codex_exec\r\nconnection: close\r\n"
        b"x-codex-window-id: " + value.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert simulator.state.model_call_count == 0


# --- Compaction --------------------------------------------------------------------------------


@pytest.mark.check(115)
@pytest.mark.parametrize("path", [COMPACT_PATH, "/responses/compact"])
async def test_a_conversation_is_compacted(client: httpx.AsyncClient, simulator: Simulator, path: str):
    body = {"model": "gpt-5.5", "input": "a long talk", "instructions": "be short", "temperature": 1}
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    reply = response.json()
    assert reply["object"] == "response.compaction"
    assert isinstance(reply["created_at"], int)
    (item,) = reply["output"]
    assert (item["type"], bool(item["encrypted_content"])) == ("compaction", True)
    assert response.headers["x-gptmock-ignored"] == "temperature"
    sent = compaction(simulator)
    assert sent.body["instructions"] == "be short"
    assert not {"store", "stream", "include"} & set(sent.body)
    again = await client.post(PATH, json={"model": "gpt-5.5", "input": [item, {"role": "user", "content": "on"}]})
    assert again.status_code == 200


async def test_codex_compacts_with_its_own_words(client: httpx.AsyncClient, simulator: Simulator):
    body = {"model": "gpt-5.5", "input": codex_body()["input"], "instructions": "", "tools": []}
    body |= {"parallel_tool_calls": True, "prompt_cache_key": SESSION}
    response = await client.post(COMPACT_PATH, json=body, headers=CODEX)
    assert response.status_code == 200
    assert compaction(simulator).body == body
    assert compaction(simulator).headers["x-codex-window-id"] == f"{SESSION}:0"


async def test_a_compaction_that_is_refused_says_so(client: httpx.AsyncClient):
    response = await client.post(COMPACT_PATH, json={"model": "gpt-0", "input": "hi"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    response = await client.post(COMPACT_PATH, json={"model": "gpt-5.5"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")


async def test_a_compaction_renews_a_refused_token_too(client: httpx.AsyncClient, simulator: Simulator):
    simulator.state.logins.expire_access()
    response = await client.post(COMPACT_PATH, json={"model": "gpt-5.5", "input": "hi"})
    assert response.status_code == 200
    assert simulator.state.stats()["token_exchanges"] == {"ok": 1, "refused": 0}


async def test_without_a_login_a_compaction_says_so(simulator: Simulator, tmp_path: Path):
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        response = await client.post(COMPACT_PATH, json={"model": "gpt-5.5", "input": "hi"})
        assert (response.status_code, response.json()["error"]["code"]) == (503, "login_required")
        write_login(tmp_path, simulator.state.logins.issue().auth_json())
