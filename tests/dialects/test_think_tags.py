"""Style ``think-tags``: one pair of tags per run of reasoning, in order of arrival."""

from __future__ import annotations

import pytest

from gptmock.dialects.presentation import Content, Presenter
from gptmock.protocol.output_parts import CallOpened, Piece, Reasoning, Refusal, Text

THOUGHT = [Reasoning("Hm, ", 0, "summary"), Reasoning("let me see.", 0, "summary"), Reasoning("Yes.", 1, "summary")]
SHOWN = ["<think>", "Hm, ", "let me see.", "\n\nYes.", "</think>"]


def shown(pieces: list[Piece]) -> list[str]:
    presenter = Presenter("think-tags", (), {})
    return [each.text for piece in pieces for each in presenter.feed(piece) if isinstance(each, Content)]


def test_a_tag_is_a_piece_of_its_own():
    assert shown([*THOUGHT, Text("Hello.", 0, 0)]) == [*SHOWN, "Hello."]


def test_each_run_has_its_own_pair():
    again = Reasoning("Wait.", 2, "summary")
    expected = [*SHOWN, "First.", "<think>", "Wait.", "</think>", "\n\nLast."]
    assert shown([*THOUGHT, Text("First.", 0, 0), again, Text("Last.", 1, 1)]) == expected


@pytest.mark.parametrize("after", [CallOpened(0, "function", "call_1", "f"), Refusal("No.")], ids=["call", "refusal"])
def test_the_pair_is_closed_before_anything_else(after):
    assert shown([*THOUGHT, after]) == SHOWN
