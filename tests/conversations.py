"""Snapshots for tests."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gptmock.conversations import Snapshot


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def user(text: str, **more: Any) -> Raw:
    content = [{"type": "input_text", "text": text}]
    return raw({"type": "message", "role": "user", "content": content, **more})


def said(text: str, item_id: str) -> Raw:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return raw({"type": "message", "id": item_id, "role": "assistant", "content": content})


def answer(response_id: str, *output: Raw) -> Raw:
    return raw({"id": response_id, "object": "response", "status": "completed", "output": list(output)})


def snapshot(
    response_id: str = "resp_1",
    *,
    after: Snapshot | None = None,
    asked: tuple[Raw, ...] | None = None,
    answered: tuple[Raw, ...] | None = None,
) -> Snapshot:
    """A turn of a conversation, continued from ``after``."""
    before = after.conversation if after is not None else ()
    own = (user(f"question of {response_id}"),) if asked is None else asked
    output = (said(f"answer of {response_id}", f"msg_of_{response_id}"),) if answered is None else answered
    return Snapshot(
        response_id=response_id,
        account_id="w-1:u-1",
        input=before + own,
        inherited=len(before),
        response=answer(response_id, *output),
    )


def texts(items: tuple[Raw, ...]) -> list[str]:
    """What is said in message items."""
    return [msgspec.json.decode(item)["content"][0]["text"] for item in items]
