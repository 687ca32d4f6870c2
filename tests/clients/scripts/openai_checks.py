"""
The official openai library, first and third generation alike. Numbers are those of the conformance checks
(client contracts, section 8).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
import zlib
from collections.abc import Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, Bench, main, scene, user
from openai import AsyncOpenAI, OpenAI
from openai.types import ImagesResponse, image_edit_params, image_generate_params
from openai.types import completion_create_params as completion_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as response_params

REQUEST_FIELDS = Path(__file__).parents[2] / "dialects" / "request_fields.json"

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": WEATHER}}
    for name in ("get_weather", "get_time")
]
STRICT_TOOLS: list[Any] = [{**tool, "function": {**tool["function"], "strict": True}} for tool in TOOLS]
THOUGHT = re.compile(r"<think>.+?</think>", re.DOTALL)


class City(pydantic.BaseModel):
    """What ``parse`` is asked for."""

    city: str
    temperature: float
    tags: list[str]


def opened(bench: Bench, **options: Any) -> OpenAI:
    """A client that gives up at once, unless told otherwise."""
    return OpenAI(base_url=bench.base_url, **{"api_key": bench.api_key, "max_retries": 0, "timeout": 30, **options})


def ask(bench: Bench, messages: list[Any], **parameters: Any) -> ChatCompletion:
    """One collected answer, seen to be what the library's own types say: it does not look itself."""
    answer = opened(bench).chat.completions.with_raw_response.create(
        **{"model": MODEL, "messages": messages, **parameters}
    )
    ChatCompletion.model_validate_json(answer.http_response.content, strict=True)
    return answer.parse()


def streamed(bench: Bench, messages: list[Any], **parameters: Any) -> list[ChatCompletionChunk]:
    """All chunks of one streamed answer."""
    with opened(bench).chat.completions.create(
        **{"model": MODEL, "messages": messages, "stream": True, **parameters}
    ) as stream:
        return list(stream)


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    """The joined content."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def reasons_of(chunks: Iterable[ChatCompletionChunk]) -> list[str]:
    """All finish reasons; there has to be one."""
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]


def failure(kind: type[Exception], call: Any) -> Any:
    """The error that a call raises; exactly of this kind."""
    try:
        answer = call()
    except openai.OpenAIError as error:
        raised = error
    else:
        raise AssertionError(f"no {kind.__name__} but {answer!r:.200}")
    assert type(raised) is kind, repr(raised)
    return raised


def status_error(call: Any) -> openai.APIStatusError:
    """The error of any status that a call raises."""
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("no error")


# --- Text -----------------------------------------------------------------------------


def check_create_text(bench: Bench) -> None:
    """1."""
    completion = ask(bench, scene("text"))
    choice = completion.choices[0]
    assert choice.message.content == GREETING == text_of(streamed(bench, scene("text")))
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert completion.object == "chat.completion"
    assert re.match(r"chatcmpl-[A-Za-z0-9]{29}$", completion.id)
    assert completion.model == MODEL
    assert type(completion.created) is int


def check_stream_text(bench: Bench) -> None:
    """2, 13."""
    chunks = streamed(bench, scene("text"))
    assert text_of(chunks) == GREETING
    assert reasons_of(chunks) == ["stop"]
    assert all(chunk.usage is None for chunk in chunks)
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"


def check_stream_usage(bench: Bench) -> None:
    """12."""
    collected = ask(bench, scene("text")).usage
    chunks = streamed(bench, scene("text"), stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage == collected
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert text_of(chunks) == GREETING


def check_usage_details(bench: Bench) -> None:
    """14: a prompt long enough to be found in the cache."""
    usage = ask(bench, user("long " * 1500 + "scene:reasoning")).usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert 1024 <= (usage.prompt_tokens_details.cached_tokens or 0) <= usage.prompt_tokens
    assert 0 < (usage.completion_tokens_details.reasoning_tokens or 0) < usage.completion_tokens


def check_reasoning_in_think_tags(bench: Bench) -> None:
    """57: one pair, before the answer."""
    content = ask(bench, scene("reasoning")).choices[0].message.content
    assert content is not None
    assert len(THOUGHT.findall(content)) == 1
    assert content.startswith("<think>")
    assert THOUGHT.sub("", content).strip() == GREETING
    assert text_of(streamed(bench, scene("reasoning"))) == content


def check_interleaved_reasoning(bench: Bench) -> None:
    """57: one pair for each run."""
    content = text_of(streamed(bench, scene("interleaved")))
    assert len(THOUGHT.findall(content)) == 2
    assert content == ask(bench, scene("interleaved")).choices[0].message.content


def check_unusual_separators(bench: Bench) -> None:
    """37: U+0085, U+2028, U+2029."""
    assert ask(bench, scene("separators")).choices[0].message.content == SEPARATED
    assert text_of(streamed(bench, scene("separators"))) == SEPARATED
    said = "a\u0085b\u2028c\u2029d"
    assert said in (ask(bench, user(said)).choices[0].message.content or "")


def check_upstream_varieties(bench: Bench) -> None:
    """37, 38, 39: whatever form the upstream gives an answer, both ways to ask for it agree."""
    calm = "text long reasoning-raw done-only noids vendor-first unknown filled substitute queued two-messages"
    odd = "garbage odd-splits crlf cr bom comments multiline nobreak oneshot-arguments text+tool image"
    for name in (*calm.split(), *odd.split()):
        message = ask(bench, scene(name)).choices[0].message
        chunks = streamed(bench, scene(name))
        assert text_of(chunks) == (message.content or ""), name
        functions = [call.function for call in message.tool_calls or [] if call.type == "function"]
        joined = [(call["name"], call["arguments"]) for call in joined_calls(chunks)]
        assert joined == [(function.name, function.arguments) for function in functions], name
        if name in {"noids", "done-only", "filled"}:
            assert (message.content or "").count(GREETING) == 1, name


def check_incomplete(bench: Bench) -> None:
    """40."""
    assert ask(bench, scene("incomplete")).choices[0].finish_reason == "length"
    assert reasons_of(streamed(bench, scene("incomplete"))) == ["length"]


def check_content_filter(bench: Bench) -> None:
    """110."""
    assert ask(bench, scene("filter")).choices[0].finish_reason == "content_filter"
    assert reasons_of(streamed(bench, scene("filter"))) == ["content_filter"]


def check_refusal(bench: Bench) -> None:
    """55."""
    choice = ask(bench, scene("refusal")).choices[0]
    assert choice.message.refusal == "I'm sorry, but I can't help with that."
    assert choice.message.content is None
    assert choice.finish_reason == "stop"
    chunks = streamed(bench, scene("refusal"))
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == choice.message.refusal
    assert text_of(chunks) == ""


def check_annotations(bench: Bench) -> None:
    """59: nested, once, and pointing at what they cite."""
    message = ask(bench, scene("search"), web_search_options={}).choices[0].message
    assert message.annotations is not None
    cited = message.annotations[0].url_citation
    assert message.content is not None
    assert message.content[cited.start_index : cited.end_index] == "Example"
    assert cited.url == "https://example.test/source"
    chunks = streamed(bench, scene("search"), web_search_options={})
    noted = [delta for chunk in chunks if (delta := getattr(chunk.choices[0].delta, "annotations", None))]
    assert len(noted) == 1
    assert {"type": "web_search"} in bench.bodies()[-1]["tools"]


# --- Tools ----------------------------------------------------------------------------


def joined_calls(chunks: Iterable[ChatCompletionChunk]) -> list[dict[str, str]]:
    """Tool calls put together as the simplest client does it: everything that comes is appended."""
    calls: list[dict[str, str]] = []
    for chunk in chunks:
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if part.index == len(calls):
                calls.append({"id": "", "type": "", "name": "", "arguments": ""})
            call = calls[part.index]
            call["id"] += part.id or ""
            call["type"] += part.type or ""
            if part.function is not None:
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
    return calls


def check_tool_call(bench: Bench) -> None:
    """5."""
    choice = ask(bench, scene("tool"), tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def check_tool_call_streamed(bench: Bench) -> None:
    """7."""
    chunks = streamed(bench, scene("tools2"), tools=TOOLS)
    calls = joined_calls(chunks)
    assert [call["name"] for call in calls] == ["get_weather", "get_time"]
    assert all(call["type"] == "function" and call["id"].count("call_") == 1 for call in calls)
    assert all(json.loads(call["arguments"]) == {"city": "Paris"} for call in calls)
    assert reasons_of(chunks) == ["tool_calls"]


def check_tool_loop(bench: Bench) -> None:
    """8, collected."""
    messages: list[Any] = user("What does get_weather say?")
    first = ask(bench, messages, tools=TOOLS).choices[0].message
    assert first.tool_calls
    call_id = first.tool_calls[0].id
    messages += [first.to_dict(), {"role": "tool", "tool_call_id": call_id, "content": "rain, 9 degrees"}]
    last = ask(bench, messages, tools=TOOLS).choices[0]
    assert last.finish_reason == "stop"
    assert "rain, 9 degrees" in (last.message.content or "")
    same_pair(bench, call_id)


def check_tool_loop_streamed(bench: Bench) -> None:
    """8, streamed."""
    messages: list[Any] = user("What does get_weather say?")
    chunks = streamed(bench, messages, tools=TOOLS)
    (call,) = joined_calls(chunks)
    function = {"name": call["name"], "arguments": call["arguments"]}
    messages += [
        {"role": "assistant", "tool_calls": [{"id": call["id"], "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sun, 21 degrees"},
    ]
    last = streamed(bench, messages, tools=TOOLS)
    assert "sun, 21 degrees" in text_of(last)
    assert reasons_of(last) == ["stop"]
    same_pair(bench, call["id"])


def same_pair(bench: Bench, call_id: str) -> None:
    """The upstream got the call, then its output, under one id."""
    items = bench.bodies()[-1]["input"]
    kinds = [item["type"] for item in items]
    at = kinds.index("function_call")
    assert kinds[at + 1] == "function_call_output"
    assert items[at]["call_id"] == items[at + 1]["call_id"] == call_id


def check_stream_helper_parallel_calls(bench: Bench) -> None:
    """6."""
    with opened(bench).chat.completions.stream(model=MODEL, messages=scene("tools2"), tools=TOOLS) as stream:
        events = [event.type for event in stream]
        completion = stream.get_final_completion()
    message = completion.choices[0].message
    assert message.role == "assistant"
    assert message.tool_calls is not None
    assert [call.function.name for call in message.tool_calls] == ["get_weather", "get_time"]
    assert [call.index for call in message.tool_calls] == [0, 1]  # type: ignore[attr-defined]
    assert len({call.id for call in message.tool_calls}) == 2
    assert all(call.id.count("call_") == 1 for call in message.tool_calls)
    assert all(json.loads(call.function.arguments) == {"city": "Paris"} for call in message.tool_calls)
    assert events.count("tool_calls.function.arguments.done") == 2
    assert "tool_calls.function.arguments.delta" in events


def check_stream_helper_text(bench: Bench) -> None:
    """12, 59: usage and annotations do not disturb the helper."""
    with opened(bench).chat.completions.stream(
        model=MODEL, messages=scene("search"), stream_options={"include_usage": True}
    ) as stream:
        events = [event.type for event in stream]
        completion = stream.get_final_completion()
    assert events.count("content.done") == 1
    assert "Example" in (completion.choices[0].message.content or "")
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def check_tool_choice(bench: Bench) -> None:
    """46, and 44's form."""
    named = {"type": "function", "function": {"name": "get_time"}}
    few = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    flat = {"type": "function", "name": "get_time"}
    expected: list[tuple[Any, Any]] = [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        (named, flat),
        (few, {"type": "allowed_tools", "mode": "required", "tools": [flat]}),
    ]
    for choice, sent in expected:
        completion = ask(bench, user("hello"), tools=TOOLS, tool_choice=choice)
        assert bench.bodies()[-1]["tool_choice"] == sent
        called = [call.function.name for call in completion.choices[0].message.tool_calls or []]  # type: ignore[union-attr]
        wanted = {"required": ["get_weather"]}.get(str(choice), ["get_time"] if isinstance(choice, dict) else [])
        assert called == wanted, choice
    unknown = {"type": "function", "function": {"name": "get_rich"}}
    error = failure(openai.BadRequestError, lambda: ask(bench, user("hi"), tools=TOOLS, tool_choice=unknown))
    assert error.param == "tool_choice"


def check_tool_definitions(bench: Bench) -> None:
    """47, 49."""
    bare = {"type": "function", "function": {"name": "bare"}}
    strict = {"type": "function", "function": {"name": "strict", "parameters": WEATHER, "strict": True}}
    ask(bench, user("hi"), tools=[*TOOLS, bare, strict])
    ask(bench, user("hi"), tools=[*TOOLS, bare, strict])
    ask(bench, user("hi"))
    first, second, without = bench.bodies()
    assert [tool["strict"] for tool in first["tools"]] == [False, False, False, True]
    assert first["tools"][2]["parameters"] == {"type": "object", "properties": {}}
    assert json.dumps(first["tools"]) == json.dumps(second["tools"])
    assert json.dumps(first["tools"][0]["parameters"]) == json.dumps(WEATHER)
    assert "tools" not in without


def check_parallel_tool_calls(bench: Bench) -> None:
    """48."""
    ask(bench, user("hi"), tools=TOOLS)
    ask(bench, user("hi"), tools=TOOLS, parallel_tool_calls=False)
    ask(bench, user("hi"), extra_body={"parallel_tool_calls": False})
    first, second, third = bench.bodies()
    assert "parallel_tool_calls" not in first
    assert second["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in third


def check_legacy_functions(bench: Bench) -> None:
    """50."""
    functions: list[Any] = [{"name": "get_weather", "parameters": WEATHER}]
    choice = ask(bench, scene("tool"), functions=functions).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "get_weather"
    assert json.loads(choice.message.function_call.arguments) == {"city": "Paris"}
    assert choice.message.tool_calls is None
    chunks = streamed(bench, scene("tool"), functions=functions)
    parts = [part for chunk in chunks if (part := chunk.choices[0].delta.function_call)]
    assert "".join(part.name or "" for part in parts) == "get_weather"
    assert json.loads("".join(part.arguments or "" for part in parts)) == {"city": "Paris"}
    assert reasons_of(chunks) == ["function_call"]


def check_long_tool_names(bench: Bench) -> None:
    """103: shortened on the way up, restored on the way down."""
    name = "mcp.server/tools." + "very_long_name." * 5
    call_id = "toolu_" + "x" * 114
    tools = [{"type": "function", "function": {"name": name, "parameters": WEATHER}}]
    asked = {"id": call_id, "type": "function", "function": {"name": name, "arguments": "{}"}}
    messages: list[Any] = [
        *user("hi"),
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": call_id, "content": "done"},
        *scene("tool"),
    ]
    choice = ask(bench, messages, tools=tools).choices[0]
    assert [call.function.name for call in choice.message.tool_calls or []] == [name]  # type: ignore[union-attr]
    assert joined_calls(streamed(bench, messages, tools=tools))[0]["name"] == name
    body = bench.bodies()[-1]
    legal = re.compile(r"[A-Za-z0-9_-]{1,64}$")
    call, output = (item for item in body["input"] if item["type"].startswith("function_call"))
    assert legal.match(body["tools"][0]["name"])
    assert call["name"] == body["tools"][0]["name"]
    assert call["call_id"] == output["call_id"]
    assert len(call["call_id"]) <= 64


def check_orphans(bench: Bench) -> None:
    """104: OpenAI's words, before anything is spent."""
    orphan: list[Any] = [*user("hi"), {"role": "tool", "tool_call_id": "call_1", "content": "x"}]
    error = failure(openai.BadRequestError, lambda: ask(bench, orphan))
    assert "must be a response to a preceding message with 'tool_calls'" in error.message
    asked = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    open_call: list[Any] = [*user("hi"), {"role": "assistant", "tool_calls": [asked]}, *user("well?")]
    error = failure(openai.BadRequestError, lambda: ask(bench, open_call))
    assert "must be followed by tool messages" in error.message
    assert bench.calls() == []


def check_custom_tool(bench: Bench) -> None:
    """105: nested in chat, flat upstream."""
    grammar = {"definition": "start: /.+/", "syntax": "lark"}
    custom = {"name": "apply_patch", "format": {"type": "grammar", "grammar": grammar}}
    tools: list[Any] = [{"type": "custom", "custom": custom}]
    choice = ask(bench, scene("custom"), tools=tools).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call: Any = choice.message.tool_calls[0]
    assert call.type == "custom"
    assert call.custom.name == "apply_patch"
    assert call.custom.input.startswith("*** Begin Patch")
    sent = bench.bodies()[-1]["tools"][0]
    assert sent["format"] == {"type": "grammar", **grammar}
    assert sent["name"] == "apply_patch"
    parts = [part for chunk in streamed(bench, scene("custom"), tools=tools) for part in _tool_parts(chunk)]
    assert "".join(part.to_dict()["custom"].get("input", "") for part in parts) == call.custom.input
    history: list[Any] = [
        *user("patch it"),
        choice.message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": "patched"},
    ]
    assert "patched" in (ask(bench, history, tools=tools).choices[0].message.content or "")
    kinds = [item["type"] for item in bench.bodies()[-1]["input"]]
    assert kinds[-2:] == ["custom_tool_call", "custom_tool_call_output"]


def _tool_parts(chunk: ChatCompletionChunk) -> list[Any]:
    return list(chunk.choices[0].delta.tool_calls or [])


# --- Structured answers ---------------------------------------------------------------


def check_parse(bench: Bench) -> None:
    """41."""
    completion = opened(bench).chat.completions.parse(model=MODEL, messages=user("A city"), response_format=City)
    parsed = completion.choices[0].message.parsed
    assert isinstance(parsed, City)
    shape = bench.bodies()[-1]["text"]["format"]
    assert shape["type"] == "json_schema"
    assert shape["name"] == "City"
    assert shape["strict"] is True
    assert shape["schema"]["required"] == ["city", "temperature", "tags"]


def check_parse_streamed(bench: Bench) -> None:
    """41, with the helper."""
    with opened(bench).chat.completions.stream(model=MODEL, messages=user("A city"), response_format=City) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, City)


def check_parse_tool_arguments(bench: Bench) -> None:
    """41, for tools."""
    completion = opened(bench).chat.completions.parse(
        model=MODEL, messages=user("Use City"), tools=[openai.pydantic_function_tool(City)], tool_choice="required"
    )
    calls = completion.choices[0].message.tool_calls
    assert calls
    assert isinstance(calls[0].function.parsed_arguments, City)


def check_parse_stopped(bench: Bench) -> None:
    """40, 110: no half an object."""
    parse = opened(bench).chat.completions.parse
    failure(
        openai.LengthFinishReasonError,
        lambda: parse(model=MODEL, messages=scene("incomplete"), response_format=City),
    )
    failure(
        openai.ContentFilterFinishReasonError,
        lambda: parse(model=MODEL, messages=scene("filter"), response_format=City),
    )


def check_parse_refusal(bench: Bench) -> None:
    """55."""
    message = (
        opened(bench)
        .chat.completions.parse(model=MODEL, messages=scene("refusal"), response_format=City)
        .choices[0]
        .message
    )
    assert message.parsed is None
    assert message.refusal


def check_json_object(bench: Bench) -> None:
    """42: the word is added to the input where it is missing."""
    shape: Any = {"type": "json_object"}
    for text in ("Tell me something", "Tell me something as JSON"):
        content = ask(bench, user(text), response_format=shape).choices[0].message.content
        assert isinstance(json.loads(content or ""), dict)
    without, having = bench.bodies()
    assert "json" in json.dumps(without["input"]).lower()
    assert without["text"]["format"] == {"type": "json_object"}
    assert len(having["input"]) == 1


# --- What goes upstream ---------------------------------------------------------------


def check_parameters_stay_here(bench: Bench) -> None:
    """4."""
    parameters: dict[str, Any] = {
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 5,
        "user": "somebody",
        "metadata": {"a": "b"},
        "n": 1,
        "stop": ["zzz"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logit_bias": {"50256": -100},
        "store": True,
        "extra_body": {"max_output_tokens": 5, "keep_alive": "5m"},
    }
    answer = opened(bench).chat.completions.with_raw_response.create(model=MODEL, messages=scene("text"), **parameters)
    assert answer.parse().choices[0].message.content == GREETING
    (body,) = bench.bodies()
    assert body["store"] is False
    assert body["stream"] is True
    assert isinstance(body["input"], list)
    assert not {*parameters, "messages", "max_output_tokens", "keep_alive"} - {"store"} & set(body)
    named = answer.headers["x-gptmock-ignored"].split(",")
    assert {"temperature", "max_tokens", "seed"} <= set(named)
    assert "stop" not in named


def check_every_request_field_is_honoured_refused_or_named(bench: Bench) -> None:
    """116: the fields of the library's own request types are all in the list that gptmock is tested with."""
    listed = json.loads(REQUEST_FIELDS.read_text(encoding="utf-8"))
    for dialect, known in (
        ("chat", chat_params.CompletionCreateParamsBase),
        ("completions", completion_params.CompletionCreateParamsBase),
        ("responses", response_params.ResponseCreateParamsBase),
        ("images", image_generate_params.ImageGenerateParamsBase),
        ("image_edits", image_edit_params.ImageEditParamsBase),
    ):
        # In JSON the images of an edit have another name.
        assert set(known.__annotations__) - {"image"} <= {name for fate in listed[dialect].values() for name in fate}, (
            dialect
        )
    unheard = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}
    parameters = {**listed["chat"]["named"], **unheard}
    create = opened(bench).chat.completions.with_raw_response.create
    answer = create(model=MODEL, messages=scene("text"), extra_body=parameters)
    assert set(answer.headers["x-gptmock-ignored"].split(",")) == set(parameters)
    (body,) = bench.bodies()
    assert not (set(parameters) - {"store"}) & set(body)


def check_roles(bench: Bench) -> None:
    """10, 11."""
    ask(
        bench,
        [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "  first  "},
            {"role": "assistant", "content": "yes?"},
            {"role": "system", "content": "Now in French."},
            {"role": "user", "content": [{"type": "text", "text": "second"}]},
        ],
    )
    (body,) = bench.bodies()
    assert body["instructions"] == "Be kind.\n\nBe brief."
    assert [(item["role"], item["content"][0]["type"], item["content"][0]["text"]) for item in body["input"]] == [
        ("user", "input_text", "  first  "),
        ("assistant", "output_text", "yes?"),
        ("developer", "input_text", "Now in French."),
        ("user", "input_text", "second"),
    ]


def check_text_before_calls(bench: Bench) -> None:
    """9."""
    call = {"id": "call_7", "type": "function", "function": {"name": "get_time", "arguments": ""}}
    messages: list[Any] = [
        *user("hi"),
        {"role": "assistant", "content": "<think>hm</think>Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_7", "content": [{"type": "text", "text": "noon"}]},
    ]
    ask(bench, messages, tools=TOOLS)
    items = bench.bodies()[-1]["input"]
    assert [item["type"] for item in items] == ["message", "message", "function_call", "function_call_output"]
    assert items[1]["content"][0]["text"] == "Let me see."
    assert items[2]["arguments"] == "{}"
    assert items[3]["output"] == "noon"


def check_images(bench: Bench) -> None:
    """51."""
    url = "data:image/png;base64," + base64.b64encode(_png()).decode()
    content: list[Any] = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": url},
        {"type": "image_url", "image_url": {"url": "https://example.test/cat.png"}},
    ]
    ask(bench, [{"role": "user", "content": content}])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_image", "input_image"]
    assert [part["image_url"] for part in parts[1:]] == [url, url, "https://example.test/cat.png"]
    assert parts[1]["detail"] == "low"


def check_files(bench: Bench) -> None:
    """52."""
    pdf = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
    for data in (pdf, f"data:application/pdf;base64,{pdf}"):
        ask(bench, _with_part({"type": "file", "file": {"filename": "a.pdf", "file_data": data}}))
        part = bench.bodies()[-1]["input"][0]["content"][-1]
        assert part["type"] == "input_file"
        assert part["filename"] == "a.pdf"
        assert part["file_data"] == f"data:application/pdf;base64,{pdf}"
    error = failure(
        openai.BadRequestError, lambda: ask(bench, _with_part({"type": "file", "file": {"file_id": "file-1"}}))
    )
    assert error.param.startswith("messages[0].content[1]")


def check_audio(bench: Bench) -> None:
    """53."""
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    error = failure(openai.BadRequestError, lambda: ask(bench, _with_part(part)))
    assert error.param.startswith("messages[0].content[1]")
    error = failure(openai.BadRequestError, lambda: ask(bench, user("hi"), modalities=["text", "audio"]))
    assert error.param == "modalities"
    assert ask(bench, user("hi"), modalities=["text"]).choices[0].finish_reason == "stop"


def _with_part(part: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]


def _png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def check_reasoning_effort(bench: Bench) -> None:
    """106: clamped to what the model has; the field wins over the suffix."""
    wanted = {"none": "low", "minimal": "low", "low": "low", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
    for effort, sent in wanted.items():
        ask(bench, user("hi"), extra_body={"reasoning_effort": effort})
        assert bench.bodies()[-1]["reasoning"]["effort"] == sent, effort
    assert ask(bench, user("hi"), model=f"{MODEL}-high").model == f"{MODEL}-high"
    assert bench.bodies()[-1]["model"] == MODEL
    assert bench.bodies()[-1]["reasoning"]["effort"] == "high"
    ask(bench, user("hi"), model=f"{MODEL}-high", reasoning_effort="low")
    assert bench.bodies()[-1]["reasoning"]["effort"] == "low"
    ask(bench, user("hi"), extra_body={"reasoning": {"effort": "xhigh"}})
    assert bench.bodies()[-1]["reasoning"]["effort"] == "xhigh"
    error = failure(openai.BadRequestError, lambda: ask(bench, user("hi"), extra_body={"reasoning_effort": "huge"}))
    assert error.param == "reasoning_effort"


def check_service_tier(bench: Bench) -> None:
    """107."""
    for tier, sent in {"priority": "priority", "fast": "priority", "auto": None, "default": None, "flex": None}.items():
        completion = ask(bench, user("hi"), extra_body={"service_tier": tier})
        assert bench.bodies()[-1].get("service_tier") == sent, tier
        assert completion.service_tier == (sent or "default")


# --- Mistakes of the client -----------------------------------------------------------


def check_n(bench: Bench) -> None:
    """54."""
    error = failure(openai.BadRequestError, lambda: ask(bench, user("hi"), n=2))
    assert error.param == "n"
    assert error.type == "invalid_request_error"
    assert bench.calls() == []
    assert len(ask(bench, user("hi"), n=1).choices) == 1
    assert len(ask(bench, user("hi"), extra_body={"n": None}).choices) == 1


def check_wrong_types(bench: Bench) -> None:
    """84."""
    wrong: dict[str, Any] = {
        "temperature": "warm",
        "stream": "yes",
        "tools": {"type": "function"},
        "max_tokens": -1,
        "response_format": {"type": "yaml"},
        "stop": 7,
    }
    for name, value in wrong.items():
        error = failure(openai.BadRequestError, lambda body={name: value}: ask(bench, user("hi"), extra_body=body))
        assert error.param is not None, name
        assert error.param.startswith(name), error.param
        assert error.body.keys() == {"message", "type", "param", "code"}
    for messages, param in (([], "messages"), ([{"role": "king", "content": "x"}], "messages[0].role")):
        error = failure(openai.BadRequestError, lambda given=messages: ask(bench, given))
        assert error.param == param
    assert bench.calls() == []


def check_unknown_model(bench: Bench) -> None:
    """82."""
    error = failure(openai.NotFoundError, lambda: ask(bench, user("hi"), model=UNKNOWN_MODEL))
    assert error.code == "model_not_found"
    assert error.param == "model"
    assert UNKNOWN_MODEL in error.message


def check_wrong_key(bench: Bench) -> None:
    """29."""
    client = opened(bench, api_key="sk-wrong-key-1234")
    error = failure(
        openai.AuthenticationError, lambda: client.chat.completions.create(model=MODEL, messages=user("hi"))
    )
    assert error.code == "invalid_api_key"
    assert "sk-wrong-key" not in error.message
    assert bench.calls() == []


def check_unsupported_endpoint(bench: Bench) -> None:
    """88: said once; the library does not ask again."""
    client = opened(bench, max_retries=2)
    error = failure(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="hi"))
    assert error.code in {"unsupported_endpoint", "unknown_url"}
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.request.headers["x-stainless-retry-count"] == "0"


def check_models(bench: Bench) -> None:
    """25."""
    models = list(opened(bench).models.list())
    assert MODEL in {model.id for model in models}
    assert all(model.object == "model" and type(model.created) is int and model.owned_by for model in models)


def check_one_model(bench: Bench) -> None:
    """82: by its name in any spelling, and by none."""
    client = opened(bench, max_retries=0)
    for name in (MODEL, f"{MODEL.upper()}:latest"):
        model = client.models.retrieve(name)
        assert (model.id, model.object, type(model.created)) == (MODEL, "model", int)
    for name in ("gpt-9", "vendor/gpt-9"):
        for asked in (lambda: client.models.retrieve(name), lambda: ask(bench, user("hi"), model=name)):  # noqa: B023
            error = failure(openai.NotFoundError, asked)
            assert (error.code, error.param) == ("model_not_found", "model")


# --- Troubles of the upstream ---------------------------------------------------------


def check_upstream_bad_request(bench: Bench) -> None:
    """26."""
    error = failure(openai.BadRequestError, lambda: ask(bench, scene("400-detail")))
    assert "Unsupported parameter: temperature" in error.message
    assert error.body.keys() == {"message", "type", "param", "code"}


def check_usage_limit(bench: Bench) -> None:
    """27: hours to wait, so nobody asks twice."""
    client = opened(bench, max_retries=2)
    error = failure(
        openai.RateLimitError,
        lambda: client.chat.completions.create(model=MODEL, messages=scene("429-usage")),
    )
    assert error.code == "usage_limit_reached"
    assert "resets in" in error.message
    assert error.response.headers["x-should-retry"] == "false"
    assert int(error.response.headers["retry-after"]) > 3600
    assert len(bench.calls()) == 1


def check_usage_limit_streamed(bench: Bench) -> None:
    """27: a status, also for a stream."""
    error = failure(openai.RateLimitError, lambda: streamed(bench, scene("429-usage")))
    assert error.code == "usage_limit_reached"


def check_burst(bench: Bench) -> None:
    """86: the library waits as long as it is told, and then gets its answer."""
    bench.queue("429-burst", "text")
    client = opened(bench, max_retries=2)
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("hi"))
    assert answer.parse().choices[0].message.content == GREETING
    assert answer.retries_taken == 1
    first, second = bench.calls()
    assert second["at"] - first["at"] >= 1.4
    bench.queue("429-burst")
    error = failure(openai.RateLimitError, lambda: ask(bench, user("hi")))
    assert error.code == "rate_limit_exceeded"
    assert int(error.response.headers["retry-after"]) >= 1


def check_overload(bench: Bench) -> None:
    """86: the library tries again, and then says what the upstream said."""
    for name, retries in (("503-overload", 1), ("overload", 0)):
        create = opened(bench, max_retries=retries).chat.completions.create
        messages: list[Any] = scene(name)
        error = failure(openai.InternalServerError, partial(create, model=MODEL, messages=messages))
        assert error.status_code == 503
        assert error.code == "server_is_overloaded"
        assert int(error.response.headers["retry-after"]) >= 1
        assert error.response.request.headers["x-stainless-retry-count"] == str(retries)


def check_upstream_unauthorized(bench: Bench) -> None:
    """28: the client's own key is fine, so it must not be told otherwise."""
    for call in (ask, streamed):
        bench.reset()
        error = failure(openai.InternalServerError, lambda made=call: made(bench, scene("401-always")))
        assert error.status_code == 503
        assert error.code in {"auth_unavailable", "login_required"}
        assert error.response.headers["x-should-retry"] == "false"
        assert len(bench.calls()) == 2
    assert ask(bench, scene("text")).choices[0].message.content == GREETING


def check_upstream_unauthorized_once(bench: Bench) -> None:
    """28: one refresh mends it and nobody notices."""
    assert ask(bench, scene("401")).choices[0].finish_reason == "stop"
    assert len(bench.calls()) == 2


def check_web_pages(bench: Bench) -> None:
    """87: no HTML in a message."""
    for name in ("403-html", "502-html", "504"):
        error = failure(openai.InternalServerError, lambda text=name: ask(bench, scene(text)))
        assert error.status_code in {502, 503, 504}
        assert "<" not in error.message
        assert error.code


def check_failed_first(bench: Bench) -> None:
    """33: a status, not a stream."""
    error = failure(openai.BadRequestError, lambda: streamed(bench, scene("failed-first:context_length_exceeded")))
    assert error.code == "context_length_exceeded"
    error = failure(openai.InternalServerError, lambda: streamed(bench, scene("failed-first")))
    assert error.code == "server_error"
    assert error.status_code == 502


def check_failed_mid(bench: Bench) -> None:
    """30."""
    for name in ("failed-mid", "error-event"):
        error, text = broken(bench, name)
        assert error.code == "server_error"
        assert "An error occurred while processing your request." in error.message
        assert GREETING.startswith(text)
    error, _ = broken(bench, "failed-mid:context_length_exceeded")
    assert error.code == "context_length_exceeded"
    assert error.type == "invalid_request_error"


def check_cut_streams(bench: Bench) -> None:
    """31: an end that is none is an error."""
    for name in ("eof-mid", "abort-mid", "truncated-chunk"):
        error, text = broken(bench, name)
        assert error.code.startswith("upstream"), name
        assert error.type == "server_error"
        assert GREETING.startswith(text)


def broken(bench: Bench, name: str) -> tuple[Any, str]:
    """The error in the middle of a stream, and the text before it; nothing in it looks like an end."""
    seen: list[ChatCompletionChunk] = []

    def read() -> None:
        parameters: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        with opened(bench).chat.completions.create(model=MODEL, messages=scene(name), **parameters) as stream:
            seen.extend(stream)  # what came before the error stays: extend() takes one at a time

    error = failure(openai.APIError, read)
    assert reasons_of(seen) == [], name
    assert all(chunk.usage is None for chunk in seen), name
    return error, text_of(seen)


def check_cut_answers(bench: Bench) -> None:
    """32: no half an answer with a 200."""
    for name in ("eof-mid", "abort-mid", "truncated-chunk", "failed-mid", "error-event"):
        error = failure(openai.InternalServerError, lambda text=name: ask(bench, scene(text)))
        assert error.status_code == 502, name
        assert error.code, name
        assert error.response.headers["content-type"] == "application/json"


def check_request_ids(bench: Bench) -> None:
    """85."""
    answer = opened(bench).chat.completions.with_raw_response.create(model=MODEL, messages=scene("text"))
    assert answer.parse()._request_id == answer.headers["x-request-id"]  # documented, in spite of its name
    for call in (
        lambda: ask(bench, user("hi"), n=2),
        lambda: ask(bench, scene("400-detail")),
        lambda: streamed(bench, scene("403-html")),
        lambda: opened(bench).embeddings.create(model=MODEL, input="x"),
    ):
        error = status_error(call)
        assert error.request_id
        assert error.request_id == error.response.headers["x-request-id"]
    headers = {"x-request-id": "mine-0001"}
    assert ask(bench, scene("text"), extra_headers=headers)._request_id == "mine-0001"
    with opened(bench).chat.completions.create(model=MODEL, messages=scene("text"), stream=True) as stream:
        assert stream.response.headers["x-request-id"]


def check_late_head(bench: Bench) -> None:
    """89: comments in the silence are no chunks."""
    assert text_of(streamed(bench, scene("slow-head:6"))) == GREETING


# --- Images ---------------------------------------------------------------------------


def png(width: int = 8, height: int = 8) -> bytes:
    """A small red image."""
    rows = (b"\0" + b"\xff\0\0" * width) * height

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def made(answer: Any, *, count: int = 1) -> list[bytes]:
    """The images of an answer, seen to be what the library's own types say."""
    parsed = ImagesResponse.model_validate_json(answer.http_response.content, strict=True)
    assert parsed.usage is not None
    assert len(parsed.data or []) == count
    images = [base64.b64decode(image.b64_json or "") for image in parsed.data or []]
    assert all(image.startswith(b"\x89PNG") for image in images)
    return images


def check_transcription(bench: Bench) -> None:
    """280: collected, as text and streamed, with the types of the library."""
    transcriptions = opened(bench).audio.transcriptions
    file = ("a.flac", b"fLaC" + bytes(64))
    heard = transcriptions.create(file=file, model="gpt-4o-transcribe", prompt="Ada")
    assert heard.text.startswith("Hello from the recording.")
    assert str(transcriptions.create(file=file, model="whisper-1", response_format="text")).strip() == heard.text
    events = list(transcriptions.create(file=file, model="gpt-4o-mini-transcribe", stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1].text == heard.text


def check_images_are_generated(bench: Bench) -> None:
    """260, 261."""
    images = opened(bench).images.with_raw_response
    (image,) = made(images.generate(model="gpt-image-1", prompt="a cat", size="1024x1536", quality="high"))
    assert struct.unpack(">II", image[16:24]) == (1024, 1536)
    assert len(set(made(images.generate(prompt="a cat", n=3), count=3))) == 3
    url = opened(bench).images.generate(prompt="a cat", response_format="url").data[0].url
    assert url is not None
    assert url.startswith("data:image/png;base64,")


def check_images_are_edited(bench: Bench) -> None:
    """260."""
    images = opened(bench).images.with_raw_response
    made(images.edit(image=png(), prompt="a hat", model="gpt-image-1"))
    made(images.edit(image=[("a.png", png()), ("b.png", png(16, 4))], prompt="a hat", n=2), count=2)


def check_images_are_streamed(bench: Bench) -> None:
    """260: the events of both routes have names of their own."""
    for edits in (False, True):
        prefix = "image_edit" if edits else "image_generation"
        for partial_images in (0, 2):
            asked: Any = {"prompt": "a cat", "stream": True, "partial_images": partial_images, "model": "gpt-image-1"}
            client = opened(bench).images
            stream = client.edit(image=png(), **asked) if edits else client.generate(**asked)
            *partials, completed = list(stream)
            assert [(one.type, one.partial_image_index) for one in partials] == [
                (f"{prefix}.partial_image", number) for number in range(partial_images)
            ]
            assert completed.type == f"{prefix}.completed"
            assert base64.b64decode(completed.b64_json).startswith(b"\x89PNG")
            assert completed.usage.total_tokens >= 0
            completed.model_validate_json(completed.model_dump_json(), strict=True)


def check_images_are_refused(bench: Bench) -> None:
    """262, 341."""
    client = opened(bench).images
    cut = png()[:-20]
    for call, param in (
        (partial(client.edit, image=cut, prompt="a hat"), "image[0]"),
        (partial(client.edit, image=png(), mask=png(), prompt="a hat"), "mask"),
        (partial(client.generate, prompt="a cat", style="vivid"), "style"),
        (partial(client.generate, prompt="a cat", model="dall-e-3"), "model"),
    ):
        assert failure(openai.BadRequestError, call).param == param
    error = failure(openai.BadRequestError, partial(client.generate, prompt="scene:400-policy"))
    assert error.code == "moderation_blocked"


# --- Many at once ---------------------------------------------------------------------


def check_concurrent_streams(bench: Bench) -> None:
    """112."""
    client = opened(bench)

    def one(number: int) -> tuple[str, str]:
        question = f"number {number} " * 50
        with client.chat.completions.create(model=MODEL, messages=user(question), stream=True) as stream:
            chunks = list(stream)
        ids = {chunk.id for chunk in chunks}
        assert len(ids) == 1
        assert text_of(chunks).endswith(f"You said: {question}")
        return ids.pop(), question

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(one, range(10)))
    assert len({identity for identity, _ in answers}) == 10


async def check_async_client(bench: Bench) -> None:
    """1, 2, 8, 26, 31 and 112 with the async client."""
    async with AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30) as client:
        create = client.chat.completions.create
        completion = await create(model=MODEL, messages=scene("text"))
        assert completion.choices[0].message.content == GREETING
        stream = await create(model=MODEL, messages=scene("text"), stream=True)
        assert text_of([chunk async for chunk in stream]) == GREETING
        async with client.chat.completions.stream(model=MODEL, messages=scene("tools2"), tools=STRICT_TOOLS) as helper:
            final = await helper.get_final_completion()
        assert len(final.choices[0].message.tool_calls or []) == 2
        error = await async_failure(create(model=MODEL, messages=scene("400-detail")))
        assert type(error) is openai.BadRequestError
        broken_stream = await create(model=MODEL, messages=scene("abort-mid"), stream=True)
        error = await async_failure(_read(broken_stream))
        assert (error.code or "").startswith("upstream")
        asked = [create(model=MODEL, messages=user(f"number {number}")) for number in range(10)]
        answers = [answer.choices[0].message.content or "" for answer in await asyncio.gather(*asked)]
        assert all(text.endswith(f"You said: number {number}") for number, text in enumerate(answers))


async def _read(stream: Any) -> None:
    assert reasons_of([chunk async for chunk in stream]) == []


async def async_failure(call: Awaitable[Any]) -> openai.APIError:
    """``failure`` for a coroutine, of any kind."""
    try:
        await call
    except openai.APIError as error:
        return error
    raise AssertionError("no error")


if __name__ == "__main__":
    main(globals())
