"""The automatic reply: imitates a model, so that an agent's tool loop terminates. Pure."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from gptmock.simulator.call import Call, Tool, mentioned, output_text
from gptmock.simulator.events import Composer
from gptmock.simulator.samples import sample
from gptmock.simulator.steps import Event, Json, Step

QUOTE_LIMIT = 2000
_SCRIPTED = re.compile(r"call:([A-Za-z0-9_-]+)(?=\{)")
PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+Hello\n*** End Patch\n"


def smart(call: Call) -> Iterator[Step]:
    """
    Answer tool outputs, else call requested tools, else obey ``text.format``, else search, else quote the user.

    ``call:NAME{...}`` in the user's last text is a call with these very arguments; several are parallel calls.
    """
    composer = Composer(call)
    yield from composer.start()
    if call.items and call.items[-1].get("type") == "compaction_trigger":
        yield from composer.compaction()
    else:
        yield from _thinking(composer, call)
        yield from answer(composer, call)
    yield composer.completed()


def tool_call(composer: Composer, tool: Tool) -> Iterator[Event]:
    """A call of ``tool`` with arguments that match its schema."""
    if tool.kind == "custom":
        return composer.custom_call(tool.name, PATCH, namespace=tool.namespace)
    return composer.function_call(tool.name, sample_arguments(tool), namespace=tool.namespace)


def sample_arguments(tool: Tool) -> str:
    """The JSON text of a minimal argument object."""
    value = sample(tool.parameters) if tool.parameters else {}
    return msgspec.json.encode(value if isinstance(value, dict) else {}).decode()


def cited_search(composer: Composer, call: Call) -> Iterator[Event]:
    """A web search and a message with a citation."""
    yield from composer.web_search(call.last_user_text[:80] or "gptmock")
    text = "gptmock answers with your own account (Example)."
    yield from composer.message(text, citations=[citation(text, "Example")])


def citation(text: str, title: str) -> Json:
    """A ``url_citation`` of the occurrence of ``title`` in ``text``."""
    start = text.index(title)
    where = {"start_index": start, "end_index": start + len(title)}
    return {"type": "url_citation", "url": "https://example.test/source", "title": title, **where}


def _thinking(composer: Composer, call: Call) -> Iterator[Event]:
    if call.summary and call.effort != "none":
        parts = ["**Reading the question**\n\nI look at what was asked."]
        if call.summary == "detailed":
            parts.append("**Choosing an answer**\n\nA short one will do.")
        yield from composer.reasoning(parts)


def answer(composer: Composer, call: Call) -> Iterator[Event]:
    """What follows the thinking."""
    if call.trailing_outputs:
        yield from _report(composer, call)
    elif scripted := _scripted(call):
        for name, arguments in scripted:
            yield from composer.function_call(name, arguments)
    elif chosen := _chosen_tools(call):
        for tool in chosen:
            yield from tool_call(composer, tool)
    elif call.text_format["type"] != "text":
        yield from composer.message(_formatted(call))
    elif _wants_search(call):
        yield from cited_search(composer, call)
    elif call.has_hosted("image_generation") and _wants_image(call):
        yield from composer.image(call.last_user_text[:200] or "a pixel")
    else:
        yield from composer.message(f"You said: {call.last_user_text[:QUOTE_LIMIT] or 'nothing at all'}")


def _scripted(call: Call) -> list[tuple[str, str]]:
    """Names and arguments of the calls that the user's text spells out, of tools that there are."""
    text, names = call.last_user_text, {tool.name for tool in call.tools}
    found = []
    for match in _SCRIPTED.finditer(text):
        with suppress(ValueError):
            _, end = json.JSONDecoder().raw_decode(text, match.end())
            found.append((match[1], text[match.end() : end]))
    return [(name, arguments) for name, arguments in found if name in names]


def _report(composer: Composer, call: Call) -> Iterator[Event]:
    if call.text_format["type"] != "text":
        return composer.message(_formatted(call))
    outputs = "; ".join(output_text(item)[:QUOTE_LIMIT] for item in call.trailing_outputs)
    return composer.message(f"The tools answered: {outputs}")


def _formatted(call: Call) -> str:
    if call.text_format["type"] == "json_schema":
        return msgspec.json.encode(sample(call.text_format.get("schema") or {})).decode()
    return msgspec.json.encode({"answer": f"You said: {call.last_user_text[:80]}"}).decode()


def _chosen_tools(call: Call) -> list[Tool]:
    choice = call.tool_choice
    if choice == "none" or not call.tools:
        return []
    if isinstance(choice, dict) and "name" in choice:
        return [tool for tool in call.tools if tool.name == choice["name"]][:1]
    if call.follows_outputs and _choice(call) == "auto":
        # An agent's loop ends by itself, whatever its client adds to the outputs.
        return []
    tools = _allowed(call)
    named = mentioned(tools, call.last_user_text)
    if named:
        return named if call.body.get("parallel_tool_calls", True) else named[:1]
    wanted = _choice(call) == "required" or re.search(r"\btools?\b", call.last_user_text, re.IGNORECASE)
    return tools[:1] if wanted else []


def _choice(call: Call) -> str:
    choice = call.tool_choice
    if not isinstance(choice, dict):
        return str(choice)
    return str(choice.get("mode", "auto")) if choice.get("type") == "allowed_tools" else str(choice.get("type"))


def _allowed(call: Call) -> list[Tool]:
    choice = call.tool_choice
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return call.tools
    names = {spec.get("name") for spec in choice.get("tools") or []}
    return [tool for tool in call.tools if tool.name in names]


def _wants_image(call: Call) -> bool:
    return _choice(call) == "image_generation" or (
        call.tool_choice != "none" and re.search(r"\b(?:draw|image)\b", call.last_user_text, re.IGNORECASE) is not None
    )


def _wants_search(call: Call) -> bool:
    if not call.has_hosted("web_search") or call.tool_choice == "none":
        return False
    return _choice(call) in {"web_search", "required"} or "search" in call.last_user_text.lower()
