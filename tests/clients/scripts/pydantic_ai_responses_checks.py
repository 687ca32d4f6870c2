"""
pydantic-ai at the Responses API. Numbers are those of the conformance checks (client contracts, section 8).
"""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pydantic
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main, texts_of
from pydantic_ai import Agent, ModelHTTPError, NativeOutput
from pydantic_ai.messages import ModelResponse, ThinkingPart
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider


class Trip(pydantic.BaseModel):
    """Where to go."""

    city: str
    days: int


def agent_of(bench: Bench, name: str = MODEL, **options: Any) -> Agent[None, Any]:
    """An agent whose client gives up at once."""
    client = openai.AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30)
    model = OpenAIResponsesModel(name, provider=OpenAIProvider(openai_client=client))
    return Agent(model, retries=0, **options)


def with_tool(agent: Agent[None, Any]) -> list[str]:
    """Give an agent a tool; the list fills with what it is called with."""
    called: list[str] = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Weather of a city."""
        called.append(city)
        return f"rain in {city}"

    return called


async def check_run_and_stream(bench: Bench) -> None:
    """15, 17, 37."""
    agent = agent_of(bench, instructions="Be kind.")
    result = await agent.run("scene:text")
    assert result.output == GREETING
    answer = result.all_messages()[-1]
    assert isinstance(answer, ModelResponse)
    assert answer.finish_reason == "stop"
    assert (answer.provider_response_id or "").startswith("resp_")
    assert bench.bodies()[-1]["instructions"] == "Be kind."
    for scene, text in (("text", GREETING), ("separators", SEPARATED)):
        async with agent.run_stream(f"scene:{scene}") as streamed:
            deltas = [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)]
        assert "".join(deltas) == text


async def check_tool_loop(bench: Bench) -> None:
    """70, 71: reasoning goes up again with the call that it led to."""
    settings = OpenAIResponsesModelSettings(openai_reasoning_summary="auto")
    agent = agent_of(bench, model_settings=settings)
    called = with_tool(agent)
    result = await agent.run("What does get_weather say?")
    assert called == ["Paris"]
    assert "rain in Paris" in result.output
    items = bench.bodies()[-1]["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[1]["encrypted_content"]
    async with agent.run_stream("What does get_weather say?", message_history=result.all_messages()) as streamed:
        assert "rain in Paris" in await streamed.get_output()
    thoughts = [part for message in result.all_messages() for part in message.parts if isinstance(part, ThinkingPart)]
    assert thoughts


async def check_structured_output(bench: Bench) -> None:
    """41."""
    for output in (Trip, NativeOutput(Trip)):
        assert isinstance((await agent_of(bench, output_type=output).run("Where to?")).output, Trip)
    assert bench.bodies()[-1]["text"]["format"]["type"] == "json_schema"


async def check_previous_response(bench: Bench) -> None:
    """76: its own way to go on."""
    agent = agent_of(bench)
    first = await agent.run("hello")
    settings = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    await agent.run("and now?", message_history=first.all_messages(), model_settings=settings)
    assert texts_of(bench.bodies()[-1]) == ["hello", "You said: hello", "and now?"]


async def failure(agent: Agent[None, Any], text: str, *, streamed: bool = False) -> Any:
    """The error that a run raises."""
    try:
        if streamed:
            async with agent.run_stream(text) as result:
                output = await result.get_output()
        else:
            output = (await agent.run(text)).output
    except Exception as error:  # noqa: BLE001 - its class is what the check looks at
        return error
    raise AssertionError(f"no error but {output!r}")


async def check_errors(bench: Bench) -> None:
    """26, 35, 82: it takes a silent end for success, so there is none."""
    error = await failure(agent_of(bench, UNKNOWN_MODEL), "hi")
    assert isinstance(error, ModelHTTPError), repr(error)
    assert error.status_code == 404
    error = await failure(agent_of(bench), "scene:400-detail")
    assert isinstance(error, ModelHTTPError), repr(error)
    assert error.status_code == 400
    for name in ("failed-mid", "eof-mid", "abort-mid"):
        error = await failure(agent_of(bench), f"scene:{name}")
        assert isinstance(error, ModelHTTPError), f"{name}: {error!r}"
        assert error.status_code == 502, name
        error = await failure(agent_of(bench), f"scene:{name}", streamed=True)
        shown = repr(error) + repr(getattr(error, "body", "")) + repr(error.__cause__)
        assert "server_error" in shown or "upstream" in shown, f"{name}: {shown}"


async def check_many_at_once(bench: Bench) -> None:
    """112."""
    agent = agent_of(bench)
    results = await asyncio.gather(*(agent.run(f"number {number}") for number in range(6)))
    assert [result.output for result in results] == [f"You said: number {number}" for number in range(6)]


if __name__ == "__main__":
    main(globals())
