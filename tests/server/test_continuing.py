"""``previous_response_id`` and ``item_reference`` end to end, with a store."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state
from gptmock.simulator.server import Simulator
from tests.harness import client as open_client
from tests.harness import serving_simulator, spoil_state

PATH = "/v1/responses"
STATIC = "sk-planted-0123456789abcd"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


def asked(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "gpt-5.5", "input": text, **members}


async def respond(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The final Response object, streamed or not."""
    answer = await client.post(PATH, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return final(answer, stream=bool(body.get("stream")))


def final(answer: httpx.Response, *, stream: bool) -> dict[str, Any]:
    if not stream:
        return dict(answer.json())
    (last,) = [
        json.loads(frame.partition("data: ")[2])
        for frame in answer.text.split("\n\n")
        if frame.startswith(("event: response.completed", "event: response.incomplete"))
    ]
    return dict(last["response"])


def error_of(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.json()["error"])


def upstream_items(simulator: Simulator) -> list[dict[str, Any]]:
    """The input of the last model call."""
    return list(simulator.state.model_calls()[-1].body["input"])


def messages(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(item["role"], item["content"][0]["text"]) for item in items if item["type"] == "message"]


both = pytest.mark.parametrize("stream", [False, True], ids=["collected", "streamed"])


# --- The conversation goes on ----------------------------------------------------------------


@pytest.mark.check(76)
@both
async def test_a_child_gets_the_conversation_and_not_the_instructions(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    first = await respond(client, asked("one", instructions="Talk like Ada.", stream=stream))
    second = await respond(client, asked("two", previous_response_id=first["id"], stream=stream))
    assert second["previous_response_id"] == first["id"]
    assert second["instructions"] is None
    third = await respond(client, asked("three", previous_response_id=second["id"], stream=stream))
    assert third["store"] is True
    call = simulator.state.model_calls()[-1].body
    assert messages(call["input"]) == [
        ("user", "one"),
        ("assistant", "You said: one"),
        ("user", "two"),
        ("assistant", "You said: two"),
        ("user", "three"),
    ]
    assert "previous_response_id" not in call
    assert "Ada" not in json.dumps(call)


@pytest.mark.check(76)
async def test_a_parent_may_have_two_children(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    for text in ("left", "right"):
        await respond(client, asked(text, previous_response_id=first["id"]))
        assert messages(upstream_items(simulator))[-1] == ("user", text)
        assert len(messages(upstream_items(simulator))) == 3


async def test_a_conversation_keeps_its_cache_key(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    await respond(client, asked("two", previous_response_id=first["id"]))
    keys = {call.body["prompt_cache_key"] for call in simulator.state.model_calls()}
    assert len(keys) == 1


@pytest.mark.check(78)
@both
async def test_a_tool_loop_sends_only_what_the_tool_said(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    tools = {"tools": [WEATHER], "stream": stream}
    first = await respond(client, asked("use the tool", **tools))
    (call,) = [item for item in first["output"] if item["type"] == "function_call"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    second = await respond(
        client, {"model": "gpt-5.5", "input": [output], "previous_response_id": first["id"], **tools}
    )
    sent = [item for item in upstream_items(simulator) if item["type"].startswith("function_call")]
    assert [item["type"] for item in sent] == ["function_call", "function_call_output"]
    assert {item["call_id"] for item in sent} == {call["call_id"]}
    assert sent[0]["name"] == "get_weather"
    assert "sunny" in json.dumps(second["output"])


async def test_encrypted_thoughts_go_with_the_conversation(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("think", reasoning={"summary": "auto"}))
    (thought,) = [item for item in first["output"] if item["type"] == "reasoning"]
    await respond(client, asked("more", previous_response_id=first["id"]))
    (sent,) = [item for item in upstream_items(simulator) if item["type"] == "reasoning"]
    assert sent["encrypted_content"] == thought["encrypted_content"]


async def test_a_long_tool_name_survives_the_store(client: httpx.AsyncClient, simulator: Simulator):
    name = "a.very.long.tool." * 5
    tools = {"tools": [{**WEATHER, "name": name}], "tool_choice": {"type": "function", "name": name}}
    first = await respond(client, asked("x", **tools))
    (call,) = [item for item in first["output"] if item["type"] == "function_call"]
    assert call["name"] == name
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "done"}
    await respond(
        client, {**asked("x"), "input": [output], "tools": tools["tools"], "previous_response_id": first["id"]}
    )
    (sent,) = [item for item in upstream_items(simulator) if item["type"] == "function_call"]
    assert sent["name"] == simulator.state.model_calls()[-1].body["tools"][0]["name"]
    (stored,) = [
        item for item in (await client.get(f"{PATH}/{first['id']}")).json()["output"] if item["type"] == "function_call"
    ]
    assert stored["name"] == name


@pytest.mark.check(76)
async def test_input_may_be_absent_when_there_is_a_conversation(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    await respond(client, {"model": "gpt-5.5", "previous_response_id": first["id"]})
    assert messages(upstream_items(simulator)) == [("user", "one"), ("assistant", "You said: one")]


async def test_a_stored_conversation_can_be_compacted(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    compacted = await client.post(f"{PATH}/compact", json=asked("two", previous_response_id=first["id"]))
    assert compacted.status_code == 200, compacted.text
    sent = next(each for each in reversed(simulator.state.requests) if each.path.endswith("/compact"))
    assert messages(sent.body["input"]) == [("user", "one"), ("assistant", "You said: one"), ("user", "two")]


# --- Items by reference ----------------------------------------------------------------------


@pytest.mark.check(81)
@both
async def test_items_are_sent_by_reference(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    """As the AI SDK does: the user's words in full, what the model said by id."""
    history: list[dict[str, Any]] = []
    for text in ("one", "two", "three"):
        history.append({"role": "user", "content": [{"type": "input_text", "text": text}]})
        answer = await respond(client, {"model": "gpt-5.5", "input": history, "stream": stream})
        history += [{"type": "item_reference", "id": item["id"]} for item in answer["output"]]
    assert messages(upstream_items(simulator)) == [
        ("user", "one"),
        ("assistant", "You said: one"),
        ("user", "two"),
        ("assistant", "You said: two"),
        ("user", "three"),
    ]


@pytest.mark.check(81)
async def test_an_unknown_item_is_named_by_its_place(client: httpx.AsyncClient, simulator: Simulator):
    body = {"model": "gpt-5.5", "input": [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "rs_9"}]}
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 400
    assert (error_of(answer)["param"], error_of(answer)["type"]) == ("input[1].id", "invalid_request_error")
    assert "rs_9" in error_of(answer)["message"]
    assert simulator.state.model_call_count == 0


async def test_a_mistake_in_the_input_is_named_by_its_own_place(client: httpx.AsyncClient):
    first = await respond(client, asked("one"))
    body = {"model": "gpt-5.5", "previous_response_id": first["id"], "input": [{"role": "wizard", "content": "x"}]}
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, "input[0].role")


# --- What cannot be continued ----------------------------------------------------------------


@pytest.mark.check(75, 76)
@both
async def test_an_unknown_response_is_a_400(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    answer = await client.post(PATH, json=asked("x", previous_response_id="resp_9", stream=stream))
    assert answer.status_code == 400
    assert error_of(answer) == {
        "message": "Previous response with id 'resp_9' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    assert simulator.state.model_call_count == 0


@pytest.mark.check(75)
async def test_where_nothing_is_stored_a_child_is_a_400_that_says_so(simulator: Simulator, home: Path):
    async with serving_simulator(simulator, home, responses_ttl="0") as url, open_client(url) as client:
        first = await respond(client, asked("one"))
        assert first["store"] is False
        streamed = await respond(client, asked("one", stream=True))
        assert streamed["store"] is False
        answer = await client.post(PATH, json=asked("two", previous_response_id=first["id"]))
        assert answer.status_code == 400
        assert error_of(answer)["param"] == "previous_response_id"
        assert "GPTMOCK_RESPONSES_TTL" in error_of(answer)["message"]
        assert (await client.get(f"{PATH}/{first['id']}")).status_code == 404
    assert simulator.state.model_call_count == 2


@pytest.mark.check(80)
@both
async def test_what_is_not_to_be_stored_is_not(client: httpx.AsyncClient, stream: bool):  # noqa: FBT001
    first = await respond(client, asked("one", store=False, stream=stream))
    assert first["store"] is False
    assert (await client.get(f"{PATH}/{first['id']}")).status_code == 404
    answer = await client.post(PATH, json=asked("two", previous_response_id=first["id"]))
    assert error_of(answer)["code"] == "previous_response_not_found"


@both
async def test_a_child_that_is_not_stored_may_continue_one_that_is(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    first = await respond(client, asked("one"))
    second = await respond(client, asked("two", store=False, stream=stream, previous_response_id=first["id"]))
    assert len(messages(upstream_items(simulator))) == 3
    assert (await client.get(f"{PATH}/{second['id']}")).status_code == 404


@pytest.mark.parametrize("scene", ["failed-mid", "eof-mid"])
@both
async def test_a_turn_that_failed_is_not_stored(
    client: httpx.AsyncClient,
    home: Path,
    scene: str,
    stream: bool,  # noqa: FBT001
):
    await client.post(PATH, json=asked(f"scene:{scene}", stream=stream))
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as state:
        assert await state.store.names("response:") == []


NOBODYS = "resp_nobodys"


async def answers(
    client: httpx.AsyncClient, shown: str, item_id: str, headers: dict[str, str]
) -> list[tuple[int, str]]:
    """Status and text of every request for a response id or an item id, with the ids removed."""
    reference = [{"type": "item_reference", "id": item_id}]
    asking = [
        client.post(PATH, json=asked("two", previous_response_id=shown), headers=headers),
        client.post(PATH, json={"model": "gpt-5.5", "input": reference}, headers=headers),
        client.get(f"{PATH}/{shown}", headers=headers),
        client.get(f"{PATH}/{shown}/input_items", headers=headers),
        client.delete(f"{PATH}/{shown}", headers=headers),
        client.post(f"{PATH}/{shown}/cancel", headers=headers),
    ]
    given = [await one for one in asking]
    return [(one.status_code, one.text.replace(shown, "").replace(item_id, "")) for one in given]


@pytest.mark.check(79)
async def test_what_another_key_has_stored_is_unknown(simulator: Simulator, home: Path):
    settings = load_settings({"home": str(home)}, environ={}, directory=home)
    async with (
        serving_simulator(simulator, home, api_key=STATIC) as url,
        open_client(url) as client,
        open_state(settings) as state,
    ):
        keys = [(await state.keys.create(name, KeyTerms())).text.reveal() for name in ("ada", "bob")]
        ada, *strangers = ({"authorization": f"Bearer {key}"} for key in (*keys, STATIC))
        first = await respond(client, asked("one"), **ada)
        (item_id,) = [item["id"] for item in first["output"] if item["type"] == "message"]
        for stranger in strangers:
            theirs = await answers(client, first["id"], item_id, stranger)
            assert [status for status, _ in theirs] == [400, 400, 404, 404, 404, 404]
            assert theirs == await answers(client, NOBODYS, "msg_nobodys", stranger)
        assert simulator.state.model_call_count == 1
        await respond(client, asked("two", previous_response_id=first["id"]), **ada)
        assert (await client.get(f"{PATH}/{first['id']}", headers=ada)).status_code == 200


# --- Looking at what was stored --------------------------------------------------------------


@pytest.mark.check(80)
@both
async def test_what_is_stored_is_what_was_answered(client: httpx.AsyncClient, stream: bool):  # noqa: FBT001
    body = asked("one", metadata={"k": "v"}, stream=stream, instructions="Be brief.")
    answered = await respond(client, body)
    assert answered["store"] is True
    stored = await client.get(f"{PATH}/{answered['id']}")
    assert stored.status_code == 200
    assert stored.json() == answered
    items = (await client.get(f"{PATH}/{answered['id']}/input_items")).json()
    assert messages(items["data"]) == [("user", "one")]
    assert items["object"] == "list"
    assert items["first_id"] == items["last_id"] == items["data"][0]["id"]


@pytest.mark.check(80)
async def test_the_child_of_a_deleted_response_goes_on(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    second = await respond(client, asked("two", previous_response_id=first["id"]))
    deleted = await client.delete(f"{PATH}/{first['id']}")
    assert deleted.json() == {"id": first["id"], "object": "response", "deleted": True}
    assert (await client.get(f"{PATH}/{first['id']}")).status_code == 404
    orphan = await client.post(PATH, json=asked("x", previous_response_id=first["id"]))
    assert error_of(orphan)["code"] == "previous_response_not_found"
    await respond(client, asked("three", previous_response_id=second["id"]))
    assert [text for _, text in messages(upstream_items(simulator))] == [
        "one",
        "You said: one",
        "two",
        "You said: two",
        "three",
    ]


async def test_a_codex_client_is_never_stored_and_may_continue_what_is(client: httpx.AsyncClient, simulator: Simulator):
    codex = {"originator": "codex_cli_rs", "user-agent": "codex_cli_rs/0.169.0"}
    first = await respond(client, asked("one"))
    second = await respond(client, asked("two", previous_response_id=first["id"], stream=True, store=False), **codex)
    assert messages(upstream_items(simulator)) == [("user", "one"), ("assistant", "You said: one"), ("user", "two")]
    assert second["store"] is False
    assert (await client.get(f"{PATH}/{second['id']}")).status_code == 404


@both
async def test_an_incomplete_response_can_be_continued(
    client: httpx.AsyncClient,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
):
    first = await respond(client, asked("scene:incomplete", stream=stream))
    assert first["status"] == "incomplete"
    await respond(client, asked("go on", previous_response_id=first["id"]))
    assert messages(upstream_items(simulator))[1][0] == "assistant"


@pytest.mark.check(81)
async def test_a_listed_item_can_be_referred_to(client: httpx.AsyncClient, simulator: Simulator):
    first = await respond(client, asked("one"))
    (listed,) = (await client.get(f"{PATH}/{first['id']}/input_items")).json()["data"]
    body = {"model": "gpt-5.5", "input": [{"type": "item_reference", "id": listed["id"]}]}
    await respond(client, body)
    assert messages(upstream_items(simulator)) == [("user", "one")]


# --- Trouble ---------------------------------------------------------------------------------


@both
async def test_a_store_that_is_away_costs_no_answer_but_no_child_either(
    client: httpx.AsyncClient,
    home: Path,
    simulator: Simulator,
    stream: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, logger="gptmock")
    first = await respond(client, asked("one"))
    calls = simulator.state.model_call_count
    spoil_state(home)
    child = await client.post(PATH, json=asked("two", previous_response_id=first["id"], stream=stream))
    assert child.status_code == 503
    assert error_of(child)["code"] == "store_unavailable"
    assert simulator.state.model_call_count == calls, "refused before anything was spent"
    alone = await respond(client, asked("three", stream=stream))
    assert alone["store"] is False
    assert [one for one in caplog.records if one.getMessage() == "conversation.not_stored"]
    turns = [vars(one) for one in caplog.records if one.getMessage() == "turn"]
    assert [one["stored"] for one in turns] == [True, None, False]
    (home / "state.db").unlink()
