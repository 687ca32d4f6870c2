"""
The six kinds of text that arrive in deltas, with the names of their events and members. Data only.

Source: client contracts 3.5, the table of required members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gptmock.conversations import ITEM_ID_PREFIXES
from gptmock.protocol import events as ev


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of text: ``<event>.delta`` events carry it in pieces, ``<event>.done`` carries all of it."""

    event: str
    member: str
    """The member with the whole text in the done event and in the finished part or item."""
    item: str
    """The type of the item that holds it."""
    part: str = ""
    """The type of the content part that holds it; empty for a call, whose text is a member of the item."""
    part_event: str = ""
    """The part is enclosed by ``<part_event>.added`` and ``.done``; empty if the upstream sends no such events."""
    parts: str = ""
    """The item's list of such parts: ``content`` or ``summary``."""
    index: str = ""
    """The event member with the part's index in that list."""


TEXT = Flow(
    event="response.output_text",
    member="text",
    item="message",
    part="output_text",
    part_event="response.content_part",
    parts="content",
    index="content_index",
)
REFUSAL = replace(TEXT, event="response.refusal", member="refusal", part="refusal")
SUMMARY = Flow(
    event="response.reasoning_summary_text",
    member="text",
    item="reasoning",
    part="summary_text",
    part_event="response.reasoning_summary_part",
    parts="summary",
    index="summary_index",
)
THOUGHT = Flow(
    event="response.reasoning_text",
    member="text",
    item="reasoning",
    part="reasoning_text",
    parts="content",
    index="content_index",
)
ARGUMENTS = Flow(event="response.function_call_arguments", member="arguments", item="function_call")
INPUT = Flow(event="response.custom_tool_call_input", member="input", item="custom_tool_call")

FLOWS: Mapping[type[ev.InItem], Flow] = {
    ev.OutputTextDelta: TEXT,
    ev.OutputTextDone: TEXT,
    ev.RefusalDelta: REFUSAL,
    ev.RefusalDone: REFUSAL,
    ev.ReasoningSummaryTextDelta: SUMMARY,
    ev.ReasoningSummaryTextDone: SUMMARY,
    ev.ReasoningTextDelta: THOUGHT,
    ev.ReasoningTextDone: THOUGHT,
    ev.FunctionCallArgumentsDelta: ARGUMENTS,
    ev.FunctionCallArgumentsDone: ARGUMENTS,
    ev.CustomToolCallInputDelta: INPUT,
    ev.CustomToolCallInputDone: INPUT,
}
"""Event class to kind of text."""
PARTS: Mapping[str, Flow] = {flow.part: flow for flow in (TEXT, REFUSAL, SUMMARY, THOUGHT)}
"""Part type to kind of text."""
CALLS: Mapping[str, Flow] = {flow.item: flow for flow in (ARGUMENTS, INPUT)}
"""Item type to kind of text, for tool calls."""
PREFIXES: Mapping[str, str] = {
    **ITEM_ID_PREFIXES,
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "compaction": "cmp",
}
"""Item type to the prefix of generated ids, for items that the upstream sends without an id."""
WITH_STATUS = frozenset({"message", "function_call", "web_search_call", "image_generation_call"})
"""Types of items whose schema requires ``status``."""
