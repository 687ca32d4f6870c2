"""``/v1/images/generations`` and ``/v1/images/edits`` on the whole program."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gptmock.clients import KeyTerms
from gptmock.server.context import ServerOptions
from gptmock.settings_sources import load_settings
from gptmock.shared_state import State, open_state
from gptmock.simulator.images import IMAGES_PATH
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.pictures import is_picture, made_size, picture
from gptmock.simulator.server import Simulator
from gptmock.stores.auth_file import read_login
from gptmock.stores.key_limits import StoreKeyLimits
from tests.harness import client as open_client
from tests.harness import serving_simulator, until, write_login

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
PNG = base64.b64decode(picture("64x32"))
URL = f"data:image/png;base64,{picture('64x32')}"
NO_USAGE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def image_calls(simulator: Simulator) -> list[Any]:
    """The calls of the backend's endpoint for images."""
    return [call for call in simulator.state.requests if call.path.startswith(IMAGES_PATH)]


def calls(simulator: Simulator) -> int:
    """All calls that cost something."""
    return simulator.state.image_call_count + simulator.state.model_call_count


def tool_of(simulator: Simulator) -> dict[str, Any]:
    """The tool of the only model call."""
    (call,) = simulator.state.model_calls()
    (tool,) = call.body["tools"]
    return dict(tool)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each with its line before."""
    events = []
    for block in response.text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        data = json.loads(lines[-1].removeprefix("data: "))
        assert lines[0] == f"event: {data['type']}" if "type" in data else len(lines) == 1
        events.append(data)
    return events


def error_of(response: httpx.Response) -> dict[str, Any]:
    document = response.json()
    assert set(document["error"]) == {"message", "type", "param", "code"}
    return dict(document["error"])


# --- Images -------------------------------------------------------------------------------


async def test_an_image_by_the_endpoint(client: httpx.AsyncClient, simulator: Simulator):
    body = {"prompt": "a cat", "size": "1024x1536", "quality": "hd", "background": "opaque", "model": "gpt-image-1"}
    answer = await client.post(GENERATIONS, json=body)
    document = answer.json()
    (entry,) = document.pop("data")
    assert is_picture(f"data:image/png;base64,{entry['b64_json']}")
    assert document.pop("created") > 1_700_000_000
    usage = document.pop("usage")
    assert {name: usage[name] for name in NO_USAGE} == NO_USAGE
    assert document == {"size": "1024x1536", "quality": "high", "background": "opaque", "output_format": "png"}
    (call,) = image_calls(simulator)
    assert call.path == f"{IMAGES_PATH}/generations"
    assert call.body == {
        "prompt": "a cat",
        "model": "gpt-image-2",
        "size": "1024x1536",
        "quality": "high",
        "background": "opaque",
    }
    assert simulator.state.model_call_count == 0
    assert answer.headers["openai-model"] == "gpt-image-2"


async def test_the_size_is_that_of_the_image(client: httpx.AsyncClient):
    document = (await client.post(GENERATIONS, json={"prompt": "a cat", "size": "4096x4096"})).json()
    width, height = made_size("4096x4096")
    assert document["size"] == f"{width}x{height}"


async def test_an_image_as_a_data_url(client: httpx.AsyncClient):
    document = (await client.post(GENERATIONS, json={"prompt": "a cat", "response_format": "url"})).json()
    (entry,) = document["data"]
    assert set(entry) == {"url"}
    assert is_picture(entry["url"])


@pytest.mark.check(263)
@pytest.mark.parametrize("missing", [True, False])
async def test_what_the_endpoint_cannot_do_is_done_by_the_tool(
    client: httpx.AsyncClient,
    simulator: Simulator,
    missing: bool,  # noqa: FBT001
):
    simulator.state.options = SimulatorOptions(image_endpoint=not missing)
    more = {} if missing else {"output_format": "webp", "output_compression": 50, "moderation": "low"}
    document = (await client.post(GENERATIONS, json={"prompt": "a cat", "quality": "low", **more})).json()
    kind = "png" if missing else "webp"
    assert document["output_format"] == kind
    (entry,) = document["data"]
    assert entry["revised_prompt"] == "a cat"
    assert is_picture(f"data:image/{kind};base64,{entry['b64_json']}")
    assert document["usage"]["output_tokens"] == 1056
    assert document["usage"]["input_tokens_details"] == {"text_tokens": 11, "image_tokens": 0}
    assert tool_of(simulator) == {"type": "image_generation", "quality": "low", **more}
    assert len(image_calls(simulator)) == int(missing)
    # Whoever lacks the endpoint is not asked again.
    await client.post(GENERATIONS, json={"prompt": "a cat", **more})
    assert len(image_calls(simulator)) == int(missing)


@pytest.mark.check(261)
@pytest.mark.parametrize("stream", [False, True])
async def test_n_images_are_n_calls(client: httpx.AsyncClient, simulator: Simulator, stream: bool):  # noqa: FBT001
    answer = await client.post(GENERATIONS, json={"prompt": "a cat", "n": 4, "size": "64x64", "stream": stream})
    images = events_of(answer) if stream else answer.json()["data"]
    assert len({image["b64_json"] for image in images}) == 4
    assert [call.body for call in image_calls(simulator)] == [
        {"prompt": "a cat", "model": "gpt-image-2", "size": "64x64"}
    ] * 4


@pytest.mark.check(261)
async def test_two_images_are_made_at_a_time_and_one_failure_is_that_of_all(
    client: httpx.AsyncClient, simulator: Simulator
):
    simulator.state.scenes.extend(["slow-head:1", "slow-head:60", "text", "400-policy"])
    refused = await client.post(GENERATIONS, json={"prompt": "a cat", "n": 4, "size": "64x64"}, timeout=30)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "moderation_blocked")
    await simulator.state.until_closed(1, seconds=10)
    assert simulator.state.image_call_count == 4


# --- Edits --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["image", "image[]"])
async def test_images_of_a_form_are_edited(client: httpx.AsyncClient, simulator: Simulator, field: str):
    files = [(field, (f"{place}.png", PNG, "image/png")) for place in range(5)]
    form = {"prompt": "a cät", "n": "2", "size": "64x64", "user": "me", "odd": "1"}
    answer = await client.post(EDITS, data=form, files=files)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2
    assert set(answer.headers["x-gptmock-ignored"].split(",")) == {"user", "odd"}
    for call in image_calls(simulator):
        assert call.path == f"{IMAGES_PATH}/edits"
        assert call.body["images"] == [{"image_url": URL}] * 5
        assert call.body["prompt"] == "a cät"


async def test_images_of_a_json_body_are_edited_as_codex_sends_them(client: httpx.AsyncClient, simulator: Simulator):
    body = {"images": [{"image_url": URL}], "prompt": "a cat", "model": "gpt-image-2", "background": "auto"}
    assert (await client.post(EDITS, json=body)).status_code == 200
    (call,) = image_calls(simulator)
    assert call.body == body


async def test_the_tool_is_given_the_images_to_edit(client: httpx.AsyncClient, simulator: Simulator):
    simulator.state.options = SimulatorOptions(image_endpoint=False)
    answer = await client.post(EDITS, data={"prompt": "a cat"}, files={"image": ("a.jpg", PNG)})
    assert answer.status_code == 200, answer.text
    (call,) = simulator.state.model_calls()
    assert call.body["input"][0]["content"] == [
        {"type": "input_text", "text": "a cat"},
        {"type": "input_image", "image_url": URL},
    ]


async def test_a_large_form_is_a_form_whatever_its_bytes_are(client: httpx.AsyncClient, simulator: Simulator):
    # As JSON it would have too many values.
    noise = base64.b64decode(picture("64x32", noise_bytes=1_000_000)).replace(b"noIs", b"noIs" + b"{,[:" * 200_000, 1)
    length = noise.index(b"noIs") - 4
    data = noise[:length] + (1_000_000 + 800_000).to_bytes(4, "big") + noise[length + 4 :]
    answer = await client.post(EDITS, data={"prompt": "a cat"}, files={"image": ("a.png", data)})
    assert answer.status_code == 200, answer.text
    (call,) = image_calls(simulator)
    assert base64.b64decode(call.body["images"][0]["image_url"].partition(",")[2]) == data


# --- Refused before anything is spent -------------------------------------------------------

BAD_IMAGES: dict[str, bytes] = {
    "cut": PNG[:-20],
    "text": b"no image at all",
    "empty": b"",
    "gif": b"GIF89a" + bytes(50),
    "cut jpeg": base64.b64decode(picture(None, "jpeg"))[:-10],
    "cut webp": base64.b64decode(picture(None, "webp"))[:-10],
    "oversized": PNG + bytes(20 * 1024 * 1024),
}


@pytest.mark.check(262)
@pytest.mark.parametrize("as_form", [True, False])
async def test_bad_images_cost_nothing(client: httpx.AsyncClient, simulator: Simulator, as_form: bool):  # noqa: FBT001
    for name, data in BAD_IMAGES.items():
        if as_form:
            files = [("image", ("a.png", PNG)), ("image", ("b.png", data))]
            refused = await client.post(EDITS, data={"prompt": "a cat"}, files=files)
        else:
            urls = [URL, f"data:image/png;base64,{base64.b64encode(data).decode()}"]
            refused = await client.post(EDITS, json={"prompt": "a cat", "images": [{"image_url": url} for url in urls]})
        error = error_of(refused)
        assert refused.status_code == 400, name
        assert error["code"] == ("image_too_large" if name == "oversized" else "invalid_image"), name
        assert error["param"] == ("image[1]" if as_form else "images[1].image_url"), name
    assert calls(simulator) == 0


BAD: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "no prompt": (GENERATIONS, {"prompt": None}, "prompt"),
    "empty prompt": (GENERATIONS, {"prompt": " "}, "prompt"),
    "long prompt": (GENERATIONS, {"prompt": "x" * 32_001}, "prompt"),
    "model": (GENERATIONS, {"model": "dall-e-3"}, "model"),
    "n": (GENERATIONS, {"n": 5}, "n"),
    "no n": (GENERATIONS, {"n": 0}, "n"),
    "n of text": (GENERATIONS, {"n": "2"}, "n"),
    "size": (GENERATIONS, {"size": "large"}, "size"),
    "quality": (GENERATIONS, {"quality": "best"}, "quality"),
    "background": (GENERATIONS, {"background": "red"}, "background"),
    "svg": (GENERATIONS, {"output_format": "svg"}, "output_format"),
    "compressed png": (GENERATIONS, {"output_compression": 50}, "output_compression"),
    "compression": (GENERATIONS, {"output_format": "webp", "output_compression": 101}, "output_compression"),
    "transparent jpeg": (GENERATIONS, {"output_format": "jpeg", "background": "transparent"}, "background"),
    "moderation": (GENERATIONS, {"moderation": "none"}, "moderation"),
    "response format": (GENERATIONS, {"response_format": "file"}, "response_format"),
    "partial images": (GENERATIONS, {"partial_images": 4, "stream": True}, "partial_images"),
    "style": (GENERATIONS, {"style": "vivid"}, "style"),
    "fidelity": (GENERATIONS, {"input_fidelity": "high"}, "input_fidelity"),
    "frames": (GENERATIONS, {"frame_count": 2}, "frame_count"),
    "mask": (EDITS, {"images": [{"image_url": URL}], "mask": {"image_url": URL}}, "mask"),
    "no images": (EDITS, {}, "images"),
    "six images": (EDITS, {"images": [{"image_url": URL}] * 6}, "images"),
    "file": (EDITS, {"images": [{"file_id": "file-1"}]}, "images[0].file_id"),
    "address": (EDITS, {"images": [{"image_url": "https://example.test/a.png"}]}, "images[0].image_url"),
    "nothing": (EDITS, {"images": [{}]}, "images[0].image_url"),
    "base64": (EDITS, {"images": [{"image_url": "data:image/png;base64,***"}]}, "images[0].image_url"),
}


@pytest.mark.check(341)
async def test_what_cannot_be_honoured_costs_nothing(client: httpx.AsyncClient, simulator: Simulator):
    for name, (path, members, param) in BAD.items():
        refused = await client.post(path, json={"prompt": "a cat", **members})
        assert refused.status_code == 400, name
        assert error_of(refused)["param"] == param, name
    for field, count in (("image", 6), ("mask", 1)):
        files = [("image", ("a.png", PNG)), *[(field, ("b.png", PNG))] * count]
        assert (await client.post(EDITS, data={"prompt": "a cat"}, files=files)).status_code == 400
    assert calls(simulator) == 0


async def test_a_broken_form_costs_nothing(client: httpx.AsyncClient, simulator: Simulator):
    request = client.build_request("POST", EDITS, data={"prompt": "a cat"}, files={"image": ("a.png", PNG)})
    body, headers = request.read(), {"content-type": request.headers["content-type"]}
    refused = await client.post(EDITS, content=body[:-20], headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_form")
    # Only edits take forms.
    refused = await client.post(GENERATIONS, content=body, headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_json")
    assert calls(simulator) == 0


@pytest.mark.check(87)
async def test_a_form_from_a_web_page_is_refused(client: httpx.AsyncClient, simulator: Simulator, base_url: str):
    form: dict[str, Any] = {"data": {"prompt": "a cat"}, "files": {"image": ("a.png", PNG)}}
    for headers, status in (
        ({"origin": base_url}, 415),
        ({"sec-fetch-site": "same-origin"}, 415),
        ({"referer": f"{base_url}/dashboard"}, 415),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ):
        assert (await client.post(EDITS, headers=headers, **form)).status_code == status
    assert calls(simulator) == 0
    assert (await client.post(EDITS, **form)).status_code == 200


async def test_variations_are_not_made(client: httpx.AsyncClient):
    refused = await client.post("/v1/images/variations", files={"image": ("a.png", PNG)})
    assert (refused.status_code, error_of(refused)["code"]) == (404, "unsupported_endpoint")
    assert "/v1/images/edits" in error_of(refused)["message"]


# --- Streams ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
@pytest.mark.parametrize("partial", [None, 0, 2])
async def test_a_stream_has_the_events_of_its_route(
    client: httpx.AsyncClient, simulator: Simulator, path: str, partial: int | None
):
    body = {"prompt": "a cat", "size": "64x64", "stream": True, "partial_images": partial}
    response = await client.post(path, json=body if path == GENERATIONS else {**body, "images": [{"image_url": URL}]})
    assert response.headers["content-type"].startswith("text/event-stream")
    prefix = "image_generation" if path == GENERATIONS else "image_edit"
    *partials, completed = events_of(response)
    assert [(one["type"], one["partial_image_index"]) for one in partials] == [
        (f"{prefix}.partial_image", number) for number in range(partial or 0)
    ]
    common = {"b64_json", "created_at", "size", "quality", "background", "output_format", "type"}
    assert all(set(one) == {*common, "partial_image_index"} for one in partials)
    assert completed["type"] == f"{prefix}.completed"
    assert set(completed) == {*common, "usage"}
    assert completed["size"] == "64x64"
    # Only the tool shows what is not finished.
    assert simulator.state.model_call_count == int(bool(partial))


async def test_a_failure_after_the_first_image_is_told_in_the_stream(client: httpx.AsyncClient, simulator: Simulator):
    simulator.state.scenes.extend(["text", "400-policy"])
    response = await client.post(GENERATIONS, json={"prompt": "a cat", "n": 2, "size": "64x64", "stream": True})
    first, failure = events_of(response)
    assert first["type"] == "image_generation.completed"
    assert failure["error"]["code"] == "moderation_blocked"


@pytest.mark.check(343)
async def test_silence_has_heartbeats(simulator: Simulator, home: Path):
    # 90 s and 10 s, scaled: the endpoint says nothing before the image is made, and the head waits 5 s for it.
    options = ServerOptions(heartbeat_seconds=0.1)
    async with serving_simulator(simulator, home, options=options) as url, open_client(url) as client:
        body = {"prompt": "scene:slow-head:6.5", "size": "64x64", "stream": True}
        response = await client.post(GENERATIONS, json=body)
        assert response.text.count(": keep-alive") >= 5
        (completed,) = events_of(response)
        assert completed["type"] == "image_generation.completed"
        assert simulator.state.image_call_count == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("endpoint", [True, False])
async def test_a_client_that_leaves_frees_everything(
    simulator: Simulator,
    base_url: str,
    stream: bool,  # noqa: FBT001
    endpoint: bool,  # noqa: FBT001
):
    simulator.state.options = SimulatorOptions(image_endpoint=endpoint)
    body = {"prompt": "scene:silent:60", "stream": stream, "n": 1 if stream else 3}
    async with open_client(base_url) as client:
        asking = asyncio.get_running_loop().create_task(client.post(GENERATIONS, json=body))
        await until(lambda: simulator.state.open_streams == (1 if stream else 2))
        asking.cancel()
        await until(lambda: simulator.state.open_streams == 0)
        assert simulator.state.closed_by_client == (1 if stream else 2)
        assert calls(simulator) == (1 if stream else 2)


# --- Accounts, keys, limits -----------------------------------------------------------------


@pytest.fixture
async def state(home: Path) -> AsyncIterator[State]:
    async with open_state(load_settings({"home": str(home)}, environ={}, directory=home)) as opened:
        yield opened


@pytest.mark.check(340)
@pytest.mark.parametrize("more", [{}, {"output_format": "webp"}])
async def test_a_plan_without_images_is_a_403_that_says_so(simulator: Simulator, tmp_path: Path, more: dict[str, Any]):
    write_login(tmp_path, simulator.state.logins.issue(plan="free").auth_json())
    async with serving_simulator(simulator, tmp_path) as url, open_client(url) as client:
        refused = await client.post(GENERATIONS, json={"prompt": "a cat", **more})
        assert refused.status_code == 403
        assert error_of(refused)["code"] == "image_generation_unavailable"
        assert "free" in error_of(refused)["message"]
        assert simulator.state.model_call_count == 0
        assert refused.headers["x-should-retry"] == "false"


@pytest.mark.check(340)
async def test_of_a_pool_another_account_makes_the_image(simulator: Simulator, home: Path, state: State):
    free = read_login(write_login(home / "free", simulator.state.logins.issue(plan="free").auth_json()))
    paid = read_login(write_login(home / "paid", simulator.state.logins.issue(email="b@example.test").auth_json()))
    assert free is not None
    assert paid is not None
    await state.vault.enroll(free, label="free")
    await state.vault.enroll(paid, label="paid")
    async with serving_simulator(simulator, home, account_pool="free,paid") as url, open_client(url) as client:
        for more in ({}, {"output_format": "webp"}):
            answer = await client.post(GENERATIONS, json={"prompt": f"a cat {more}", **more})
            assert answer.status_code == 200, answer.text


async def test_policy_limits_and_trouble_are_told_as_elsewhere(client: httpx.AsyncClient, simulator: Simulator):
    for scene, status, code in (
        ("400-policy", 400, "moderation_blocked"),
        ("429-burst", 429, "rate_limit_exceeded"),
        ("500", 502, "server_error"),
        ("403-html", 502, "upstream_blocked"),
        ("eof-mid", 502, "upstream_stream_truncated"),
    ):
        refused = await client.post(GENERATIONS, json={"prompt": f"scene:{scene}"})
        assert (refused.status_code, error_of(refused)["code"]) == (status, code)
    simulator.state.options = SimulatorOptions(image_endpoint=False)
    for scene, status, code in (
        ("refusal", 400, "moderation_blocked"),
        ("filter", 400, "moderation_blocked"),
        ("failed-first:cyber_policy", 400, "moderation_blocked"),
        ("text", 403, "image_generation_unavailable"),
        ("incomplete", 502, "image_incomplete"),
    ):
        refused = await client.post(GENERATIONS, json={"prompt": f"scene:{scene}"})
        assert (refused.status_code, error_of(refused)["code"]) == (status, code), scene


async def test_an_expired_token_is_renewed(client: httpx.AsyncClient, simulator: Simulator):
    assert (await client.post(GENERATIONS, json={"prompt": "scene:401"})).status_code == 200
    assert simulator.state.image_call_count == 2


async def test_keys_allow_images_by_the_name_of_the_model(client: httpx.AsyncClient, state: State):
    for models, status in (((), 200), (("gpt-image-2",), 200), (("gpt-*",), 200), (("gpt-5.5",), 403)):
        issued = await state.keys.create(f"k{len(models)}{status}{models[:1]}", KeyTerms(models=models))
        headers = {"authorization": f"Bearer {issued.text.reveal()}"}
        answer = await client.post(GENERATIONS, json={"prompt": "a cat", "size": "64x64"}, headers=headers)
        assert answer.status_code == status
    assert error_of(answer)["code"] == "model_not_allowed"


async def test_limits_count_a_request_for_images_once(client: httpx.AsyncClient, state: State, simulator: Simulator):
    issued = await state.keys.create("ada", KeyTerms(rpm=1))
    headers = {"authorization": f"Bearer {issued.text.reveal()}"}
    body = {"prompt": "a cat", "size": "64x64", "n": 3}
    first = await client.post(GENERATIONS, json=body, headers=headers)
    assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    second = await client.post(GENERATIONS, json=body, headers=headers)
    assert (second.status_code, error_of(second)["code"]) == (429, "rate_limit_exceeded")
    assert simulator.state.image_call_count == 3


@pytest.mark.parametrize("endpoint", [True, False])
async def test_what_an_image_takes_counts_for_the_key(
    client: httpx.AsyncClient,
    state: State,
    simulator: Simulator,
    endpoint: bool,  # noqa: FBT001
):
    simulator.state.options = SimulatorOptions(image_endpoint=endpoint)
    issued = await state.keys.create("ada", KeyTerms(tokens_per_day=100_000))
    headers = {"authorization": f"Bearer {issued.text.reveal()}"}
    usage = (await client.post(GENERATIONS, json={"prompt": "a cat"}, headers=headers)).json()["usage"]
    # The model that calls the tool takes some tokens too.
    least = usage["total_tokens"] + (0 if endpoint else 10)
    assert (least > 1000) is not endpoint

    async def used() -> int:
        states = await StoreKeyLimits(state.store).states(await state.keys.show("ada"))
        return next(one.used for one in states if one.kind == "tokens_per_day")

    async with asyncio.timeout(10):
        while await used() < least:  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.01)


async def test_one_line_in_the_log(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, simulator: Simulator):
    caplog.set_level(logging.INFO, logger="gptmock")
    simulator.state.options = SimulatorOptions(image_endpoint=False)
    await client.post(GENERATIONS, json={"prompt": "planted", "n": 2})
    lines = [vars(record) for record in caplog.records if record.getMessage() == "turn"]
    assert [(line["dialect"], line["model"], line["status"]) for line in lines] == [("images", "gpt-image-2", 200)]
    assert lines[0]["input_tokens"] > 0
    assert "planted" not in str(lines)


async def test_images_are_listed_if_the_operator_wants_it(simulator: Simulator, home: Path):
    for listed in (False, True):
        async with serving_simulator(simulator, home, image_models=listed) as url, open_client(url) as client:
            names = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
            assert ("gpt-image-2" in names) is listed
            assert (await client.get("/v1/models/gpt-image-2")).status_code == (200 if listed else 404)


# --- Other dialects ---------------------------------------------------------------------------

TOOLS = [{"type": "image_generation", "size": "64x64"}]


@pytest.mark.check(264)
async def test_an_image_in_a_chat_answer(client: httpx.AsyncClient):
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "draw a cat"}], "tools": TOOLS}
    message = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    (image,) = message["images"]
    assert image["type"] == "image_url"
    assert is_picture(image["image_url"]["url"])
    streamed = await client.post("/v1/chat/completions", json={**body, "stream": True})
    chunks = [json.loads(line[6:]) for line in streamed.text.split("\n") if line.startswith("data: {")]
    (delta,) = [chunk["choices"][0]["delta"] for chunk in chunks if "images" in chunk["choices"][0]["delta"]]
    assert set(delta) == {"images"}
    # What came back goes back.
    history = [*body["messages"], message, {"role": "user", "content": "thanks"}]
    assert (await client.post("/v1/chat/completions", json={**body, "messages": history})).status_code == 200


@pytest.mark.check(264)
async def test_an_image_in_an_ollama_answer(client: httpx.AsyncClient):
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "draw a cat"}], "tools": TOOLS}
    lines = [json.loads(line) for line in (await client.post("/api/chat", json=body)).text.splitlines()]
    (image,) = lines[-1]["message"]["images"]
    assert is_picture(f"data:image/png;base64,{image}")
    assert not any("images" in line["message"] for line in lines[:-1])


@pytest.mark.check(264)
async def test_an_image_in_a_response(client: httpx.AsyncClient):
    body = {"model": "gpt-5.5", "input": "draw a cat", "tools": TOOLS}
    streamed = await client.post("/v1/responses", json={**body, "stream": True})
    kinds = [line.partition(": ")[2] for line in streamed.text.split("\n") if line.startswith("event: ")]
    for kind in ("in_progress", "generating", "partial_image", "completed"):
        assert f"response.image_generation_call.{kind}" in kinds
    item = (await client.post("/v1/responses", json=body)).json()["output"][-1]
    assert item["type"] == "image_generation_call"
    assert is_picture(f"data:image/png;base64,{item['result']}")


@pytest.mark.check(342)
@pytest.mark.parametrize("noise_bytes", [0, 1_500_000])
async def test_a_stored_response_keeps_a_large_image_by_its_id_only(
    client: httpx.AsyncClient, simulator: Simulator, noise_bytes: int
):
    simulator.state.options = SimulatorOptions(image_noise_bytes=noise_bytes)
    made = (await client.post("/v1/responses", json={"model": "gpt-5.5", "input": "draw", "tools": TOOLS})).json()
    item = made["output"][-1]
    assert len(item["result"]) > noise_bytes
    kept = (await client.get(f"/v1/responses/{made['id']}")).json()["output"][-1]
    assert kept == {name: value for name, value in item.items() if name != "result" or not noise_bytes}
    body = {"model": "gpt-5.5", "input": "brighter", "previous_response_id": made["id"]}
    for more in ({}, {"previous_response_id": None, "input": [{"type": "item_reference", "id": item["id"]}]}):
        assert (await client.post("/v1/responses", json={**body, **more})).status_code == 200
        sent = simulator.state.model_calls()[-1].body["input"]
        assert [one["type"] for one in sent if item["id"] in json.dumps(one)] == [
            "message" if noise_bytes else "image_generation_call"
        ]
