from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import BadRequest
from gptmock.server.json_bounds import MAX_KEYS, MAX_VALUES, check_json_bounds

MESSAGES = 20_000
COMMAND = json.dumps({"command": ["bash", "-lc", 'grep -rn "a, b" . | head']})


def chat_conversation() -> dict[str, Any]:
    """Half of its messages are tool calls, the others their results."""
    turns: list[dict[str, Any]] = []
    for number in range(MESSAGES // 2):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "shell", "arguments": COMMAND}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"call_{number}", "content": "one, two, [three], {four}\n" * 20})
    return {"model": "gpt-5.5", "messages": turns, "stream": True}


def responses_conversation() -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    for number in range(MESSAGES // 4):
        reasoning = {"type": "reasoning", "id": f"rs_{number}", "encrypted_content": "A" * 200}
        items.append({**reasoning, "summary": [{"type": "summary_text", "text": "so, then"}]})
        call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "status": "completed"}
        items.append({**call, "name": "shell", "arguments": COMMAND})
        items.append({"type": "function_call_output", "call_id": f"call_{number}", "output": "a, b\n" * 50})
        text = {"type": "input_text", "text": "go on, [please]"}
        items.append({"type": "message", "role": "user", "content": [text]})
    return {"model": "gpt-5.5", "input": items}


@pytest.mark.parametrize("conversation", [chat_conversation, responses_conversation])
def test_a_long_agent_conversation_passes_and_has_room_to_grow(conversation: Callable[[], dict[str, Any]]):
    members = conversation()
    body = json.dumps(members).encode()
    check_json_bounds(body)
    key = "messages" if "messages" in members else "input"
    check_json_bounds(json.dumps({**members, key: members[key] * 2}).encode())


AT_THE_LIMIT = {
    "values": lambda more: b"[" + b"1," * (MAX_VALUES - 1 + more) + b"1]",
    "arrays": lambda more: b"[" + b"[]," * ((MAX_VALUES - 2) // 2 + more) + b"1]",
    "keys": lambda more: b"{" + b'"":1,' * (MAX_KEYS - 1 + more) + b'"":1}',
    "objects": lambda more: b"[" + b'{"":1},' * (MAX_VALUES // 2 - 1 + more) + b"1]",
}


@pytest.mark.parametrize("body", AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_the_limit_passes_and_one_more_does_not(body: Callable[[int], bytes]):
    check_json_bounds(body(0))
    with pytest.raises(BadRequest) as caught:
        check_json_bounds(body(1))
    assert caught.value.code == "invalid_json"


def test_separators_in_strings_are_no_values():
    text = 'a, "quoted", [b], {c: d}, \\ and \\\\" \n' * 100_000
    body = json.dumps({"model": "m", "messages": [text, text]}).encode()
    assert body.count(b",") > MAX_VALUES
    check_json_bounds(body)


JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab\\",:[]{}\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a\\",:', max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def _counted(value: Any) -> tuple[int, int]:
    """Separators and brackets, as in the compact text, and keys."""
    if not isinstance(value, list | dict):
        return 0, 0
    below = [_counted(one) for one in (value.values() if isinstance(value, dict) else value)]
    keys = len(value) if isinstance(value, dict) else 0
    return 1 + max(0, len(below) - 1) + sum(one[0] for one in below), keys + sum(one[1] for one in below)


@given(JSON, st.integers(1, 40))
def test_windows_may_end_anywhere(value: Any, window_bytes: int):
    body = json.dumps(value).encode()
    values, keys = _counted(value)
    check_json_bounds(body, max_values=values, max_keys=keys, window_bytes=window_bytes)
    if values:
        with pytest.raises(BadRequest):
            check_json_bounds(body, max_values=values - 1, max_keys=keys, window_bytes=window_bytes)
    if keys:
        with pytest.raises(BadRequest):
            check_json_bounds(body, max_values=values, max_keys=keys - 1, window_bytes=window_bytes)


def test_what_is_refused_is_refused_quickly():
    """64 MiB of empty arrays would be 1.5 GB decoded."""
    body = b"[" + b"[]," * (64 * 1024 * 1024 // 3) + b"1]"
    began = time.process_time()
    with pytest.raises(BadRequest):
        check_json_bounds(body)
    assert time.process_time() - began < 2
