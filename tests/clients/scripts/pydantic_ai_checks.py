"""
pydantic-ai: it validates every answer, so a float for ``created`` or a null in ``usage`` fails it. Check 64 of the
client contracts, section 8, in its parts; other numbers where one says more.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput, capture_run_messages
from pydantic_ai.messages import BinaryContent, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63fccfc0500f000485018084a98c210000000049454e44ae426082"
)


class Answer(pydantic.BaseModel):
    """What the simulator says where it is asked for JSON without a schema."""

    answer: str


class Trip(pydantic.BaseModel):
    """Where to go."""

    city: str
    days: int
    sights: list[str]


def model_of(bench: Bench, name: str = MODEL) -> OpenAIChatModel:
    """The chat model; its client gives up at once."""
    client = openai.AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


def agent_of(bench: Bench, **options: Any) -> Agent[None, Any]:
    """An agent with one tool of each kind: plain, and async."""
    return Agent(model_of(bench), retries=0, **options)


def with_tools(agent: Agent[None, Any]) -> list[str]:
    """Give an agent two tools; the list fills with what they are called with."""
    called: list[str] = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Weather of a city."""
        called.append(f"get_weather {city}")
        return f"rain in {city}"

    @agent.tool_plain
    async def get_time(city: str) -> str:
        """Time in a city."""
        called.append(f"get_time {city}")
        return f"noon in {city}"

    return called


def parts_of(messages: Any, kind: type[Any]) -> list[Any]:
    """The parts of a kind in all answers."""
    answers = [message for message in messages if isinstance(message, ModelResponse)]
    return [part for part in itertools.chain.from_iterable(one.parts for one in answers) if isinstance(part, kind)]


async def check_run(bench: Bench) -> None:
    """64, 14."""
    result = await agent_of(bench, instructions="Be kind.").run("scene:text")
    assert result.output == GREETING
    usage = result.usage
    # A method until recently, a property now.
    usage = usage() if callable(usage) else usage
    assert usage.requests == 1
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert bench.bodies()[-1]["instructions"] == "Be kind."
    answer = result.all_messages()[-1]
    assert isinstance(answer, ModelResponse)
    assert answer.model_name == MODEL
    assert (answer.provider_response_id or "").startswith("chatcmpl-")
    assert answer.finish_reason == "stop"


def check_run_sync(bench: Bench) -> None:
    """64."""
    assert agent_of(bench).run_sync("scene:separators").output == SEPARATED


async def check_run_stream(bench: Bench) -> None:
    """64, 2, 12."""
    async with agent_of(bench).run_stream("scene:text") as result:
        deltas = [delta async for delta in result.stream_text(delta=True, debounce_by=None)]
        usage = result.usage
        usage = usage() if callable(usage) else usage
    assert len(deltas) > 3
    assert "".join(deltas) == GREETING
    again = (await agent_of(bench).run("scene:text")).usage
    again = again() if callable(again) else again
    assert (usage.input_tokens, usage.output_tokens) == (again.input_tokens, again.output_tokens)


async def check_thinking(bench: Bench) -> None:
    """57: think tags become thinking parts."""
    result = await agent_of(bench).run("scene:reasoning")
    assert result.output.strip() == GREETING
    (thought,) = parts_of(result.all_messages(), ThinkingPart)
    assert "I look at what was asked." in thought.content
    async with agent_of(bench).run_stream("scene:reasoning") as streamed:
        assert (await streamed.get_output()).strip() == GREETING
    (thought,) = parts_of(streamed.all_messages(), ThinkingPart)
    assert "I look at what was asked." in thought.content


async def check_tool(bench: Bench) -> None:
    """64, 8."""
    agent = agent_of(bench)
    called = with_tools(agent)
    result = await agent.run("What does get_weather say?")
    assert called == ["get_weather Paris"]
    assert "rain in Paris" in result.output
    call, output = bench.bodies()[-1]["input"][-2:]
    assert call["type"] == "function_call"
    assert output["type"] == "function_call_output"
    assert call["call_id"] == output["call_id"]


async def check_tool_streamed(bench: Bench) -> None:
    """64, 6: two calls at once."""
    agent = agent_of(bench)
    called = with_tools(agent)
    async with agent.run_stream("What do get_weather and get_time say?") as result:
        output = await result.get_output()
    assert sorted(called) == ["get_time Paris", "get_weather Paris"]
    assert "rain in Paris" in output
    assert "noon in Paris" in output
    calls = parts_of(result.all_messages(), ToolCallPart)
    assert [call.tool_name for call in calls] == ["get_weather", "get_time"]
    assert len({call.tool_call_id for call in calls}) == 2


async def check_conversation(bench: Bench) -> None:
    """9: what it says of itself comes back as history."""
    agent = agent_of(bench)
    with_tools(agent)
    first = await agent.run("What does get_weather say?")
    second = await agent.run("scene:text", message_history=first.all_messages())
    assert second.output == GREETING
    items = bench.bodies()[-1]["input"]
    kinds = [item["type"] for item in items]
    assert kinds.index("function_call") + 1 == kinds.index("function_call_output")
    assert "<think>" not in str(items)


async def check_structured_output(bench: Bench) -> None:
    """64, 41: by a tool, by a schema, by a prompt."""
    for output in (Trip, ToolOutput(Trip), NativeOutput(Trip), PromptedOutput(Answer)):
        result = await agent_of(bench, output_type=output).run("Where to?")
        assert isinstance(result.output, Trip | Answer), output
    by_tool, _, by_schema, by_prompt = bench.bodies()
    assert by_tool["tool_choice"] == "required"
    assert by_schema["text"]["format"]["type"] == "json_schema"
    assert by_prompt["text"]["format"] == {"type": "json_object"}


async def check_structured_output_streamed(bench: Bench) -> None:
    """64, 41."""
    for output in (Trip, NativeOutput(Trip)):
        async with agent_of(bench, output_type=output).run_stream("Where to?") as result:
            assert isinstance(await result.get_output(), Trip), output


async def check_structured_output_after_tool(bench: Bench) -> None:
    """64: a tool first, then the schema."""
    agent = agent_of(bench, output_type=NativeOutput(Trip))
    called = with_tools(agent)
    result = await agent.run("Ask get_weather, then tell me where to go")
    assert called == ["get_weather Paris"]
    assert isinstance(result.output, Trip)


async def check_annotations(bench: Bench) -> None:
    """59: the nested form is the one that it accepts."""
    result = await agent_of(bench).run("scene:search")
    assert "Example" in result.output
    async with agent_of(bench).run_stream("scene:search") as streamed:
        assert await streamed.get_output() == result.output


async def check_image(bench: Bench) -> None:
    """51."""
    await agent_of(bench).run(["What is this?", BinaryContent(PIXEL, media_type="image/png")])
    part = bench.bodies()[-1]["input"][0]["content"][-1]
    assert part["type"] == "input_image"
    assert part["image_url"].startswith("data:image/png;base64,")


async def check_settings_stay_here(bench: Bench) -> None:
    """4."""
    settings: Any = {"temperature": 0.1, "max_tokens": 10, "seed": 3, "top_p": 0.5}
    assert (await agent_of(bench, model_settings=settings).run("scene:text")).output == GREETING
    (body,) = bench.bodies()
    assert not {"temperature", "max_tokens", "max_completion_tokens", "seed", "top_p"} & set(body)


async def failure(agent: Agent[None, Any], text: str) -> Any:
    """The error that a run raises."""
    try:
        result = await agent.run(text)
    except Exception as error:  # noqa: BLE001 - its class is what the check looks at
        return error
    raise AssertionError(f"no error but {result!r:.200}")


async def check_errors(bench: Bench) -> None:
    """27, 28, 32, 82."""
    expected = {
        "401-always": (503, None),
        "eof-mid": (502, None),
        "failed-mid": (502, "server_error"),
        "400-detail": (400, None),
        # The last, since it parks the account.
        "429-usage": (429, "usage_limit_reached"),
    }
    error = await failure(Agent(model_of(bench, UNKNOWN_MODEL), retries=0), "hi")
    assert error.status_code == 404
    assert error.body["code"] == "model_not_found"
    for name, (status, code) in expected.items():
        error = await failure(agent_of(bench), f"scene:{name}")
        assert isinstance(error, ModelHTTPError), repr(error)
        assert error.status_code == status, name
        assert isinstance(error.body, dict)
        assert code in {None, error.body["code"]}, name


async def check_broken_streams(bench: Bench) -> None:
    """30, 31: it takes a silent end for success, so there is none."""
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        error = await stream_failure(agent_of(bench), f"scene:{name}")
        shown = repr(getattr(error, "body", error)) + repr(error.__cause__)
        assert "server_error" in shown or "upstream" in shown, name


async def stream_failure(agent: Agent[None, Any], text: str) -> Any:
    """The error in the middle of a stream."""
    try:
        async with agent.run_stream(text) as result:
            output = await result.get_output()
    except Exception as error:  # noqa: BLE001 - as above
        return error
    raise AssertionError(f"no error but {output!r}")


async def check_refusal_and_stops(bench: Bench) -> None:
    """40, 55, 110: its own view of an answer that stopped."""
    for name, reason in (("incomplete", "length"), ("filter", "content_filter")):
        with capture_run_messages() as messages:
            await asyncio.gather(agent_of(bench).run(f"scene:{name}"), return_exceptions=True)
        (answer,) = (message for message in messages if isinstance(message, ModelResponse))
        assert answer.finish_reason == reason
        assert parts_of(messages, TextPart)


async def check_many_at_once(bench: Bench) -> None:
    """112."""
    agent = agent_of(bench)
    results = await asyncio.gather(*(agent.run(f"number {number}") for number in range(10)))
    assert [result.output for result in results] == [f"You said: number {number}" for number in range(10)]


if __name__ == "__main__":
    main(globals())
