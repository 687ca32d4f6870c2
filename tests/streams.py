"""Hypothesis: random streams that the upstream could legally send, with what they say."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from hypothesis import strategies as st

from gptmock.dialects.image_data import PNG_MAGIC
from tests.playbook import sse

Json = dict[str, Any]
Naming = Literal["both", "index", "id", "none"]

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.text("abSTOP \n\u0085\u2028\u2029<>🙂é", min_size=1, max_size=20),
)


@dataclass(slots=True)
class Story:
    """A whole stream, and what a reader should understand of it."""

    events: list[Json] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    """As base64."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Kind, name, input."""
    ending: str = "completed"

    @property
    def upstream(self) -> bytes:
        return sse(*self.events)


@dataclass(frozen=True, slots=True)
class _Item:
    """One item: its events in order, and the finished item."""

    events: list[Json]
    finished: Json


def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` as deltas: whole, or cut anywhere, or with its end left to the done events."""
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=3))
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    return pieces[: draw(st.integers(0, len(pieces)))]


def _citation(draw: st.DrawFn, text: str) -> Json:
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    return {
        "type": "url_citation",
        "url": "https://example.test/",
        "title": "T",
        "start_index": start,
        "end_index": end,
    }


def _message(draw: st.DrawFn, story: Story, number: int) -> _Item:
    parts = draw(st.lists(texts, min_size=1, max_size=2))
    events: list[Json] = []
    content: list[Json] = []
    for index, text in enumerate(parts):
        place = {"content_index": index}
        events.append({"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}})
        events += [{"type": "response.output_text.delta", **place, "delta": piece} for piece in _pieces(draw, text)]
        cited, early = draw(st.booleans()), draw(st.booleans())
        notes = [_citation(draw, text)] if cited else []
        if cited and early:
            events.append({"type": "response.output_text.annotation.added", **place, "annotation": notes[0]})
        part = {"type": "output_text", "text": text, "annotations": notes}
        if index < len(parts) - 1 or draw(st.booleans()):
            # A part is closed before the next one opens.
            events.append({"type": "response.output_text.done", **place, "text": text})
            events.append({"type": "response.content_part.done", **place, "part": part})
        content.append(part)
    story.messages.append("".join(parts))
    events = [] if draw(st.integers(0, 4)) == 0 else events
    return _Item(events, {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content})


def _refusal(draw: st.DrawFn, story: Story, number: int) -> _Item:
    text = draw(texts)
    story.refusals.append(text)
    place = {"content_index": 0}
    events = [{"type": "response.refusal.delta", **place, "delta": piece} for piece in _pieces(draw, text)]
    if draw(st.booleans()):
        events.append({"type": "response.refusal.done", **place, "refusal": text})
    return _Item(events, {"type": "message", "id": f"msg_{number}", "content": [{"type": "refusal", "refusal": text}]})


def _reasoning(draw: st.DrawFn, story: Story, number: int) -> _Item:
    raw = draw(st.booleans())
    paragraphs = draw(st.lists(texts, max_size=2))
    story.thoughts += paragraphs
    kind, counter = ("reasoning_text", "content_index") if raw else ("reasoning_summary_text", "summary_index")
    events: list[Json] = []
    for index, text in enumerate(paragraphs):
        pieces = _pieces(draw, text)
        events += [{"type": f"response.{kind}.delta", counter: index, "delta": piece} for piece in pieces]
        if index < len(paragraphs) - 1 or draw(st.booleans()):
            events.append({"type": f"response.{kind}.done", counter: index, "text": text})
    member, part = ("content", "reasoning_text") if raw else ("summary", "summary_text")
    finished = {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "gAAAA"}
    return _Item(events, {**finished, member: [{"type": part, "text": text} for text in paragraphs]})


def _call(draw: st.DrawFn, story: Story, number: int) -> _Item:
    custom = draw(st.booleans())
    text = draw(texts) if custom else '{"city":"' + draw(st.sampled_from(["Paris", "Łódź", "東京"])) + '"}'
    kind, member, wire = (
        ("custom_tool_call", "input", "custom_tool_call_input")
        if custom
        else ("function_call", "arguments", "function_call_arguments")
    )
    story.calls.append(("custom" if custom else "function", "lookup", text))
    events: list[Json] = [{"type": f"response.{wire}.delta", "delta": piece} for piece in _pieces(draw, text)]
    if draw(st.booleans()):
        events.append({"type": f"response.{wire}.done", member: text})
    call = {"type": kind, "id": f"fc_{number}", "call_id": f"call_{number}", "name": "lookup"}
    return _Item(events, {**call, member: text})


def _other(draw: st.DrawFn, story: Story, number: int) -> _Item:  # noqa: ARG001 - one shape for all kinds
    return _Item(
        [{"type": "response.web_search_call.searching"}, {"type": "codex.rate_limits", "plan_type": "plus"}],
        {"type": draw(st.sampled_from(["web_search_call", "hologram"])), "id": f"ws_{number}"},
    )


def _image(draw: st.DrawFn, story: Story, number: int) -> _Item:
    data = draw(st.binary(min_size=1, max_size=6))
    result = base64.b64encode(PNG_MAGIC + data).decode()
    story.images.append(result)
    partial = {"type": "response.image_generation_call.partial_image", "partial_image_index": 0}
    events: list[Json] = [{"type": "response.image_generation_call.generating"}]
    events += [{**partial, "partial_image_b64": result}] * draw(st.integers(0, 1))
    return _Item(events, {"type": "image_generation_call", "id": f"ig_{number}", "result": result})


_KINDS = (_image, _message, _message, _refusal, _reasoning, _reasoning, _call, _call, _other)


def _named(events: list[Json], finished: Json, number: int, naming: Naming) -> Iterator[Json]:
    names: Json = {}
    if naming in ("both", "index"):
        names["output_index"] = number
    if naming in ("both", "id"):
        names["item_id"] = finished["id"]
    for event in events:
        if "item" not in event:
            yield {**event, **names}
            continue
        item = event["item"] if naming in ("both", "id") else {k: v for k, v in event["item"].items() if k != "id"}
        index = {"output_index": number} if "output_index" in names else {}
        yield {**event, "item": item, **index}


def _interleaved(draw: st.DrawFn, streams: list[list[Json]]) -> list[Json]:
    """The events of several items in one order; each item keeps its own."""
    mixed: list[Json] = []
    waiting = [list(stream) for stream in streams if stream]
    while waiting:
        chosen = draw(st.sampled_from(waiting))
        mixed.append(chosen.pop(0))
        waiting = [stream for stream in waiting if stream]
    return mixed


def _ending(draw: st.DrawFn, story: Story, output: list[Json]) -> Json:
    response: Json = {"id": "resp_1", "model": "gpt-5.5", "output": output, "service_tier": "default"}
    if draw(st.booleans()):
        response["usage"] = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}
    if story.ending == "incomplete":
        reason = draw(st.sampled_from(["max_output_tokens", "content_filter", "weather"]))
        return {"type": "response.incomplete", "response": {**response, "incomplete_details": {"reason": reason}}}
    return {"type": "response.completed", "response": response}


@st.composite
def stories(draw: st.DrawFn, *, mixed: bool = False) -> Story:
    """A turn with items of any kind; ``mixed`` lets the events of several items come in any order."""
    story = Story(ending=draw(st.sampled_from(["completed", "completed", "incomplete"])))
    naming: Naming = draw(st.sampled_from(["both", "index", "id"] if mixed else ["both", "index", "id", "none"]))
    streams: list[list[Json]] = []
    output: list[Json] = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(_KINDS))
        item = kind(draw, story, number)
        blank = {"arguments": "", "input": "", "content": [], "summary": []}
        begun = {key: blank.get(key, value) for key, value in item.finished.items()}
        added = (
            [{"type": "response.output_item.added", "item": begun}] if draw(st.booleans()) or naming == "none" else []
        )
        done = [{"type": "response.output_item.done", "item": item.finished}]
        streams.append(list(_named([*added, *item.events, *done], item.finished, number, naming)))
        output.append(item.finished)
    middle = _interleaved(draw, streams) if mixed else [event for stream in streams for event in stream]
    filled = output if draw(st.booleans()) and naming in ("both", "index") else []
    start = [{"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.5"}}]
    story.events = [*start, *middle, _ending(draw, story, filled)]
    return story
