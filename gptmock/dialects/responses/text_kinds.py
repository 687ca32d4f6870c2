"""
The six kinds of text that grow in an output item, and what they are called on the wire. Data only.

Source: client contracts 3.5, the table of required members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gptmock.protocol import events as ev


@dataclass(frozen=True, slots=True)
class Flow:
    """One kind of text: ``<event>.delta`` adds to it, ``<event>.done`` says all of it."""

    event: str
    member: str
    """What the done event and the finished part or item call the whole text."""
    item: str
    """The type of item that it grows in."""
    prefix: str
    """Of the ids of such items."""
    part: str = ""
    """The type of part that holds it; empty for a call, whose text is the item's own."""
    part_event: str = ""
    """``<part_event>.added`` and ``.done`` enclose it; empty where the upstream sends no such events."""
    parts: str = ""
    """The item's list that holds such parts."""
    index: str = ""
    """The member that counts them."""


TEXT = Flow(
    event="response.output_text",
    member="text",
    item="message",
    prefix="msg",
    part="output_text",
    part_event="response.content_part",
    parts="content",
    index="content_index",
)
REFUSAL = Flow(
    event="response.refusal",
    member="refusal",
    item="message",
    prefix="msg",
    part="refusal",
    part_event="response.content_part",
    parts="content",
    index="content_index",
)
SUMMARY = Flow(
    event="response.reasoning_summary_text",
    member="text",
    item="reasoning",
    prefix="rs",
    part="summary_text",
    part_event="response.reasoning_summary_part",
    parts="summary",
    index="summary_index",
)
THOUGHT = Flow(
    event="response.reasoning_text",
    member="text",
    item="reasoning",
    prefix="rs",
    part="reasoning_text",
    parts="content",
    index="content_index",
)
ARGUMENTS = Flow(
    event="response.function_call_arguments",
    member="arguments",
    item="function_call",
    prefix="fc",
)
INPUT = Flow(
    event="response.custom_tool_call_input",
    member="input",
    item="custom_tool_call",
    prefix="ctc",
)

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
"""By the event that tells of it."""
PARTS: Mapping[str, Flow] = {flow.part: flow for flow in (TEXT, REFUSAL, SUMMARY, THOUGHT)}
"""By the type of part."""
CALLS: Mapping[str, Flow] = {flow.item: flow for flow in (ARGUMENTS, INPUT)}
"""By the type of item."""
PREFIXES: Mapping[str, str] = {
    **{flow.item: flow.prefix for flow in (TEXT, SUMMARY, ARGUMENTS, INPUT)},
    "web_search_call": "ws",
    "image_generation_call": "ig",
    "local_shell_call": "lsh",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "compaction": "cmp",
}
"""What ids of items begin with, for those that the upstream left without one."""
WITH_STATUS = frozenset({"message", "function_call", "web_search_call", "image_generation_call"})
"""Items whose schema demands a status."""
