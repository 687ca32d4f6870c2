"""``/v1/completions`` over HTTP, with the simulator behind it."""

from __future__ import annotations

import logging

import httpx
import pytest

from gptmock.simulator.server import Simulator
from tests.playbook import fold_completion

PATH = "/v1/completions"


@pytest.mark.check(100)
@pytest.mark.parametrize(
    ("prompt", "count"), [("Say hello", 1), (["Say hello"], 1), (["Say one", "Say two", "Say three"], 3)]
)
@pytest.mark.parametrize("path", [PATH, "/completions", "/v1//completions/"])
async def test_a_choice_for_each_prompt(client: httpx.AsyncClient, path: str, prompt: str | list[str], count: int):
    response = await client.post(path, json={"model": "gpt-5.5", "prompt": prompt})
    assert response.status_code == 200
    document = response.json()
    assert (document["object"], document["id"][:5]) == ("text_completion", "cmpl-")
    assert [choice["index"] for choice in document["choices"]] == list(range(count))
    prompts = [prompt] if isinstance(prompt, str) else prompt
    for choice, asked in zip(document["choices"], prompts, strict=True):
        assert choice["text"] == f"You said: {asked}"
        assert (choice["finish_reason"], choice["logprobs"]) == ("stop", None)
    assert document["usage"]["total_tokens"] > 0


@pytest.mark.check(90, 100, 101)
async def test_prompts_streamed_with_their_echoes(client: httpx.AsyncClient):
    body = {"prompt": ["one", "two"], "echo": True, "stream": True, "stream_options": {"include_usage": True}}
    response = await client.post(PATH, json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
    read = fold_completion([response.content])
    assert [choice["text"] for choice in read.reply["choices"]] == ["oneYou said: one", "twoYou said: two"]
    assert read.reply["usage"]["total_tokens"] > 0


@pytest.mark.check(101, 116)
async def test_what_is_ignored_is_named_and_cuts_nothing(client: httpx.AsyncClient, simulator: Simulator):
    text = "a text of more than sixteen tokens " * 8
    response = await client.post(PATH, json={"prompt": text, "max_tokens": 16, "temperature": 0, "logprobs": None})
    assert response.headers["x-gptmock-ignored"] == "max_tokens,temperature"
    choice = response.json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (f"You said: {text}", "stop")
    assert not {"max_tokens", "temperature"} & simulator.state.model_calls()[-1].body.keys()


@pytest.mark.check(101)
@pytest.mark.parametrize("body", [{"prompt": "a", "best_of": 2}, {"prompt": "a", "n": 2}, {"prompt": [1, 2]}, {}])
async def test_what_cannot_be_answered_is_a_400_before_anything_is_spent(
    client: httpx.AsyncClient, simulator: Simulator, body: dict[str, object]
):
    response = await client.post(PATH, json=body)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert simulator.state.model_call_count == 0


async def test_a_failure_of_one_prompt_fails_the_call(client: httpx.AsyncClient):
    asked = {"prompt": ["Say one", "scene:failed-mid", "Say three"]}
    collected = await client.post(PATH, json=asked)
    assert collected.status_code == 502
    streamed = await client.post(PATH, json={**asked, "stream": True})
    assert streamed.status_code == 200
    assert not fold_completion([streamed.content]).succeeded
    assert b"Say three" not in streamed.content


async def test_one_line_in_the_log_has_the_sum(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="gptmock")
    document = (await client.post(PATH, json={"prompt": ["one", "two"]})).json()
    (line,) = (vars(record) for record in caplog.records if record.getMessage() == "turn")
    assert (line["dialect"], line["ended"]) == ("completions", "ok")
    assert line["output_tokens"] == document["usage"]["completion_tokens"]
