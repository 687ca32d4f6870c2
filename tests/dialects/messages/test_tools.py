import pytest

from gptmock.errors import BadRequest
from tests.dialects.messages.asked import TOOL, USER, assistant, call, result, text, understood, upstream_body, user

DEFERRED = {**TOOL, "name": "WebSearch", "defer_loading": True}
PLACEHOLDER = {**TOOL, "name": "DeferredToolPlaceholder", "defer_loading": True}
SEARCH = {**TOOL, "name": "ToolSearch"}
LAST = {**TOOL, "name": "Write"}
STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def names(*tools, messages=(USER,), **more):
    sent = upstream_body({"tools": list(tools), "messages": list(messages), **more}).get("tools", [])
    return [tool.get("name", tool["type"]) for tool in sent]


def loaded(*found):
    references = [{"type": "tool_reference", "tool_name": name} for name in found]
    return [USER, assistant(call("c1", "ToolSearch", query="q")), user(result("c1", references), text("go on"))]


def change(kind, **tool):
    return {"role": "system", "content": [{"type": kind, "tool": tool}]}


@pytest.mark.check(220)
def test_a_tool_is_a_function():
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {}}
    tool = {"name": "f", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}}
    sent = upstream_body({"tools": [{**tool, "eager_input_streaming": True, "allowed_callers": ["direct"]}]})["tools"]
    parameters = {"type": "object", "properties": {}}
    assert sent == [{"type": "function", "name": "f", "description": "d", "parameters": parameters, "strict": False}]


@pytest.mark.check(220)
@pytest.mark.parametrize(
    ("schema", "asked", "strict"),
    [
        (STRICT, True, True),
        (STRICT, False, False),
        ({**STRICT, "required": []}, True, False),
        ({**STRICT, "additionalProperties": True}, True, False),
        ({**STRICT, "properties": {"a": {"type": "array", "items": STRICT}}}, True, True),
        ({**STRICT, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, True, False),
        ({**STRICT, "properties": {"a": {"oneOf": [{"type": "string"}]}}}, True, False),
        ({"type": "object"}, True, False),
    ],
)
def test_strict_only_if_asked_for_and_possible(schema, asked, strict):
    (tool,) = upstream_body({"tools": [{**TOOL, "input_schema": schema, "strict": asked}]})["tools"]
    assert tool["strict"] is strict


def test_examples_of_input_stand_in_the_description():
    (tool,) = upstream_body({"tools": [{**TOOL, "input_examples": [{"a": 1}]}]})["tools"]
    assert tool["description"] == 'd\n\nExamples of input: [{"a":1}]'


def test_a_name_that_the_upstream_does_not_take_comes_back():
    turn = understood({"tools": [{**TOOL, "name": "mcp.server/tool"}]})
    ((sent, name),) = turn.reply.options.tool_names.items()  # type: ignore[attr-defined]
    assert name == "mcp.server/tool"
    assert names({**TOOL, "name": "mcp.server/tool"}) == [sent]


@pytest.mark.check(220)
@pytest.mark.parametrize(
    ("kind", "name", "property_name"),
    [
        ("bash_20250124", "bash", "command"),
        ("text_editor_20250728", "str_replace_based_edit_tool", "old_str"),
        ("memory_20250818", "memory", "new_path"),
    ],
)
def test_tools_of_the_client_have_their_published_schema(kind, name, property_name):
    (tool,) = upstream_body({"tools": [{"type": kind, "name": name}]})["tools"]
    assert (tool["type"], tool["name"]) == ("function", name)
    assert property_name in tool["parameters"]["properties"]


@pytest.mark.check(204, 220)
def test_web_search_is_the_hosted_one():
    tool = {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 8,
        "allowed_domains": ["a.test"],
        "user_location": {"type": "approximate", "city": "Oslo"},
    }
    turn = understood({"tools": [tool]})
    assert turn.ignored == ("max_uses",)
    sent = upstream_body({"tools": [tool], "tool_choice": {"type": "tool", "name": "web_search"}})
    assert sent["tools"] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.test"]},
            "user_location": {"type": "approximate", "city": "Oslo"},
        }
    ]
    assert sent["tool_choice"] == {"type": "web_search"}
    assert "web_search_call.action.sources" in sent["include"]
    assert "web_search_call.action.sources" not in upstream_body({"tools": [TOOL]})["include"]


@pytest.mark.check(234)
@pytest.mark.parametrize(
    "kind",
    [
        "web_fetch_20250910",
        "code_execution_20250825",
        "computer_20250124",
        "browser_20260101",
        "advisor_20260301",
        "mcp_toolset",
        "odd",
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_tools_of_a_server_are_refused_by_name(kind, named):
    with pytest.raises(BadRequest, match=rf"tools\.1\.type: .*'{kind}'.*usable are") as caught:
        understood({"tools": [TOOL, {"type": kind, **({"name": "n"} if named else {})}]})
    assert caught.value.param == "tools[1].type"


@pytest.mark.parametrize(
    ("tools", "where"),
    [
        ([TOOL, TOOL], r"tools\.1\.name: Tool names must be unique"),
        ([{"input_schema": {}}], r"tools\.0\.name: Missing"),
        ([{"name": "f"}], r"tools\.0\.input_schema: Missing"),
    ],
)
def test_a_tool_that_is_none_is_refused(tools, where):
    with pytest.raises(BadRequest, match=where):
        understood({"tools": tools})


# --- Deferred tools ----------------------------------------------------------------------------


@pytest.mark.check(301)
def test_a_deferred_tool_is_offered_once_it_was_found_and_last_in_the_list():
    tools = (PLACEHOLDER, SEARCH, DEFERRED, LAST)
    assert names(*tools) == ["ToolSearch", "Write"]
    assert names(*tools, messages=loaded("WebSearch")) == ["ToolSearch", "Write", "WebSearch"]
    assert names(*tools, messages=loaded("Nowhere")) == ["ToolSearch", "Write"]
    further = [*loaded("WebSearch"), assistant(call("c2", "ToolSearch")), user(result("c2", "x"))]
    assert names(*tools, messages=further) == ["ToolSearch", "Write", "WebSearch"]


@pytest.mark.check(302)
def test_tools_are_added_and_removed_in_the_middle():
    tools = (SEARCH, DEFERRED, LAST)
    added = change("tool_addition", type="tool_reference", name="WebSearch")
    removed = change("tool_removal", type="tool_reference", name="WebSearch")
    assert names(*tools, messages=[USER, added]) == ["ToolSearch", "Write", "WebSearch"]
    assert names(*tools, messages=[USER, added, removed]) == ["ToolSearch", "Write"]
    assert names(*tools, messages=[USER, added, removed, added]) == ["ToolSearch", "Write", "WebSearch"]
    assert names(*tools, messages=[USER, change("tool_removal", type="tool_reference", name="Write")]) == ["ToolSearch"]
    defined = change("tool_addition", type="tool_definition", definition={**TOOL, "name": "Inline"})
    assert names(*tools, messages=[USER, defined]) == ["ToolSearch", "Write", "Inline"]
    toolset = change("tool_addition", type="mcp_toolset_reference", server_name="s")
    assert names(*tools, messages=[USER, toolset]) == ["ToolSearch", "Write"]
    body = upstream_body({"tools": list(tools), "messages": [USER, added]})
    assert len(body["input"]) == 1, "a change of tools becomes no text"


def test_a_tool_search_of_the_server_offers_all_at_once():
    turn = understood({"tools": [{"type": "tool_search_tool_bm25_20251119", "name": "s"}, DEFERRED, LAST]})
    assert turn.ignored == ("tools[0]",)
    assert names({"type": "tool_search_tool_regex_20251119", "name": "s"}, DEFERRED, LAST) == ["Write", "WebSearch"]


# --- Choice ------------------------------------------------------------------------------------


@pytest.mark.check(223)
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "name": "f"}),
    ],
)
def test_each_choice(choice, sent):
    body = upstream_body({"tools": [TOOL], "tool_choice": choice})
    assert body["tool_choice"] == sent
    assert "parallel_tool_calls" not in body
    one = upstream_body({"tools": [TOOL], "tool_choice": {**choice, "disable_parallel_tool_use": True}})
    assert one["parallel_tool_calls"] is False


@pytest.mark.check(223)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"tool_choice": {"type": "any"}}, "while providing `tools`"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "while providing `tools`"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "not found"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "odd"}}, "tool_choice.type"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(body, words):
    with pytest.raises(BadRequest, match=words):
        understood(body)


def test_a_choice_without_tools_is_left_out():
    assert "tool_choice" not in upstream_body({"tool_choice": {"type": "auto"}})
