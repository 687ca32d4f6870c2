from typing import Any

import pytest

from gptmock.dialects.tools import (
    Toolbox,
    decode_choice,
    decode_tools,
    web_search_from_options,
    web_search_tool,
)
from gptmock.errors import BadRequest
from gptmock.protocol.request import FunctionTool

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "f"}},
    {"type": "custom", "custom": {"name": "c"}},
    {"type": "web_search_preview"},
]
BOX = Toolbox(decode_tools(TOOLS, within="tools"))


def test_a_toolbox_knows_its_kinds():
    assert BOX.kinds == {"f": "function", "c": "custom"}
    assert BOX.has_web_search
    assert not Toolbox().has_web_search
    assert Toolbox().kinds == {}


def test_the_place_of_a_bad_tool_is_named():
    with pytest.raises(BadRequest) as caught:
        decode_tools([*TOOLS, {"type": "function", "function": {"name": 5}}], within="tools")
    assert caught.value.param == "tools[3].function.name"


def test_a_tool_of_a_type_not_had_says_what_is():
    with pytest.raises(BadRequest, match=r"'mcp' is not available .* usable are function, custom, web_search"):
        decode_tools([{"type": "mcp"}], within="tools")


@pytest.mark.parametrize("kind", ["namespace", "tool_search", "image_generation"])
def test_hosted_tools_pass_as_they_are(kind):
    assert decode_tools([{"type": kind, "x": 1}], within="tools") == ({"type": kind, "x": 1},)


def test_parameters_are_not_shared_between_requests():
    first, second = (decode_tools([TOOLS[0]], within="tools")[0] for _ in range(2))
    assert isinstance(first, FunctionTool)
    assert first == second
    assert first.parameters == {"type": "object", "properties": {}}


def test_nothing_said_is_nothing_sent():
    assert decode_choice(None, BOX) is None
    assert decode_choice("auto", Toolbox()) is None


@pytest.mark.parametrize("location", [{"country": "DE"}, {"type": "approximate", "approximate": {"country": "DE"}}])
def test_a_location_is_flat(location):
    tool = web_search_from_options({"user_location": location})
    assert tool["user_location"] == {"type": "approximate", "country": "DE"}


@pytest.mark.parametrize("location", [None, "Berlin", 5])
def test_a_location_that_is_none_is_left_out(location):
    assert web_search_from_options({"user_location": location, "search_context_size": None}) == {"type": "web_search"}


def test_search_has_one_name():
    assert web_search_tool({"type": "web_search_preview_2025_03_11", "filters": {}}) == {
        "type": "web_search",
        "filters": {},
    }
