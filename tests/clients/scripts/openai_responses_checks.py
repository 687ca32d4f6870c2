"""
The official openai library at the Responses API, all generations alike. Numbers are those of the conformance checks
(client contracts, section 8).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, WEATHER, Bench, main, texts_of
from openai import OpenAI
from openai.types.responses import Response

TOOLS: list[Any] = [
    {"type": "function", "name": name, "description": "d", "parameters": WEATHER, "strict": False}
    for name in ("get_weather", "get_time")
]
STRICT_TOOLS: list[Any] = [{**tool, "strict": True} for tool in TOOLS]


class City(pydantic.BaseModel):
    """What ``parse`` is asked for."""

    city: str
    temperature: float
    tags: list[str]


def opened(bench: Bench, **options: Any) -> OpenAI:
    """A client that gives up at once, unless told otherwise."""
    return OpenAI(base_url=bench.base_url, **{"api_key": bench.api_key, "max_retries": 0, "timeout": 30, **options})


def ask(bench: Bench, given: Any, **parameters: Any) -> Response:
    """One collected answer, seen to be what the library's own types say: it does not look itself."""
    answer = opened(bench).responses.with_raw_response.create(**{"model": MODEL, "input": given, **parameters})
    Response.model_validate_json(answer.http_response.content, strict=True)
    return answer.parse()


def streamed(bench: Bench, given: Any, **parameters: Any) -> list[Any]:
    """All events of one streamed answer."""
    with opened(bench).responses.create(**{"model": MODEL, "input": given, "stream": True, **parameters}) as stream:
        return list(stream)


def text_of(events: Iterable[Any]) -> str:
    """The joined deltas."""
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def final(events: list[Any]) -> Response:
    """The response that the last event carries."""
    response = events[-1].response
    assert isinstance(response, Response)
    return response


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


# --- Text -----------------------------------------------------------------------------


def check_create(bench: Bench) -> None:
    """15, 16: a string in; strict types out, though the upstream's last event is empty."""
    response = ask(bench, "scene:text")
    assert response.output_text == GREETING
    assert response.status == "completed"
    assert response.id.startswith("resp_")
    assert response.model == MODEL
    (message,) = response.output
    assert message.type == "message"
    assert isinstance(message.id, str)
    assert message.id
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    (item,) = bench.bodies()[-1]["input"]
    assert (item["type"], item["role"]) == ("message", "user")
    assert item["content"] == [{"type": "input_text", "text": "scene:text"}]


def check_stream_helper(bench: Bench) -> None:
    """17, 65: whatever the vendor sends first, the helper meets ``response.created``."""
    for name in ("text", "vendor-first"):
        with opened(bench).responses.stream(model=MODEL, input=f"scene:{name}") as stream:
            types = [event.type for event in stream]
            response = stream.get_final_response()
        assert response.output_text == GREETING, name
        assert types[0] == "response.created", name
        assert types[-1] == "response.completed", name


def check_stream(bench: Bench) -> None:
    """18, 67, 68: numbers without gaps, parts before their texts."""
    events = streamed(bench, "scene:tools2", tools=TOOLS) + streamed(bench, "scene:text")
    numbers = [event.sequence_number for event in events]
    second = numbers.index(0, 1)
    assert numbers == [*range(second), *range(len(numbers) - second)]
    for response in (event.response for event in events if event.type == "response.created"):
        assert response.output == []
        assert response.model == MODEL
        assert response.status == "in_progress"
    opened_items = [event.output_index for event in events[:second] if event.type == "response.output_item.added"]
    assert opened_items == [0, 1, 2]
    types = [event.type for event in events[second:]]
    assert types.index("response.content_part.added") < types.index("response.output_text.delta")
    assert final(events).output_text == text_of(events[second:]) == GREETING


def check_separators(bench: Bench) -> None:
    """37."""
    assert ask(bench, "scene:separators").output_text == SEPARATED
    assert text_of(streamed(bench, "scene:separators")) == SEPARATED


def check_upstream_varieties(bench: Bench) -> None:
    """38, 39, 66, 68: whatever form the upstream gives an answer, events and final response agree."""
    names = "text done-only noids vendor-first filled two-messages text+tool tools2 oneshot-arguments crlf bom garbage"
    for name in [*names.split(), "queued"]:
        given = f"scene:{name}"
        collected = ask(bench, given, tools=TOOLS)
        with opened(bench).responses.stream(model=MODEL, input=given, tools=STRICT_TOOLS) as stream:
            events = list(stream)
            response = stream.get_final_response()
        assert text_of(events) == response.output_text == collected.output_text, name
        done = [event.item for event in events if event.type == "response.output_item.done"]
        assert [item.type for item in done] == [item.type for item in response.output], name
        assert [item.id for item in done] == [item.id for item in response.output], name
        assert all(isinstance(item.id, str) and item.id for item in response.output), name
        ids = {event.item_id for event in events if getattr(event, "item_id", None) is not None}
        assert ids <= {item.id for item in response.output}, name
        calls = [call.arguments for call in response.output if call.type == "function_call"]
        assert all(json.loads(arguments) == {"city": "Paris"} for arguments in calls), name


def check_unknown_things(bench: Bench) -> None:
    """38, 39: items and events that nobody knows yet pass, and harm neither the library nor the text."""
    collected = opened(bench).responses.create(model=MODEL, input="scene:unknown")
    events = streamed(bench, "scene:unknown")
    assert collected.output_text == text_of(events) == final(events).output_text
    kinds = [item.type for item in collected.output]
    assert kinds == [item.type for item in final(events).output]
    assert "hologram" in kinds


def check_incomplete(bench: Bench) -> None:
    """40."""
    response = ask(bench, "scene:incomplete")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert streamed(bench, "scene:incomplete")[-1].type == "response.incomplete"


def check_reasoning(bench: Bench) -> None:
    """72: encrypted reasoning is asked for, and comes back even to those who did not ask; no tags in any text."""
    events = streamed(bench, "scene:reasoning", reasoning={"effort": "high", "summary": "auto"})
    response = final(events)
    thought, message = response.output
    assert thought.type == "reasoning"
    assert thought.encrypted_content
    assert [part.type for part in thought.summary] == ["summary_text"] * 2
    assert message.type == "message"
    assert response.output_text == GREETING
    body = bench.bodies()[-1]
    assert "reasoning.encrypted_content" in body["include"]
    assert body["reasoning"]["effort"] == "high"
    summaries = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert "".join(summaries) == "".join(part.text for part in thought.summary)


def check_refusal_and_search(bench: Bench) -> None:
    """55, 59: a refusal is a part of its own; citations are flat."""
    (message,) = ask(bench, "scene:refusal").output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "refusal"
    found = ask(bench, "scene:search", tools=[{"type": "web_search"}])
    (note,) = found.output[-1].content[0].annotations  # type: ignore[union-attr]
    assert note.type == "url_citation"
    assert note.url == "https://example.test/source"
    assert found.output_text[note.start_index : note.end_index] == "Example"


# --- Tools ----------------------------------------------------------------------------


def check_tool_call(bench: Bench) -> None:
    """69, 67: finished arguments carry the name."""
    events = streamed(bench, "scene:tool", tools=TOOLS)
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert done.name == "get_weather"
    assert json.loads(done.arguments) == {"city": "Paris"}
    (call,) = [item for item in final(events).output if item.type == "function_call"]
    assert call.call_id.startswith("call_")


def check_tool_loop(bench: Bench) -> None:
    """70, 71: outputs go back as input, with all that came with them."""
    given: list[Any] = [{"role": "user", "content": "What does get_weather say?"}]
    first = ask(bench, given, tools=TOOLS, reasoning={"summary": "auto"})
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    call = first.output[-1]
    assert call.type == "function_call"
    given += [item.to_dict() for item in first.output]
    given.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain, 9 degrees"})
    assert "rain, 9 degrees" in ask(bench, given, tools=TOOLS).output_text
    items = bench.bodies()[-1]["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[1]["encrypted_content"]
    assert items[2]["call_id"] == items[3]["call_id"]


def check_custom_tool(bench: Bench) -> None:
    """105: passes as it is, both ways."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    tools: list[Any] = [{"type": "custom", "name": "apply_patch", "format": grammar}]
    response = ask(bench, "scene:custom", tools=tools)
    call = response.output[-1]
    assert call.type == "custom_tool_call"
    assert call.name == "apply_patch"
    assert call.input.startswith("*** Begin Patch")
    assert bench.bodies()[-1]["tools"][0]["format"] == grammar
    deltas = [event.delta for event in streamed(bench, "scene:custom", tools=tools) if "input.delta" in event.type]
    assert "".join(deltas) == call.input


def check_long_tool_names(bench: Bench) -> None:
    """103: shortened on the way up, restored on the way down."""
    name = "mcp.server/tools." + "very_long_name." * 5
    events = streamed(bench, "scene:tool", tools=[{**TOOLS[0], "name": name}])
    added = next(
        event.item
        for event in events
        if event.type == "response.output_item.added" and event.item.type == "function_call"
    )
    assert added.name == name
    assert [item.name for item in final(events).output if item.type == "function_call"] == [name]
    assert len(bench.bodies()[-1]["tools"][0]["name"]) <= 64


# --- Structured answers ---------------------------------------------------------------


def check_parse(bench: Bench) -> None:
    """41: ``text.format``, collected and with the helper."""
    response = opened(bench).responses.parse(model=MODEL, input="A city", text_format=City)
    assert isinstance(response.output_parsed, City)
    shape = bench.bodies()[-1]["text"]["format"]
    assert (shape["type"], shape["name"], shape["strict"]) == ("json_schema", "City", True)
    with opened(bench).responses.stream(model=MODEL, input="A city", text_format=City) as stream:
        assert isinstance(stream.get_final_response().output_parsed, City)


def check_json_object(bench: Bench) -> None:
    """42: the word is added to the input where it is missing."""
    text: Any = {"format": {"type": "json_object"}}
    assert isinstance(json.loads(ask(bench, "Tell me something", text=text).output_text), dict)
    assert "json" in json.dumps(bench.bodies()[-1]["input"]).lower()


# --- What goes upstream, and what is said of it -------------------------------------------


def check_easy_messages(bench: Bench) -> None:
    """70: mixed roles, strings and parts."""
    given: list[Any] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes?"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "second"}]},
    ]
    ask(bench, given)
    assert [(item["type"], item["role"], item["content"]) for item in bench.bodies()[-1]["input"]] == [
        ("message", "developer", [{"type": "input_text", "text": "Be kind."}]),
        ("message", "user", [{"type": "input_text", "text": "first"}]),
        ("message", "assistant", [{"type": "output_text", "text": "yes?"}]),
        ("message", "developer", [{"type": "input_text", "text": "Be brief."}]),
        ("message", "user", [{"type": "input_text", "text": "second"}]),
    ]


def check_reasoning_items(bench: Bench) -> None:
    """71: without its content the upstream does not know it."""
    thought = ask(bench, "scene:reasoning", reasoning={"summary": "auto"}).output[0].to_dict()
    bare = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None, "status": None}
    ask(
        bench, [{"role": "user", "content": "hi"}, bare, {**thought, "status": None}, {"role": "user", "content": "ho"}]
    )
    items = bench.bodies()[-1]["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "message"]
    assert items[1]["encrypted_content"] == thought["encrypted_content"]
    assert "status" not in items[1]


def check_echo(bench: Bench) -> None:
    """73, 74: the client's own words, not those that went upstream."""
    plain = ask(bench, "hi")
    assert plain.instructions is None
    assert plain.tools == []
    response = ask(
        bench,
        "hi",
        instructions="Be kind.",
        tools=TOOLS,
        metadata={"a": "b"},
        temperature=0.2,
        max_output_tokens=500,
        truncation="auto",
        extra_body={"unknown_field": 1},
    )
    assert response.instructions == "Be kind."
    assert [tool.name for tool in response.tools] == ["get_weather", "get_time"]  # type: ignore[union-attr]
    assert response.metadata == {"a": "b"}
    assert response.temperature == 0.2
    assert response.max_output_tokens == 500
    assert response.truncation == "disabled"
    (_, body) = bench.bodies()
    assert not {"temperature", "max_output_tokens", "truncation", "metadata", "unknown_field"} & set(body)
    assert body["store"] is False


def check_refused_parameters(bench: Bench) -> None:
    """74: what would be a wrong answer, or none for ever."""
    for given in ({"background": True}, {"conversation": "conv_1"}, {"prompt": {"id": "pmpt_1"}}):
        error = failure(openai.BadRequestError, lambda more=given: ask(bench, "hi", extra_body=more))
        assert error.param == next(iter(given))
    assert bench.calls() == []


def check_service_tier_and_effort(bench: Bench) -> None:
    """106, 107."""
    ask(bench, "hi", model=f"{MODEL}-high")
    assert bench.bodies()[-1]["reasoning"]["effort"] == "high"
    assert bench.bodies()[-1]["model"] == MODEL
    ask(bench, "hi", service_tier="priority")
    assert bench.bodies()[-1]["service_tier"] == "priority"
    ask(bench, "hi", service_tier="flex")
    assert "service_tier" not in bench.bodies()[-1]


# --- Troubles -------------------------------------------------------------------------


def check_errors(bench: Bench) -> None:
    """26, 27, 33, 82, 84: statuses, also for streams."""
    error = failure(openai.NotFoundError, lambda: ask(bench, "hi", model=UNKNOWN_MODEL))
    assert error.code == "model_not_found"
    error = failure(openai.BadRequestError, lambda: ask(bench, "scene:400-detail"))
    assert "Unsupported parameter" in error.message
    error = failure(openai.BadRequestError, lambda: ask(bench, 7))
    assert error.param == "input"
    long = "scene:failed-first:context_length_exceeded"
    assert failure(openai.BadRequestError, lambda: streamed(bench, long)).code == "context_length_exceeded"
    # The last, since it parks the account.
    before = len(bench.calls())
    client = opened(bench, max_retries=2)
    error = failure(openai.RateLimitError, lambda: client.responses.create(model=MODEL, input="scene:429-usage"))
    assert error.code == "usage_limit_reached"
    assert len(bench.calls()) == before + 1


def check_broken_streams(bench: Bench) -> None:
    """35: the library hears nested errors only, and takes a silent end for success."""
    expected = {"failed-mid": "server_error", "eof-mid": "upstream", "abort-mid": "upstream"}
    for name, code in expected.items():
        error = failure(openai.APIError, lambda text=name: streamed(bench, f"scene:{text}"))
        assert (error.code or "").startswith(code), name
        error = failure(openai.APIError, lambda text=name: helped(bench, f"scene:{text}"))
        assert (error.code or "").startswith(code), name
        error = failure(openai.InternalServerError, lambda text=name: ask(bench, f"scene:{text}"))
        assert error.status_code == 502, name


def helped(bench: Bench, given: str) -> Response:
    """The final response, by the helper."""
    with opened(bench).responses.stream(model=MODEL, input=given) as stream:
        return stream.get_final_response()


# --- Stored responses -----------------------------------------------------------------------


def check_unknown_previous_response(bench: Bench) -> None:
    """75: never silently forgotten."""
    error = failure(openai.BadRequestError, lambda: ask(bench, "hi", previous_response_id="resp_" + "0" * 48))
    assert error.param == "previous_response_id"
    assert error.code == "previous_response_not_found"
    assert bench.calls() == []


def check_previous_response(bench: Bench) -> None:
    """76, 78: the upstream sees the whole conversation; instructions are not inherited."""
    first = ask(bench, "What does get_weather say?", tools=TOOLS, instructions="Be kind.")
    call = first.output[-1]
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 9 degrees"}
    second = final(streamed(bench, [output], previous_response_id=first.id, tools=TOOLS))
    assert "rain, 9 degrees" in second.output_text
    assert second.previous_response_id == first.id
    body = bench.bodies()[-1]
    kinds = [item["type"] for item in body["input"] if item["type"] != "reasoning"]
    assert kinds == ["message", "function_call", "function_call_output"]
    assert body.get("instructions") != "Be kind."
    third = ask(bench, "and now?", previous_response_id=second.id)
    assert third.output_text == "You said: and now?"
    kinds = [item["type"] for item in bench.bodies()[-1]["input"] if item["type"] != "reasoning"]
    assert kinds == ["message", "function_call", "function_call_output", "message", "message"]


def check_stored_responses(bench: Bench) -> None:
    """80: get, list, delete; a child outlives its parent."""
    client = opened(bench).responses
    kept = ask(bench, "scene:text")
    assert kept.store is True
    assert client.retrieve(kept.id).to_dict() == kept.to_dict()
    (item,) = client.input_items.list(kept.id).data
    assert item.type == "message"
    child = ask(bench, "hello", previous_response_id=kept.id)
    client.delete(kept.id)
    failure(openai.NotFoundError, lambda: client.retrieve(kept.id))
    assert ask(bench, "again", previous_response_id=child.id).output_text == "You said: again"
    texts = texts_of(bench.bodies()[-1])
    assert texts == ["scene:text", GREETING, "hello", child.output_text, "again"]
    forgotten = ask(bench, "hi", store=False)
    assert forgotten.store is False
    failure(openai.NotFoundError, lambda: client.retrieve(forgotten.id))


def check_item_reference(bench: Bench) -> None:
    """81: what the AI SDK sends instead of an item."""
    kept = ask(bench, "scene:text")
    reference: Any = {"type": "item_reference", "id": kept.output[0].id}
    ask(bench, [{"role": "user", "content": "hi"}, reference, {"role": "user", "content": "again"}])
    texts = texts_of(bench.bodies()[-1])
    assert texts == ["hi", GREETING, "again"]
    unknown: Any = {"type": "item_reference", "id": "msg_" + "0" * 48}
    error = failure(openai.BadRequestError, lambda: ask(bench, [{"role": "user", "content": "hi"}, unknown]))
    assert error.param.startswith("input[1]")


def check_request_ids(bench: Bench) -> None:
    """85."""
    assert ask(bench, "scene:text")._request_id  # documented, in spite of its name
    error = failure(openai.BadRequestError, lambda: ask(bench, "scene:400-detail"))
    assert error.request_id == error.response.headers["x-request-id"]


async def check_async_client(bench: Bench) -> None:
    """15, 17, 35 with the async client."""
    async with openai.AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30) as client:
        assert (await client.responses.create(model=MODEL, input="scene:text")).output_text == GREETING
        async with client.responses.stream(model=MODEL, input="scene:text") as stream:
            assert (await stream.get_final_response()).output_text == GREETING
        broken = await client.responses.create(model=MODEL, input="scene:eof-mid", stream=True)
        try:
            _ = [event async for event in broken]
        except openai.APIError as error:
            code = error.code or ""
        else:
            code = "no error"
        assert code.startswith("upstream"), code
        await broken.close()


def check_input_tokens(bench: Bench) -> None:
    """361: a count, also of what follows a stored response. The oldest library has no method for it."""
    client = opened(bench)
    if not hasattr(client.responses, "input_tokens"):
        return
    alone = client.responses.input_tokens.count(model=MODEL, input="word " * 100)
    assert alone.object == "response.input_tokens"
    assert 100 < alone.input_tokens < 150
    assert bench.calls() == []
    first = client.responses.create(model=MODEL, input="word " * 200)
    both = client.responses.input_tokens.count(model=MODEL, input="word " * 100, previous_response_id=first.id)
    assert both.input_tokens > alone.input_tokens + 200


if __name__ == "__main__":
    main(globals())
