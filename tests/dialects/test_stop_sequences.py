from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.stop_sequences import StopFilter
from tests.playbook import split


def cut_whole(text, stops):
    """The text before the stop sequence that ends first; of several that end there, the longest."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def run(pieces, stops):
    machine = StopFilter(tuple(stops))
    shown = "".join(machine.feed(piece) for piece in pieces)
    return shown + machine.flush(), machine.hit


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("abc", [], "abc"),
        ("abcd", ["cd"], "ab"),
        ("abcd", ["ab"], ""),
        ("abc", ["cd"], "abc"),
        ("abcd", ["d", "b"], "a"),
        ("abcd", ["abcd", "bc"], "a"),
        ("abc", ["abc", "bc"], ""),
        ("aab", ["ab"], "a"),
        ("ababac", ["abac"], "ab"),
        ("a\n\nb", ["\n\n"], "a"),
        ("🙂🙃", ["🙃"], "🙂"),
    ],
)
def test_the_text_ends_before_the_first_complete_sequence(text, stops, shown):
    expected = (shown, shown != text)
    assert cut_whole(text, stops) == expected
    assert run([text], stops) == expected
    assert run(list(text), stops) == expected


texts = st.text("ab\n🙂", max_size=24)


@given(texts, st.lists(st.text("ab\n🙂", min_size=1, max_size=4), max_size=4), st.lists(st.integers(0, 24), max_size=6))
def test_emulating_is_cutting_the_whole_text(text, stops, cuts):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert run(pieces, stops) == cut_whole(text, stops)
    assert b"".join(split(text.encode(), cuts)) == text.encode()


@given(texts, st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_shown_early_is_never_more_than_what_will_be_shown(text, stops):
    machine, shown = StopFilter(tuple(stops)), ""
    final, _ = cut_whole(text, stops)
    for character in text:
        shown += machine.feed(character)
        assert final.startswith(shown)
        assert machine.held < max(map(len, stops))


def test_nothing_comes_after_a_hit_and_nothing_is_held():
    machine = StopFilter(("x",))
    assert machine.feed("ax") == "a"
    assert machine.hit
    assert (machine.feed("b"), machine.flush(), machine.held) == ("", "", 0)
