"""
Converts tools and tool choice of a Messages request to the Responses API (next doors A.3).

Deferred tools are offered once the messages have loaded them, behind all others and in the order in which they were
loaded, so that the beginning of the list stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from gptmock.dialects.bodies import missing
from gptmock.dialects.identifiers import upstream_name
from gptmock.dialects.messages.published_tools import PUBLISHED
from gptmock.dialects.messages.schemas import is_strict, without_dialect
from gptmock.dialects.messages.tool_changes import ToolChanges
from gptmock.dialects.messages.types import Choice
from gptmock.dialects.tools import FunctionDefinition, Toolbox, function_tool
from gptmock.errors import BadRequest
from gptmock.protocol.request import JsonObject, Tool, ToolChoice

_WEB_SEARCH = "web_search_"
_TOOL_SEARCH = "tool_search_tool_"
USABLE = "usable are tools with an 'input_schema', web_search, bash, text_editor and memory"


@dataclass(frozen=True, slots=True)
class DecodedTools:
    """The tools of a request."""

    toolbox: Toolbox
    names: dict[str, str]
    """Name sent upstream to the client's name, where they differ."""
    searches: frozenset[str]
    """The client's names of hosted web search tools."""


def decode_tools(tools: list[JsonObject], changes: ToolChanges, ignore: Callable[[str, str], None]) -> DecodedTools:
    """
    Convert the tools that are offered now.

    Args:
        tools: as the client sent them.
        changes: what the messages have loaded and removed.
        ignore: is told of members without effect.

    Raises:
        BadRequest: a type that is not available, a name twice, or a required member is missing.
    """
    declared = dict(_declared(tools, ignore))
    places = {name: f"tools[{place}]" for place, name in enumerate(declared)}
    for name, definition in changes.defined.items():
        declared.setdefault(name, definition)
    searched = any(_kind(tool).startswith(_TOOL_SEARCH) for tool in tools)
    early = [name for name, tool in declared.items() if not _is_deferred(tool) and name not in changes.defined]
    late = list(changes.loaded) if not searched else [*changes.loaded, *declared]
    offered = [name for name in dict.fromkeys([*early, *late]) if name in declared and name not in changes.removed]
    sent: list[Tool] = [_tool(declared[name], places.get(name, "tools"), ignore) for name in offered]
    return DecodedTools(
        Toolbox(tuple(sent)),
        {upstream: name for name in offered if (upstream := upstream_name(name)) != name},
        frozenset(name for name in offered if _kind(declared[name]).startswith(_WEB_SEARCH)),
    )


def decode_choice(choice: Choice | None, tools: DecodedTools) -> ToolChoice | None:
    """
    ``tool_choice`` to send upstream; ``None`` to omit it.

    Raises:
        BadRequest: no tool has the name, or there are no tools at all.
    """
    if choice is None or not tools.toolbox.tools:
        if choice is not None and choice.type in ("any", "tool"):
            raise BadRequest("`tool_choice` may only be specified while providing `tools`.", param="tool_choice")
        return None
    if choice.type == "tool":
        if not choice.name:
            raise missing("tool_choice.name")
        if choice.name in tools.searches:
            return {"type": "web_search"}
        if upstream_name(choice.name) not in tools.toolbox.kinds:
            raise BadRequest(f"Tool '{choice.name[:64]}' not found in provided tools", param="tool_choice.name")
        return {"type": "function", "name": upstream_name(choice.name)}
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]


def _declared(tools: Iterable[JsonObject], ignore: Callable[[str, str], None]) -> Iterator[tuple[str, JsonObject]]:
    seen: set[str] = set()
    for place, tool in enumerate(tools):
        if _kind(tool).startswith(_TOOL_SEARCH):
            ignore(f"tools[{place}]", "all deferred tools are offered at once instead")
            continue
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            _refuse_kind(tool, f"tools[{place}]")
            raise missing(f"tools[{place}].name")
        if name in seen:
            raise BadRequest("Tool names must be unique.", param=f"tools[{place}].name")
        seen.add(name)
        yield name, tool


def _kind(tool: JsonObject) -> str:
    kind = tool.get("type")
    return kind if isinstance(kind, str) else "custom"


def _is_deferred(tool: JsonObject) -> bool:
    return tool.get("defer_loading") is True


def _tool(tool: JsonObject, within: str, ignore: Callable[[str, str], None]) -> Tool:
    kind = _kind(tool)
    if kind.startswith(_WEB_SEARCH):
        return _web_search(tool, ignore)
    published = next((one for prefix, one in PUBLISHED.items() if kind.startswith(prefix)), None)
    if published is not None:
        tool = {**published, "name": tool["name"]}
    elif kind != "custom":
        _refuse_kind(tool, within)
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise missing(f"{within}.input_schema")
    schema = without_dialect(schema)
    strict = tool.get("strict") is True and is_strict(schema, within=f"{within}.input_schema")
    definition = FunctionDefinition(name=tool["name"], description=_description(tool), parameters=schema, strict=strict)
    return function_tool(definition, within=within)


def _refuse_kind(tool: JsonObject, within: str) -> None:
    kind = _kind(tool)
    if kind != "custom" and not kind.startswith(tuple(PUBLISHED)):
        raise BadRequest(
            f"The tool type '{kind[:60]}' is not available to ChatGPT accounts; {USABLE}.",
            code="unsupported_tool",
            param=f"{within}.type",
        )


def _description(tool: JsonObject) -> str | None:
    text = tool.get("description")
    description = text if isinstance(text, str) else None
    examples = tool.get("input_examples")
    if not isinstance(examples, list) or not examples:
        return description
    return f"{description or ''}\n\nExamples of input: {msgspec.json.encode(examples).decode()}".lstrip()


def _web_search(tool: JsonObject, ignore: Callable[[str, str], None]) -> JsonObject:
    sent: JsonObject = {"type": "web_search"}
    filters = {name: tool[name] for name in ("allowed_domains", "blocked_domains") if tool.get(name)}
    if filters:
        sent["filters"] = filters
    location: Any = tool.get("user_location")
    if isinstance(location, dict):
        sent["user_location"] = location
    if tool.get("max_uses") is not None:
        ignore("max_uses", "the upstream decides how often it searches")
    return sent
