"""The words of ``--reasoning-compat`` that are other names of a style."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptmock.simulator.server import Simulator
from tests.harness import CHAT_PATH, chat, serving_simulator
from tests.harness import client as open_client


@pytest.mark.parametrize(
    ("word", "member"),
    [
        ("reasoning-content", "reasoning_content"),
        ("standard", "reasoning_content"),
        ("openai", "reasoning_content"),
        ("current", "reasoning_summary"),
        ("legacy", "reasoning_summary"),
    ],
)
async def test_each_word_shows_thinking_in_its_member(simulator: Simulator, home: Path, word: str, member: str):
    async with serving_simulator(simulator, home, reasoning_compat=word) as url, open_client(url) as client:
        answer = await client.post(CHAT_PATH, json=chat("scene:reasoning"))
    assert answer.json()["choices"][0]["message"][member]
