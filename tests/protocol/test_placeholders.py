from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.protocol.placeholders import PlaceholderFilter


def shown(*texts: str) -> str:
    machine = PlaceholderFilter()
    return "".join(machine.feed(text) for text in texts) + machine.flush()


@pytest.mark.parametrize(
    ("paragraph", "left"),
    [
        ("**Plan**", "**Plan**"),
        ("<!-- -->", ""),
        ("<!-- a --> <!-- b -->\nPlan", "Plan"),
        ("  <!-- never closed", ""),
        ("<b>bold</b>", "<b>bold</b>"),
        ("<", "<"),
        ("<!-", "<!-"),
        ("\n Plan", "\n Plan"),
        ("Plan <!-- stays -->", "Plan <!-- stays -->"),
        ("   ", "   "),
    ],
)
def test_leading_comments_are_dropped(paragraph, left):
    assert shown(paragraph) == left
    assert shown(*paragraph) == left


@given(
    text=st.lists(st.sampled_from(["<!--", "-->", "<", "!", "-", " ", "\n", "Plan", ">"])).map("".join),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_any_cut_shows_the_same(text, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    assert shown(*(text[a:b] for a, b in itertools.pairwise(edges))) == shown(text)


def test_nothing_is_held_once_text_has_begun():
    machine = PlaceholderFilter()
    assert [machine.feed("Plan"), machine.feed(" <!--")] == ["Plan", " <!--"]


def test_a_comment_inside_is_no_placeholder():
    text = "one <!-- two --> three"
    assert re.search("<!--", shown(text))
