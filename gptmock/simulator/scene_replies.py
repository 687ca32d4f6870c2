"""Scenes with output (text, reasoning, tool calls, searches, images), and incomplete or failed scenes. Pure."""

import dataclasses
from collections.abc import Callable, Iterator

from gptmock.simulator.call import Call, Tool
from gptmock.simulator.events import Composer, event
from gptmock.simulator.smart import PATCH, answer, citation, cited_search, tool_call
from gptmock.simulator.steps import Event, Json, Step

GREETING = "Hello from the simulator. Zażółć gęślą jaźń, 你好, 🙂!"
THOUGHTS = ("**Reading the question**\n\nI look at what was asked.", "**Choosing an answer**\n\nA short one will do.")
SUBSTITUTE = "gpt-5.6-luna"
FAILURES = {
    "server_is_overloaded": "Our servers are currently overloaded. Please try again later.",
    "slow_down": "Please slow down.",
    "rate_limit_exceeded": "Rate limit reached for this model on tokens per min. Please try again in 1.5s.",
    "context_length_exceeded": (
        "Your input exceeds the context window of this model. Please adjust your input and try again."
    ),
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "usage_not_included": "To use Codex with your ChatGPT plan, upgrade to Plus.",
    "cyber_policy": "This request was refused by the cyber policy.",
    "bio_policy": "This request was refused by the bio policy.",
    "invalid_prompt": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    "server_error": "An error occurred while processing your request.",
}
"""Error code that a scene may fail with, to the backend's message."""

Body = Callable[[Composer, Call], Iterator[Event]]


def whole(body: Body) -> Callable[[Call], Iterator[Step]]:
    """A scene that starts, plays ``body`` and completes."""

    def play(call: Call) -> Iterator[Step]:
        composer = Composer(call)
        yield from composer.start()
        yield from body(composer, call)
        yield composer.completed()

    return play


# -- bodies -----------------------------------------------------------------------------------------------------------


def text(composer: Composer, _call: Call) -> Iterator[Event]:
    """One message in several deltas, with letters of two, three and four bytes."""
    return composer.message(GREETING)


def long(composer: Composer, _call: Call) -> Iterator[Event]:
    """One message in two hundred deltas."""
    return composer.message("".join(pieces := [f"word{number} " for number in range(200)]), pieces=pieces)


def reasoning(composer: Composer, _call: Call) -> Iterator[Event]:
    """A reasoning item with two summary parts, then a text."""
    yield from composer.reasoning(THOUGHTS)
    yield from composer.message(GREETING)


def reasoning_raw(composer: Composer, _call: Call) -> Iterator[Event]:
    """A reasoning item with raw reasoning text, then a text."""
    yield from composer.reasoning([], raw="The user greets me, so I greet back.")
    yield from composer.message(GREETING)


def interleaved(composer: Composer, _call: Call) -> Iterator[Event]:
    """Reasoning, text, reasoning, text."""
    yield from composer.reasoning(THOUGHTS[:1])
    yield from composer.message("First I looked around.", phase="commentary")
    yield from composer.reasoning(THOUGHTS[1:])
    yield from composer.message("Now I answer.")


def tool(composer: Composer, call: Call) -> Iterator[Event]:
    """One function call."""
    return tool_call(composer, function_tools(call)[0])


def two_tools(composer: Composer, call: Call) -> Iterator[Event]:
    """A reasoning item, then two calls, so that ``output_index`` differs from the index of the call."""
    yield from composer.reasoning(THOUGHTS[:1])
    for each in function_tools(call)[:2]:
        yield from tool_call(composer, each)


def text_and_tool(composer: Composer, call: Call) -> Iterator[Event]:
    """A text that announces a call, then the call."""
    yield from composer.message("Let me look that up.", phase="commentary")
    yield from tool_call(composer, function_tools(call)[0])


def custom(composer: Composer, call: Call) -> Iterator[Event]:
    """A custom tool call with free-form input."""
    name = next((each.name for each in call.tools if each.kind == "custom"), "apply_patch")
    return composer.custom_call(name, PATCH)


def one_shot_arguments(composer: Composer, call: Call) -> Iterator[Event]:
    """A function call whose arguments arrive in one delta."""
    chosen = function_tools(call)[0]
    return composer.function_call(chosen.name, '{"city":"Paris"}', pieces=['{"city":"Paris"}'])


def search(composer: Composer, call: Call) -> Iterator[Event]:
    """A web search, then a text with a citation."""
    return cited_search(composer, call)


def refusal(composer: Composer, _call: Call) -> Iterator[Event]:
    """The model refuses in a refusal part."""
    return composer.refusal("I'm sorry, but I can't help with that.")


def two_messages(composer: Composer, _call: Call) -> Iterator[Event]:
    """A commentary message, then the final answer."""
    yield from composer.message("I am going to greet.", phase="commentary")
    yield from composer.message(GREETING)


def image(composer: Composer, call: Call) -> Iterator[Event]:
    """An image generation call."""
    return composer.image(call.last_user_text[:200] or "a pixel")


def separators(composer: Composer, _call: Call) -> Iterator[Event]:
    """A text with all characters at which Python's ``str.splitlines`` splits."""
    return composer.message("next\u0085line\u2028line\u2029paragraph\x0bvertical\x0cform\x1cend")


def sealed(composer: Composer, call: Call) -> Iterator[Event]:
    """A reasoning item without a summary, then what a model would do with the request."""
    yield from composer.reasoning([])
    yield from answer(composer, call)


# -- variations of a complete stream ----------------------------------------------------------------------------------


def done_only(call: Call) -> Iterator[Step]:
    """No deltas: reasoning, text and arguments are only in ``output_item.done``."""
    kept = ("created", "in_progress", "output_item.added", "output_item.done", "completed")
    for step in whole(_everything)(call):
        if isinstance(step, Event) and step.payload["type"].removeprefix("response.") in kept:
            yield step


def without_ids(call: Call) -> Iterator[Step]:
    """Items without id, and deltas without item_id."""
    for step in whole(_everything)(call):
        if isinstance(step, Event):
            payload = {key: value for key, value in step.payload.items() if key != "item_id"}
            if "item" in payload:
                payload["item"] = {key: value for key, value in payload["item"].items() if key != "id"}
            yield Event(payload)


def vendor_first(call: Call) -> Iterator[Step]:
    """Vendor events (``codex.rate_limits``, ``response.metadata``) precede ``response.created``."""
    yield Event(_rate_limits(call), numbered=False)
    yield Event(
        {
            "type": "response.metadata",
            "response_id": call.identify("resp", 0),
            "headers": {"x-codex-turn-state": call.digest("turn")[:16], "openai-model": call.model},
            "metadata": {"openai_chatgpt_moderation_metadata": {}},
        }
    )
    yield from whole(text)(call)


def unknown(call: Call) -> Iterator[Step]:
    """Unknown events, an unknown item, and unknown fields on known events."""
    yield Event({"type": "codex.unheard_of", "payload": {"depth": [1, 2, 3]}}, numbered=False)
    for step in whole(text)(call):
        if isinstance(step, Event) and step.payload["type"] == "response.completed":
            item = {"type": "hologram", "id": call.identify("holo", 9), "status": "completed", "beam": "blue"}
            yield event("output_item.added", output_index=1, item=item)
            yield event("hologram.projected", item_id=item["id"], output_index=1)
            yield event("output_item.done", output_index=1, item=item)
        if isinstance(step, Event):
            buffering = {"use_cases": ["cyber"], "reasons": ["drill"], "retry_model": SUBSTITUTE}
            yield Event({**step.payload, "safety_buffering": buffering})


def filled(call: Call) -> Iterator[Step]:
    """``response.completed`` has the complete ``output``, as before April 2026."""
    return whole(_everything)(dataclasses.replace(call, filled_output=True))


def substitute(call: Call) -> Iterator[Step]:
    """Another model answers, and says so in ``response.model``."""
    return whole(text)(dataclasses.replace(call, model=SUBSTITUTE))


def queued(call: Call) -> Iterator[Step]:
    """``response.queued`` between created and in_progress."""
    composer = Composer(call)
    yield composer.status("created", status="queued")
    yield composer.status("queued", status="queued")
    yield composer.status("in_progress")
    yield from composer.message(GREETING)
    yield composer.completed()


# -- incomplete and failed replies ------------------------------------------------------------------------------------


def incomplete(call: Call) -> Iterator[Step]:
    """The text stops at the output limit."""
    yield from _stopped(call, "max_output_tokens")


def filtered(call: Call) -> Iterator[Step]:
    """The text is stopped by the content filter."""
    yield from _stopped(call, "content_filter")


def failed_first(call: Call) -> Iterator[Step]:
    """``response.failed`` right after created; the parameter is the code."""
    composer = Composer(call)
    yield from composer.start()
    yield composer.failed(*_failure(call, "server_error"))


def failed_mid(call: Call) -> Iterator[Step]:
    """``response.failed`` after some text; the parameter is the code."""
    composer = Composer(call)
    yield from opening(composer)
    yield composer.failed(*_failure(call, "server_error"))


def overload(call: Call) -> Iterator[Step]:
    """``response.failed`` with an overload code inside a 200 stream."""
    return failed_first(dataclasses.replace(call, parameter=call.parameter or "server_is_overloaded"))


def error_event(call: Call) -> Iterator[Step]:
    """A top-level ``error`` event with flat fields after some text; the parameter is the code."""
    yield from opening(Composer(call))
    code, message = _failure(call, "server_error")
    yield Event({"type": "error", "code": code, "message": message, "param": None})


def error_event_nested(call: Call) -> Iterator[Step]:
    """A top-level ``error`` event that wraps an error object and a status; the parameter is the code."""
    yield from opening(Composer(call))
    code, message = _failure(call, "invalid_prompt")
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    yield Event({"type": "error", "error": error, "status": 400}, numbered=False)


def opening(composer: Composer, *, deltas: int = 4) -> Iterator[Event]:
    """The start of a reply and of its text, up to ``deltas`` deltas."""
    yield from composer.start()
    for step in composer.message(GREETING):
        yield step
        deltas -= step.payload["type"] == "response.output_text.delta"
        if not deltas:
            return


def function_tools(call: Call) -> list[Tool]:
    """Two function tools to call: those of the request, else ``get_weather`` and ``get_time``."""
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    offered = [each for each in call.tools if each.kind == "function"]
    if not offered:
        return [Tool("function", "get_weather", city), Tool("function", "get_time", city)]
    return offered[:2] if len(offered) > 1 else offered * 2


def _everything(composer: Composer, call: Call) -> Iterator[Event]:
    yield from composer.reasoning(THOUGHTS)
    yield from composer.message(f"{GREETING} See Example.", citations=[citation(f"{GREETING} See Example.", "Example")])
    yield from tool_call(composer, function_tools(call)[0])


def _stopped(call: Call, reason: str) -> Iterator[Event]:
    composer = Composer(call)
    yield from composer.start()
    for step in composer.message(GREETING):
        if step.payload["type"] == "response.output_item.done":
            step.payload["item"]["status"] = "incomplete"
        yield step
    yield composer.incomplete(reason)


def _failure(call: Call, default: str) -> tuple[str, str]:
    code = call.parameter or default
    return code, FAILURES[code]


def _rate_limits(call: Call) -> Json:
    reset = call.created_at + 900
    return {
        "type": "codex.rate_limits",
        "plan_type": "plus",
        "rate_limits": {
            "primary": {"used_percent": 42, "window_minutes": 300, "reset_at": reset},
            "secondary": {"used_percent": 5, "window_minutes": 10080, "reset_at": reset + 604800},
        },
        "credits": {"has_credits": False, "unlimited": False, "balance": None},
    }
