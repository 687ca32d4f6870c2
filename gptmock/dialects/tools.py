"""Converts tools and tool choice of all dialects to the flat form of the Responses API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from gptmock.dialects.bodies import Body, missing, validate
from gptmock.dialects.identifiers import upstream_name
from gptmock.dialects.tool_schemas import completed_parameters
from gptmock.errors import BadRequest
from gptmock.protocol.request import CustomTool, FunctionTool, JsonObject, Tool, ToolChoice

_HOSTED = frozenset({"image_generation", "namespace", "tool_search"})
"""Hosted tool types, besides web search, that chat requests may contain."""
_UNAVAILABLE_PREFIXES = (
    "file_search",
    "code_interpreter",
    "computer",
    "mcp",
    "shell",
    "apply_patch",
    "programmatic_tool_calling",
)
"""Prefixes of the tool types that the public API has, but ChatGPT accounts do not."""
_WEB_SEARCH = "web_search"
MAX_RESPONSES_TOOLS_BYTES = 32 * 1024


class FunctionDefinition(Body):
    """``function`` of a chat tool, or a flat function tool. Chat's default for ``strict`` is false."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class CustomDefinition(Body):
    """``custom`` of a chat tool, or a flat custom tool."""

    name: str
    description: str | None = None
    format: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one request, as sent upstream."""

    tools: tuple[Tool, ...] = ()

    @property
    def kinds(self) -> dict[str, str]:
        """Upstream name to tool type, for named tools, including those in namespaces."""
        return dict(_kinds(self.tools))

    @property
    def has_web_search(self) -> bool:
        """Whether hosted web search is among them."""
        return any(isinstance(tool, dict) and tool.get("type") == _WEB_SEARCH for tool in self.tools)


def _kinds(tools: Iterable[Tool]) -> Iterator[tuple[str, str]]:
    for tool in tools:
        if isinstance(tool, FunctionTool | CustomTool):
            yield tool.name, "function" if isinstance(tool, FunctionTool) else "custom"
        elif isinstance(within := tool.get("tools"), list):
            yield from _kinds(one for one in within if isinstance(one, dict))
        elif isinstance(name := tool.get("name"), str):
            yield name, str(tool.get("type"))


def decode_tools(tools: Iterable[dict[str, Any]], *, within: str) -> tuple[Tool, ...]:
    """
    Convert the tools of a chat or Ollama request; tools that are flat already, and hosted ones, are accepted too.

    Raises:
        BadRequest: ``unsupported_tool``, or a required member is missing.
    """
    return tuple(_tool(tool, f"{within}[{index}]") for index, tool in enumerate(tools))


def function_tool(definition: FunctionDefinition, *, within: str) -> FunctionTool:
    """Convert one function tool. ``strict`` is always set, since chat and Responses differ in its default."""
    if not definition.name:
        raise missing(f"{within}.name")
    return FunctionTool(
        name=upstream_name(definition.name),
        parameters=_parameters(definition.parameters, strict=definition.strict is True),
        strict=bool(definition.strict),
        description=UNSET if definition.description is None else definition.description,
    )


def _parameters(given: dict[str, Any] | None, *, strict: bool) -> JsonObject:
    return given if strict and given is not None else completed_parameters(given)


def _tool(tool: dict[str, Any], within: str) -> Tool:
    kind = tool.get("type") or ("function" if "function" in tool else None)
    if not isinstance(kind, str):
        raise missing(f"{within}.type")
    if kind == "function":
        nested = tool.get("function")
        place = f"{within}.function" if isinstance(nested, dict) else within
        return function_tool(
            validate(nested if isinstance(nested, dict) else tool, FunctionDefinition, within=place), within=place
        )
    if kind == "custom":
        nested = tool.get("custom")
        place = f"{within}.custom" if isinstance(nested, dict) else within
        return _custom_tool(
            validate(nested if isinstance(nested, dict) else tool, CustomDefinition, within=place), within=place
        )
    if kind.startswith(_WEB_SEARCH):
        return web_search_tool(tool)
    if kind in _HOSTED:
        return tool
    raise _unavailable(kind, within)


def decode_flat_tools(tools: Iterable[dict[str, Any]], *, within: str) -> tuple[Tool, ...]:
    """
    Convert the tools of a Responses request: unknown types are sent unchanged, chat's nested form is flattened, names
    are shortened.

    Raises:
        BadRequest: ``unsupported_tool`` for types that ChatGPT accounts lack, or a required member is missing.
    """
    return tuple(_flat_tool(tool, f"{within}[{index}]") for index, tool in enumerate(tools))


def _flat_tool(tool: dict[str, Any], within: str) -> Tool:
    kind = tool.get("type")
    if kind is None or isinstance(tool.get(str(kind)), dict):
        return _tool(tool, within)
    if not isinstance(kind, str):
        raise missing(f"{within}.type")
    if kind.startswith(_UNAVAILABLE_PREFIXES):
        raise _unavailable(kind, within)
    if kind.startswith(_WEB_SEARCH):
        return web_search_tool(tool)
    if kind == "namespace":
        return _namespace(tool)
    if kind not in ("function", "custom"):
        return tool
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise missing(f"{within}.name")
    flat = {**tool, "name": upstream_name(name)}
    return _with_parameters(flat)


def _namespace(tool: dict[str, Any]) -> Tool:
    tools = tool.get("tools")
    if not isinstance(tools, list):
        return tool
    return {**tool, "tools": [_with_parameters(one) if isinstance(one, dict) else one for one in tools]}


def _with_parameters(tool: dict[str, Any]) -> dict[str, Any]:
    given = tool.get("parameters")
    if tool.get("type") != "function" or not isinstance(given, dict | None):
        return tool
    return {**tool, "parameters": _parameters(given, strict=tool.get("strict") is True)}


def renamed_tools(tools: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Name sent upstream to the client's name, for tools that ``upstream_name`` renames."""
    nested = (tool.get("function") or tool.get("custom") or tool for tool in tools)
    names = [one.get("name") for one in nested if isinstance(one, dict)]
    return {sent: name for name in names if isinstance(name, str) and (sent := upstream_name(name)) != name}


def _unavailable(kind: str, within: str) -> BadRequest:
    return BadRequest(
        f"The tool type '{kind[:40]}' is not available to ChatGPT accounts; usable are function, custom, web_search "
        "and image_generation.",
        code="unsupported_tool",
        param=f"{within}.type",
    )


def web_search_tool(tool: dict[str, Any]) -> JsonObject:
    """A web search tool with the current type: ``web_search_preview`` and its dated forms are older ones."""
    return {**tool, "type": _WEB_SEARCH}


def web_search_from_options(options: dict[str, Any]) -> JsonObject:
    """Chat's ``web_search_options`` as a web search tool; ``user_location`` is flattened."""
    tool: JsonObject = {"type": _WEB_SEARCH}
    if (size := options.get("search_context_size")) is not None:
        tool["search_context_size"] = size
    location = options.get("user_location")
    if isinstance(location, dict):
        nested = location.get("approximate")
        tool["user_location"] = {"type": "approximate", **(nested if isinstance(nested, dict) else location)}
    return tool


def requested_searches(tools: list[dict[str, Any]] | None, choice: str | None) -> list[JsonObject]:
    """
    Hosted web search requested by ``responses_tools``, an extension of ChatMock and GPTMock.

    Args:
        tools: ``responses_tools``.
        choice: ``responses_tool_choice``; ``none`` switches the search off.

    Raises:
        BadRequest: another choice, another tool, or more than 32 KiB.
    """
    if choice not in (None, "auto", "none"):
        raise BadRequest(
            "Invalid value for 'responses_tool_choice': expected 'auto' or 'none'.", param="responses_tool_choice"
        )
    if tools and len(msgspec.json.encode(tools)) > MAX_RESPONSES_TOOLS_BYTES:
        raise BadRequest(
            "'responses_tools' is larger than 32 KiB.", code="responses_tools_too_large", param="responses_tools"
        )
    for index, tool in enumerate(tools or ()):
        if not str(tool.get("type", "")).startswith(_WEB_SEARCH):
            raise BadRequest(
                "Only web_search can be given in 'responses_tools'.",
                code="unsupported_tool",
                param=f"responses_tools[{index}].type",
            )
    return [] if choice == "none" else [web_search_tool(tool) for tool in tools or ()]


def with_default_search(toolbox: Toolbox, choice: ToolChoice | None) -> Toolbox:
    """Add the operator's web search, unless the request has one or its ``tool_choice`` is not ``auto``."""
    if toolbox.has_web_search or choice not in (None, "auto"):
        return toolbox
    return Toolbox((*toolbox.tools, {"type": _WEB_SEARCH}))


def _custom_tool(definition: CustomDefinition, *, within: str) -> CustomTool:
    if not definition.name:
        raise missing(f"{within}.name")
    spec = definition.format
    if spec is not None and isinstance(spec.get("grammar"), dict):
        spec = {"type": "grammar", **spec["grammar"]}
    return CustomTool(
        name=upstream_name(definition.name),
        description=UNSET if definition.description is None else definition.description,
        format=UNSET if spec is None else spec,
    )


# --- Choice ---------------------------------------------------------------------------


def decode_choice(choice: str | dict[str, Any] | None, toolbox: Toolbox) -> ToolChoice | None:
    """
    ``tool_choice`` to send upstream; ``None`` to omit it.

    Raises:
        BadRequest: an unknown form, a name that no tool has, or ``required`` without tools.
    """
    if choice is None:
        return None
    if isinstance(choice, str):
        return _word(choice, toolbox)
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _allowed(choice, toolbox)
    if kind in ("function", "custom"):
        return _named(str(kind), choice, toolbox, "tool_choice")
    if not isinstance(kind, str):
        raise missing("tool_choice.type")
    return _hosted(kind, toolbox, "tool_choice")


def _hosted(kind: str, toolbox: Toolbox, param: str) -> JsonObject:
    present = _WEB_SEARCH if kind.startswith(_WEB_SEARCH) else kind
    if not any(isinstance(tool, dict) and tool.get("type") == present for tool in toolbox.tools):
        raise BadRequest(f"Invalid value for '{param}': no tool of type '{kind[:40]}' was given.", param=param)
    return {"type": present}


def _word(choice: str, toolbox: Toolbox) -> ToolChoice | None:
    word = "required" if choice == "any" else choice
    if word not in ("none", "auto", "required"):
        raise BadRequest(
            "Invalid value for 'tool_choice': expected 'none', 'auto', 'required' or an object.", param="tool_choice"
        )
    if not toolbox.tools:
        if word == "required":
            raise BadRequest("'tool_choice' is 'required', but there are no tools.", param="tool_choice")
        return None
    return word


def _named(kind: str, choice: dict[str, Any], toolbox: Toolbox, param: str) -> JsonObject:
    nested = choice.get(kind)
    name = nested.get("name") if isinstance(nested, dict) else choice.get("name")
    if not isinstance(name, str) or not name:
        raise missing(f"{param}.{kind}.name")
    sent = upstream_name(name)
    if toolbox.kinds.get(sent) != kind:
        raise BadRequest(f"Tool choice '{name}' not found in 'tools' parameter.", param=param)
    return {"type": kind, "name": sent}


def _allowed(choice: dict[str, Any], toolbox: Toolbox) -> JsonObject:
    nested = choice.get("allowed_tools")
    allowed = nested if isinstance(nested, dict) else choice
    mode, tools = allowed.get("mode"), allowed.get("tools")
    if mode not in ("auto", "required") or not isinstance(tools, list) or not tools:
        raise BadRequest(
            "Invalid value for 'tool_choice.allowed_tools': expected 'mode' (auto or required) and a list of 'tools'.",
            param="tool_choice.allowed_tools",
        )
    flat: list[JsonObject] = []
    for index, tool in enumerate(tools):
        param = f"tool_choice.allowed_tools.tools[{index}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise missing(f"{param}.type")
        kind = str(tool["type"])
        named = kind in ("function", "custom")
        flat.append(_named(kind, tool, toolbox, param) if named else _hosted(kind, toolbox, param))
    return {"type": "allowed_tools", "mode": mode, "tools": flat}
