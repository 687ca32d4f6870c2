"""
openai-agents: an agent with tools, by chat and by responses. Its traces would go to OpenAI, so there are none. Numbers
are those of the conformance checks (client contracts, section 8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pydantic
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checking import GREETING, MODEL, SEPARATED, UNKNOWN_MODEL, Bench, main

set_tracing_disabled(disabled=True)


class Trip(pydantic.BaseModel):
    """Where to go."""

    city: str
    days: int


def model_of(kind: Callable[..., Model], bench: Bench, name: str = MODEL) -> Model:
    """A model whose client gives up at once."""
    client = openai.AsyncOpenAI(base_url=bench.base_url, api_key=bench.api_key, max_retries=0, timeout=30)
    return kind(model=name, openai_client=client)


def agent_of(model: Model, **more: Any) -> tuple[Agent[None], list[str]]:
    """An agent with a tool, and what the tool was called with."""
    called: list[str] = []

    @function_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        called.append(city)
        return f"rain in {city}"

    return Agent(name="helper", instructions="Be kind.", model=model, tools=[get_weather], **more), called


async def tool_loop(kind: Callable[..., Model], bench: Bench) -> None:
    """Two turns with a tool between them, collected and streamed, and a third that knows the others."""
    agent, called = agent_of(model_of(kind, bench))
    result = await Runner.run(agent, "What does get_weather say?")
    assert "rain in Paris" in result.final_output
    assert result.context_wrapper.usage.total_tokens > 0
    streamed = Runner.run_streamed(agent, "What does get_weather say?")
    events = [event async for event in streamed.stream_events()]
    assert "rain in Paris" in str(streamed.final_output)
    assert [event for event in events if event.type == "raw_response_event"]
    assert called == ["Paris", "Paris"]
    body = bench.bodies()[-1]
    assert body["instructions"] == "Be kind."
    call, output = (item for item in body["input"] if item["type"].startswith("function_call"))
    assert call["call_id"] == output["call_id"]
    again = await Runner.run(agent, [*result.to_input_list(), {"role": "user", "content": "scene:text"}])
    assert again.final_output == GREETING
    kinds = [item["type"] for item in bench.bodies()[-1]["input"]]
    assert kinds.index("function_call") + 1 == kinds.index("function_call_output")
    assert (await Runner.run(agent, "scene:separators")).final_output == SEPARATED


async def structured_output(kind: Callable[..., Model], bench: Bench) -> None:
    """An output type, after a tool that had to be called."""
    settings = ModelSettings(tool_choice="required")
    agent, called = agent_of(model_of(kind, bench), output_type=Trip, model_settings=settings)
    result = await Runner.run(agent, "Where to?")
    assert isinstance(result.final_output, Trip)
    assert called == ["Paris"]
    first = bench.bodies()[0]
    assert first["tool_choice"] == "required"
    assert first["text"]["format"]["type"] == "json_schema"
    assert first["text"]["format"]["strict"] is True


async def failure(model: Model, text: str, *, streamed: bool = False) -> Any:
    """The error that a run raises."""
    agent, _ = agent_of(model)
    try:
        if streamed:
            result: Any = Runner.run_streamed(agent, text)
            _ = [event async for event in result.stream_events()]
        else:
            result = await Runner.run(agent, text)
    except Exception as error:  # noqa: BLE001 - its class is what the check looks at
        return error
    raise AssertionError(f"no error but {result.final_output!r:.200}")


async def errors(kind: Callable[..., Model], bench: Bench) -> None:
    """What is refused, and what breaks."""
    error = await failure(model_of(kind, bench, UNKNOWN_MODEL), "hi")
    assert type(error) is openai.NotFoundError, repr(error)
    assert error.code == "model_not_found"
    error = await failure(model_of(kind, bench), "scene:400-detail")
    assert type(error) is openai.BadRequestError, repr(error)
    assert "Unsupported parameter" in error.message
    for name, code in (("failed-mid", "server_error"), ("eof-mid", "upstream"), ("abort-mid", "upstream")):
        error = await failure(model_of(kind, bench), f"scene:{name}")
        assert type(error) is openai.InternalServerError, f"{name}: {error!r}"
        assert error.status_code == 502
        error = await failure(model_of(kind, bench), f"scene:{name}", streamed=True)
        assert isinstance(error, openai.APIError), f"{name}: {error!r}"
        assert (error.code or "").startswith(code), f"{name}: {error!r}"
    # The last, since it parks the account.
    error = await failure(model_of(kind, bench), "scene:429-usage")
    assert type(error) is openai.RateLimitError, repr(error)
    assert error.code == "usage_limit_reached"


async def many_at_once(kind: Callable[..., Model], bench: Bench) -> None:
    """Answers do not get mixed up."""
    agent = Agent(name="many", model=model_of(kind, bench))
    results = await asyncio.gather(*(Runner.run(agent, f"number {number}") for number in range(6)))
    # By chat, thinking stands before the answer.
    assert [result.final_output.rpartition("You said: ")[2] for result in results] == [f"number {n}" for n in range(6)]


async def check_chat_tool_loop(bench: Bench) -> None:
    """63, 8, 37."""
    await tool_loop(OpenAIChatCompletionsModel, bench)


async def check_chat_structured_output(bench: Bench) -> None:
    """41, 45, 63."""
    await structured_output(OpenAIChatCompletionsModel, bench)


async def check_chat_errors(bench: Bench) -> None:
    """26, 27, 30, 31, 32, 82."""
    await errors(OpenAIChatCompletionsModel, bench)


async def check_chat_many_at_once(bench: Bench) -> None:
    """112."""
    await many_at_once(OpenAIChatCompletionsModel, bench)


async def check_responses_tool_loop(bench: Bench) -> None:
    """62, 37."""
    await tool_loop(OpenAIResponsesModel, bench)


async def check_responses_structured_output(bench: Bench) -> None:
    """41, 45, 62."""
    await structured_output(OpenAIResponsesModel, bench)


async def check_responses_errors(bench: Bench) -> None:
    """26, 27, 35, 82."""
    await errors(OpenAIResponsesModel, bench)


async def check_responses_many_at_once(bench: Bench) -> None:
    """112."""
    await many_at_once(OpenAIResponsesModel, bench)


if __name__ == "__main__":
    main(globals())
