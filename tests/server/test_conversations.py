"""The routes of stored responses, with responses that another process has stored."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from gptmock.accounts import Secret
from gptmock.conversations import Snapshot
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.conversations import snapshot
from tests.harness import client as open_client
from tests.harness import serving_simulator, spoil_state

BASES = ("/v1/responses", "/responses")
KEY = "sk-the-one-and-only-key"


async def store(home: Path, *snapshots: Snapshot, tenant: str = "") -> None:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
        for one in snapshots:
            await state.conversations.save(tenant, one)


@pytest.fixture
async def stored(home: Path) -> Snapshot:
    first = snapshot("resp_1")
    await store(home, first, snapshot("resp_2", after=first))
    return first


@pytest.mark.check(80)
@pytest.mark.parametrize("base", BASES)
async def test_a_stored_response_is_told_byte_for_byte(client: httpx.AsyncClient, stored: Snapshot, base: str):
    answer = await client.get(f"{base}/resp_1?include=reasoning.encrypted_content")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.content == bytes(stored.response)
    head = await client.head(f"{base}/resp_1")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.check(80)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.usefixtures("stored")
async def test_a_deleted_one_is_gone_and_its_child_stays(client: httpx.AsyncClient, base: str):
    deleted = await client.delete(f"{base}/resp_1")
    assert deleted.json() == {"id": "resp_1", "object": "response", "deleted": True}
    assert deleted.status_code == 200
    for again in (client.get(f"{base}/resp_1"), client.delete(f"{base}/resp_1")):
        assert (await again).status_code == 404
    items = (await client.get(f"{base}/resp_2/input_items", params={"order": "asc"})).json()
    assert [item["content"][0]["text"] for item in items["data"]] == [
        "question of resp_1",
        "answer of resp_1",
        "question of resp_2",
    ]


@pytest.mark.check(80)
@pytest.mark.usefixtures("stored")
async def test_input_items_come_in_pages(client: httpx.AsyncClient):
    first = (await client.get("/v1/responses/resp_2/input_items?limit=2")).json()
    assert (len(first["data"]), first["has_more"], first["object"]) == (2, True, "list")
    rest = (await client.get(f"/v1/responses/resp_2/input_items?limit=2&after={first['last_id']}")).json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)


@pytest.mark.check(80, 115)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("HEAD", "")]
)
@pytest.mark.parametrize("shown", ["resp_9", "%7Bbraces%7D", "x" * 600, "%00", "%ED%A0%80", "%FF"])
async def test_an_unknown_one_is_a_404_in_openais_words(client: httpx.AsyncClient, method: str, path: str, shown: str):
    answer = await client.request(method, f"/v1/responses/{shown}{path}")
    assert answer.status_code == 404
    assert answer.headers["x-should-retry"] == "false"
    if method != "HEAD":
        error = json.loads(answer.content)["error"]
        assert error["message"].startswith("Response with id '")
        assert error["message"].endswith("' not found.")
        assert error["message"].isprintable()
        assert {name: error[name] for name in ("type", "param", "code")} == {
            "type": "invalid_request_error",
            "param": None,
            "code": "response_not_found",
        }


@pytest.mark.check(115)
@pytest.mark.usefixtures("stored")
async def test_a_stored_one_cannot_be_cancelled(client: httpx.AsyncClient):
    answer = await client.post("/v1/responses/resp_1/cancel")
    assert answer.status_code == 400
    assert "Only background responses can be cancelled" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("resp_1?stream=true", "stream"),
        ("resp_1/input_items?limit=0", "limit"),
        ("resp_1/input_items?order=up", "order"),
        ("resp_1/input_items?after=msg_9", "after"),
    ],
)
@pytest.mark.usefixtures("stored")
async def test_what_cannot_be_done_names_its_parameter(client: httpx.AsyncClient, path: str, param: str):
    answer = await client.get(f"/v1/responses/{path}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.check(80)
async def test_a_key_sees_what_was_stored_with_it_and_nothing_else(simulator: Simulator, home: Path):
    await store(home, snapshot("resp_mine"), tenant=Secret(KEY).fingerprint())
    await store(home, snapshot("resp_theirs"), tenant="somebody else")
    async with serving_simulator(simulator, home, api_key=KEY) as url, open_client(url) as client:
        paths = ("", "/input_items")
        for path in paths:
            assert (await client.get(f"/v1/responses/resp_mine{path}")).status_code == 401
        client.headers["authorization"] = f"Bearer {KEY}"
        for path in paths:
            assert (await client.get(f"/v1/responses/resp_mine{path}")).status_code == 200
            theirs = await client.get(f"/v1/responses/resp_theirs{path}")
            nobodys = await client.get(f"/v1/responses/resp_nobodys{path}")
            assert theirs.status_code == nobodys.status_code == 404
            assert theirs.content == nobodys.content.replace(b"nobodys", b"theirs")


@pytest.mark.check(80)
@pytest.mark.usefixtures("stored")
async def test_with_a_time_to_live_of_nothing_nothing_is_found(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, responses_ttl="0") as url, open_client(url) as client:
        assert (await client.get("/v1/responses/resp_1")).json()["error"]["code"] == "response_not_found"


@pytest.mark.usefixtures("stored")
async def test_a_store_that_is_away_is_a_503(client: httpx.AsyncClient, home: Path):
    spoil_state(home)
    answer = await client.get("/v1/responses/resp_1")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "store_unavailable"
