"""pydantic-ai at Anthropic's Messages. Numbers are those of next doors, section G."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import anthropic
import pydantic
from checking import GREETING, SEPARATED, Bench, main
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, NativeOutput, UsageLimitExceeded, UsageLimits
from pydantic_ai.messages import ModelResponse, ThinkingPart
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider

MODEL = "claude-opus-4-6"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n1 0 obj << /Type /Page >> endobj\n"
THINKING = AnthropicModelSettings(max_tokens=4096, anthropic_thinking={"type": "enabled", "budget_tokens": 1024})


class Trip(pydantic.BaseModel):
    """Where to go."""

    city: str
    days: int


def agent_of(bench: Bench, name: str = MODEL, **options: Any) -> Agent[None, Any]:
    """An agent whose client gives up at once."""
    client = anthropic.AsyncAnthropic(base_url=bench.root_url, api_key=bench.api_key, max_retries=0, timeout=30)
    return Agent(AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client)), retries=0, **options)


def with_tools(agent: Agent[None, Any]) -> list[str]:
    """Give an agent two tools; the list fills with what they are called with."""
    called: list[str] = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Weather of a city."""
        called.append(f"get_weather {city}")
        return f"rain in {city}"

    @agent.tool_plain
    def get_time(city: str) -> str:
        """Time in a city."""
        called.append(f"get_time {city}")
        return f"noon in {city}"

    return called


async def failure(agent: Agent[None, Any], text: str, *, streamed: bool = False, **more: Any) -> Any:
    """The error that a run raises."""
    try:
        if streamed:
            async with agent.run_stream(text) as result:
                output = await result.get_output()
        else:
            output = (await agent.run(text, **more)).output
    except Exception as error:  # noqa: BLE001 - its class is what the check looks at
        return error
    raise AssertionError(f"no error but {output!r}")


async def check_run_and_stream(bench: Bench) -> None:
    """216, 231, 318."""
    agent = agent_of(bench, instructions="Be kind.")
    result = await agent.run("scene:text")
    assert result.output == GREETING
    answer = result.all_messages()[-1]
    assert isinstance(answer, ModelResponse)
    assert (answer.finish_reason, answer.model_name) == ("stop", MODEL)
    assert (answer.provider_response_id or "").startswith("msg_")
    assert answer.usage.input_tokens > 0
    assert bench.bodies()[-1]["instructions"] == "Be kind."
    for scene, text in (("text", GREETING), ("separators", SEPARATED)):
        async with agent.run_stream(f"scene:{scene}") as streamed:
            deltas = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
        assert "".join(deltas) == text


async def check_tool_loop(bench: Bench) -> None:
    """207, 216, 221: thinking goes up again with the calls that it led to."""
    agent = agent_of(bench, model_settings=THINKING)
    called = with_tools(agent)
    result = await agent.run("What do get_weather and get_time say?")
    assert sorted(called) == ["get_time Paris", "get_weather Paris"]
    assert "rain in Paris" in result.output
    kinds = [item["type"] for item in bench.bodies()[-1]["input"]]
    assert kinds == ["message", "reasoning", *["function_call"] * 2, *["function_call_output"] * 2]
    async with agent.run_stream("What does get_weather say?", message_history=result.all_messages()) as streamed:
        assert "rain in Paris" in await streamed.get_output()
    thoughts = [part for message in result.all_messages() for part in message.parts if isinstance(part, ThinkingPart)]
    assert thoughts
    assert all((part.signature or "").startswith("gms1.") for part in thoughts)


async def check_structured_output(bench: Bench) -> None:
    """206, 216: by a tool and by a schema."""
    for output in (Trip, NativeOutput(Trip)):
        agent = agent_of(bench, output_type=output)
        assert isinstance((await agent.run("Where to?")).output, Trip)
        async with agent.run_stream("Where to?") as result:
            assert isinstance(await result.get_output(), Trip), output
    assert bench.bodies()[0]["tool_choice"] == "required"
    assert bench.bodies()[-1]["text"]["format"]["type"] == "json_schema"


async def check_images_and_documents(bench: Bench) -> None:
    """216, 236."""
    files = [BinaryContent(PIXEL, media_type="image/png"), BinaryContent(PDF, media_type="application/pdf")]
    await agent_of(bench).run(["What is this?", *files])
    parts = bench.bodies()[-1]["input"][0]["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image", "input_file"]
    assert parts[1]["image_url"].startswith("data:image/png;base64,")
    assert parts[2]["file_data"].startswith("data:application/pdf;base64,")


async def check_count_tokens(bench: Bench) -> None:
    """212, 216: the limit is known before a model call."""
    limits = UsageLimits(input_tokens_limit=50, count_tokens_before_request=True)
    error = await failure(agent_of(bench), "word " * 100, usage_limits=limits)
    assert isinstance(error, UsageLimitExceeded), repr(error)
    assert bench.calls() == []


async def check_errors(bench: Bench) -> None:
    """119, 216. It streams where `max_tokens` is large, and calls the `api_error` of a stream a 500."""
    for model, text, status in (
        ("gpt-nowhere", "hi", 404),
        (MODEL, "scene:400-detail", 400),
        (MODEL, "scene:429-burst", 429),
        (MODEL, "scene:eof-mid", 500),
        (MODEL, "scene:failed-mid", 500),
    ):
        error = await failure(agent_of(bench, model), text)
        assert isinstance(error, ModelHTTPError), repr(error)
        assert error.status_code == status, text
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        error = await failure(agent_of(bench), f"scene:{name}", streamed=True)
        shown = repr(error) + repr(getattr(error, "body", "")) + repr(error.__cause__)
        assert "api_error" in shown, f"{name}: {shown}"


async def check_stops(bench: Bench) -> None:
    """216, 227: what a limit is called."""
    result = await agent_of(bench).run("scene:incomplete")
    answer = result.all_messages()[-1]
    assert isinstance(answer, ModelResponse)
    assert answer.finish_reason == "length"


async def check_many_at_once(bench: Bench) -> None:
    """216."""
    agent = agent_of(bench)
    results = await asyncio.gather(*(agent.run(f"number {number}") for number in range(6)))
    assert [result.output for result in results] == [f"You said: number {number}" for number in range(6)]


if __name__ == "__main__":
    main(globals())
