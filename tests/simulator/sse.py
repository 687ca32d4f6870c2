"""A small SSE parser after the HTML Living Standard; independent of ``gptmock.protocol.sse``."""

import json
import re
from typing import Any


def frames(data: bytes) -> list[str]:
    """The data of every dispatched event."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    found: list[str] = []
    lines: list[str] = []
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        if line == "":
            if lines:
                found.append("\n".join(lines))
            lines = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            lines.append(value.removeprefix(" "))
    return found


def events(data: bytes) -> list[dict[str, Any]]:
    """The events that are JSON objects with a type."""
    found = []
    for frame in frames(data):
        try:
            payload = json.loads(frame)
        except ValueError:
            continue
        if isinstance(payload, dict) and "type" in payload:
            found.append(payload)
    return found


def types(data: bytes) -> list[str]:
    """Their types, without ``response.``."""
    return [event["type"].removeprefix("response.") for event in events(data)]


def text_of(data: bytes) -> str:
    """All deltas of output text, joined."""
    return "".join(event["delta"] for event in events(data) if event["type"] == "response.output_text.delta")


def items_of(data: bytes) -> list[dict[str, Any]]:
    """The finished items in order."""
    return [event["item"] for event in events(data) if event["type"] == "response.output_item.done"]
