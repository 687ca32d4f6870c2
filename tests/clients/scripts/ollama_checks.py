"""
The official ollama library. It validates every line with pydantic and splits the stream as ``str.splitlines`` does, so
it shows what is out of shape. Numbers are those of the conformance checks (client contracts, section 8).
"""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import ollama
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, Bench, main, scene, user
from ollama import _types as types

REQUEST_FIELDS = Path(__file__).parents[2] / "dialects" / "request_fields.json"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63fccfc0500f000485018084a98c210000000049454e44ae426082"
)
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": WEATHER}}
    for name in ("get_weather", "get_time")
]
METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


def opened(bench: Bench) -> ollama.Client:
    """A client that sends the key as it would to a guarded server."""
    return ollama.Client(host=bench.root_url, headers={"authorization": f"Bearer {bench.api_key}"}, timeout=30)


def ask(bench: Bench, messages: list[Any], **more: Any) -> ollama.ChatResponse:
    """One collected answer."""
    return opened(bench).chat(model=MODEL, messages=messages, **more)


def streamed(bench: Bench, messages: list[Any], **more: Any) -> list[ollama.ChatResponse]:
    """All lines of one streamed answer."""
    return list(opened(bench).chat(model=MODEL, messages=messages, stream=True, **more))


def text_of(lines: list[ollama.ChatResponse]) -> str:
    """The joined content."""
    return "".join(line.message.content or "" for line in lines)


def calls_of(lines: list[ollama.ChatResponse]) -> list[Any]:
    """The calls of all lines."""
    return [call.function for line in lines for call in line.message.tool_calls or []]


def failure(call: Any) -> ollama.ResponseError:
    """The error that a call raises."""
    try:
        answer = call()
    except ollama.ResponseError as error:
        return error
    raise AssertionError(f"no error but {answer!r:.200}")


def check_chat_streamed(bench: Bench) -> None:
    """19: every line has its message, the last one says so."""
    lines = streamed(bench, scene("text"))
    assert text_of(lines) == GREETING
    assert len(lines) > 4
    assert all(line.message.role == "assistant" and isinstance(line.message.content, str) for line in lines)
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].done_reason == "stop"
    assert lines[-1].message.content == ""
    assert all(line.model == MODEL for line in lines)


def check_chat(bench: Bench) -> None:
    """19, 95: counts are the upstream's, times are dates of UTC."""
    answer = ask(bench, scene("text"))
    assert answer.message.content == GREETING
    assert answer.done is True
    assert answer.done_reason == "stop"
    assert answer.created_at is not None
    assert answer.created_at.endswith("Z")
    assert all(type(getattr(answer, name)) is int for name in METRICS)
    assert answer.eval_duration is not None
    assert answer.eval_duration >= 1
    assert answer.total_duration is not None
    assert answer.total_duration >= answer.eval_duration
    last = streamed(bench, scene("text"))[-1]
    assert (last.prompt_eval_count, last.eval_count) == (answer.prompt_eval_count, answer.eval_count)
    assert answer.eval_count
    assert answer.eval_count > 0


def check_tool_call(bench: Bench) -> None:
    """20: arguments are an object, whole, and before the end."""
    answer = ask(bench, scene("tool"), tools=TOOLS)
    lines = streamed(bench, scene("tool"), tools=TOOLS)
    for (function,) in (calls_of([answer]), calls_of(lines)):
        assert function.name == "get_weather"
        assert function.arguments == {"city": "Paris"}
    assert answer.done_reason == "stop"
    assert not lines[-1].message.tool_calls
    both = calls_of(streamed(bench, scene("tools2"), tools=TOOLS))
    assert [function.name for function in both] == ["get_weather", "get_time"]


def check_tool_loop_by_name(bench: Bench) -> None:
    """21: the protocol has no ids, so names pair calls with results; or nothing but the order does."""
    messages: list[Any] = user("What do get_weather and get_time say?")
    first = ask(bench, messages, tools=TOOLS).message
    assert [call.function.name for call in first.tool_calls or []] == ["get_weather", "get_time"]
    # The later one first: names decide, not places.
    named = [
        {"role": "tool", "tool_name": "get_time", "content": "noon"},
        {"role": "tool", "tool_name": "get_weather", "content": "rain"},
    ]
    asked = json.loads(first.model_dump_json(exclude_none=True))
    for call in asked["tool_calls"]:
        call.pop("id", None)
    for results in (named, [{"role": "tool", "content": "rain"}, {"role": "tool", "content": "noon"}]):
        last = streamed(bench, [*messages, asked, *results], tools=TOOLS)
        assert "rain" in text_of(last)
        assert "noon" in text_of(last)
        items = bench.bodies()[-1]["input"]
        names = {item["call_id"]: item["name"] for item in items if item["type"] == "function_call"}
        outputs = {names[item["call_id"]]: item["output"] for item in items if item["type"] == "function_call_output"}
        assert outputs == {"get_weather": "rain", "get_time": "noon"}


def get_weather(city: str) -> str:
    """
    Weather of a city.

    Args:
        city: its name
    """
    return f"rain in {city}"


def check_python_function_as_tool(bench: Bench) -> None:
    """20: what the library makes of a function is a tool."""
    (function,) = calls_of([ask(bench, user("What does get_weather say?"), tools=[get_weather])])
    assert get_weather(**function.arguments) == "rain in Paris"
    (tool,) = bench.bodies()[-1]["tools"]
    assert tool["name"] == "get_weather"
    assert tool["strict"] is False


def check_list_and_show(bench: Bench) -> None:
    """22, 94: any way to write the name means the same model."""
    models = opened(bench).list().models
    names = {model.model for model in models}
    assert MODEL in names
    assert all(model.modified_at is not None and model.modified_at.utcoffset() is not None for model in models)
    assert all(isinstance(model.size, int) for model in models)
    for name in (MODEL, f"{MODEL}:latest", MODEL.upper()):
        shown = opened(bench).show(name)
        info = shown.modelinfo
        assert info is not None
        window = info[f"{info['general.architecture']}.context_length"]
        assert type(window) is int, name
        assert window == 272_000, name
        assert "tools" in (shown.capabilities or []), name
    assert opened(bench).ps().models is not None


def check_format(bench: Bench) -> None:
    """43: JSON of any kind, and by a schema."""
    assert isinstance(json.loads(ask(bench, user("Tell me something"), format="json").message.content or ""), dict)
    body = bench.bodies()[-1]
    assert body["text"]["format"] == {"type": "json_object"}
    assert "json" in json.dumps(body["input"]).lower()
    assert isinstance(json.loads(text_of(streamed(bench, user("A city"), format=WEATHER)))["city"], str)
    shape = bench.bodies()[-1]["text"]["format"]
    assert shape["type"] == "json_schema"
    assert shape["strict"] is False
    assert shape["schema"] == WEATHER


def check_think(bench: Bench) -> None:
    """58: shown unless it is switched off, and never in the content."""
    for more in ({}, {"think": True}, {"think": "high"}):
        answer = ask(bench, scene("reasoning"), **more)
        assert "I look at what was asked." in (answer.message.thinking or ""), more
        assert answer.message.content == GREETING, more
    assert bench.bodies()[-1]["reasoning"]["effort"] == "high"
    lines = streamed(bench, scene("reasoning"))
    assert "".join(line.message.thinking or "" for line in lines) == answer.message.thinking
    assert text_of(lines) == GREETING
    hidden = ask(bench, scene("reasoning"), think=False)
    assert not hidden.message.thinking
    assert hidden.message.content == GREETING
    assert bench.bodies()[-1]["reasoning"]["effort"] == "low"
    error = failure(lambda: ask(bench, user("hi"), think="weird"))
    assert error.status_code == 400


def check_history(bench: Bench) -> None:
    """21, 58: what the library says of the last turn comes back; thinking stays here."""
    first = ask(bench, scene("reasoning")).message
    ask(bench, [{"role": "system", "content": "Be kind."}, *user("hi"), first, *user("and now?")])
    body = bench.bodies()[-1]
    assert body["instructions"] == "Be kind."
    assert [item["content"][0]["text"] for item in body["input"]] == ["hi", GREETING, "and now?"]


def check_images(bench: Bench) -> None:
    """98: bytes or base64, in chat and in generate."""
    for image in (PIXEL, base64.b64encode(PIXEL).decode()):
        ask(bench, [{"role": "user", "content": "What is this?", "images": [image]}])
        opened(bench).generate(model=MODEL, prompt="What is this?", images=[image])
        for body in bench.bodies()[-2:]:
            part = body["input"][0]["content"][-1]
            assert part["type"] == "input_image"
            assert part["image_url"] == f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"


def check_separators(bench: Bench) -> None:
    """37."""
    assert ask(bench, scene("separators")).message.content == SEPARATED
    assert text_of(streamed(bench, scene("separators"))) == SEPARATED


def check_upstream_varieties(bench: Bench) -> None:
    """38, 39: whatever form the upstream gives an answer."""
    calm = ["done-only", "noids", "vendor-first", "filled", "oneshot-arguments", "text+tool", "two-messages"]
    for name in [*calm, "crlf", "bom", "garbage"]:
        answer = ask(bench, scene(name), tools=TOOLS)
        lines = streamed(bench, scene(name), tools=TOOLS)
        assert text_of(lines) == answer.message.content, name
        assert calls_of(lines) == calls_of([answer]), name
        assert answer.message.content or answer.message.tool_calls, name


def check_incomplete(bench: Bench) -> None:
    """40, 110: the limit has a word; the filter has none, so it is an error."""
    assert ask(bench, scene("incomplete")).done_reason == "length"
    assert streamed(bench, scene("incomplete"))[-1].done_reason == "length"
    failure(lambda: streamed(bench, scene("filter")))


def check_broken_streams(bench: Bench) -> None:
    """34: the library takes a silent end for success, so there is none."""
    for name in ("eof-mid", "abort-mid", "failed-mid"):
        error = failure(lambda text=name: streamed(bench, scene(text)))
        assert isinstance(error.error, str), name
        assert error.error, name
        assert failure(lambda text=name: ask(bench, scene(text))).status_code == 502, name


def check_errors(bench: Bench) -> None:
    """82, 83, 84: a status before the first line, and a text that says why."""
    error = failure(lambda: opened(bench).chat(model=UNKNOWN_MODEL, messages=user("hi")))
    assert error.status_code == 404
    assert f"model '{UNKNOWN_MODEL}' not found" in error.error
    error = failure(lambda: opened(bench).show(UNKNOWN_MODEL))
    assert error.status_code == 404
    error = failure(lambda: ask(bench, scene("400-detail")))
    assert error.status_code == 400
    assert "Unsupported parameter" in error.error
    error = failure(lambda: ask(bench, scene("failed-first:context_length_exceeded")))
    assert error.status_code == 400
    # The last, since it parks the account.
    error = failure(lambda: streamed(bench, scene("429-usage")))
    assert error.status_code == 429
    assert "resets in" in error.error


def check_embeddings(bench: Bench) -> None:
    """88: never zeros."""
    for call in (
        lambda: opened(bench).embed(model=MODEL, input="hi"),
        lambda: opened(bench).embeddings(model=MODEL, prompt="hi"),
    ):
        error = failure(call)
        assert error.status_code == 400
        assert "does not support embeddings" in error.error
    assert bench.calls() == []


def check_every_request_field_is_honoured_or_named(bench: Bench) -> None:
    """116: the fields of the library's own request types are all in the list that gptmock is tested with."""
    listed = json.loads(REQUEST_FIELDS.read_text(encoding="utf-8"))
    for dialect, known in (
        ("ollama_chat", types.ChatRequest),
        ("ollama_generate", types.GenerateRequest),
        ("options", types.Options),
    ):
        fields = set(known.model_fields) - {"keep_alive", "raw"}
        assert fields <= {name for fate in listed[dialect].values() for name in fate}, dialect
    options = {"mirostat": 1, "min_p": 0.1, "num_gpu": 1, "num_thread": 4, "stop": ["zzz"]}
    answer = httpx.post(
        f"{bench.root_url}/api/chat",
        headers={"authorization": f"Bearer {bench.api_key}"},
        json={"model": MODEL, "messages": scene("text"), "options": options, "system": "Be kind.", "stream": False},
    )
    named = {"system", "options.mirostat", "options.min_p", "options.num_gpu", "options.num_thread"}
    assert set(answer.headers["x-gptmock-ignored"].split(",")) == named


def check_load(bench: Bench) -> None:
    """97: nothing to load, and no call is spent on it."""
    for loaded in (
        opened(bench).chat(model=MODEL, messages=[]),
        opened(bench).generate(model=MODEL, prompt=""),
    ):
        assert loaded.done is True
        assert loaded.done_reason == "load"
    assert opened(bench).chat(model=MODEL, messages=[], keep_alive=0).done_reason == "unload"
    assert opened(bench).generate(model=MODEL, keep_alive=0).done_reason == "unload"
    assert bench.calls() == []


def check_generate(bench: Bench) -> None:
    """98: one prompt, collected and streamed, with a system text, thinking, and the middle of a text."""
    generate = opened(bench).generate
    whole = generate(model=MODEL, prompt="Please play scene:reasoning", system="Be kind.")
    assert whole.response == GREETING
    assert "I look at what was asked." in (whole.thinking or "")
    assert whole.done_reason == "stop"
    assert bench.bodies()[-1]["instructions"] == "Be kind."
    lines = list(generate(model=MODEL, prompt="Please play scene:text", stream=True))
    assert "".join(line.response for line in lines) == GREETING
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert type(lines[-1].eval_count) is int
    generate(model=MODEL, prompt="def add(a, b):", suffix="    return c")
    assert "    return c" in json.dumps(bench.bodies()[-1]["input"])
    assert isinstance(json.loads(generate(model=MODEL, prompt="A city", format=WEATHER).response), dict)
    error = failure(lambda: generate(model=MODEL, prompt="x", raw=True, system="y"))
    assert error.status_code == 400
    assert "raw mode does not support template, system, or context" in error.error
    error = failure(lambda: list(generate(model=MODEL, prompt="Please play scene:eof-mid", stream=True)))
    assert isinstance(error.error, str)


def check_pull(bench: Bench) -> None:
    """99: what is there is there."""
    assert opened(bench).pull(MODEL).status == "success"
    assert [line.status for line in opened(bench).pull(MODEL, stream=True)][-1] == "success"
    failure(lambda: opened(bench).pull(UNKNOWN_MODEL))
    failure(lambda: list(opened(bench).pull(UNKNOWN_MODEL, stream=True)))


def check_managing_models(bench: Bench) -> None:
    """99: never a success that is none."""
    client = opened(bench)
    for call in (
        lambda: client.create(model="mine", from_=MODEL),
        lambda: client.copy(MODEL, "mine"),
        lambda: client.delete(MODEL),
        lambda: client.push(MODEL),
        lambda: list(client.push(MODEL, stream=True)),
    ):
        error = failure(call)
        assert 400 <= error.status_code < 500
        assert "managed by the upstream" in error.error
    assert list(client.ps().models) is not None


def check_a_silent_upstream(bench: Bench) -> None:
    """89: lines with nothing in them are no trouble."""
    lines = streamed(bench, scene("silent:12"))
    assert text_of(lines)
    assert sum(line.done is True for line in lines) == 1


def check_many_at_once(bench: Bench) -> None:
    """112."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: text_of(streamed(bench, user(f"number {number}"))), range(8)))
    assert answers == [f"You said: number {number}" for number in range(8)]


async def check_async_client(bench: Bench) -> None:
    """19, 34, 112 with the async client."""
    client = ollama.AsyncClient(host=bench.root_url, headers={"authorization": f"Bearer {bench.api_key}"}, timeout=30)
    stream = await client.chat(model=MODEL, messages=scene("text"), stream=True)
    assert text_of([line async for line in stream]) == GREETING
    broken = await client.chat(model=MODEL, messages=scene("eof-mid"), stream=True)
    (found,) = await asyncio.gather(_read(broken), return_exceptions=True)
    assert isinstance(found, ollama.ResponseError), repr(found)
    asked = [client.chat(model=MODEL, messages=user(f"number {number}")) for number in range(6)]
    answers = [answer.message.content for answer in await asyncio.gather(*asked)]
    assert answers == [f"You said: number {number}" for number in range(6)]


async def _read(stream: Any) -> list[Any]:
    return [line async for line in stream]


if __name__ == "__main__":
    main(globals())
