import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.identifiers import MAX_CHARACTERS, upstream_call_id, upstream_name

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@pytest.mark.parametrize("name", ["f", "get_weather", "a-b", "x" * 64, "9"])
def test_a_legal_name_is_left_alone(name):
    assert upstream_name(name) == name


@pytest.mark.parametrize("name", ["mcp.server/tool", "x" * 65, "Wetter für Köln", "a b", "f\n", "\ud800"])
def test_another_name_stays_readable_and_becomes_legal(name):
    sent = upstream_name(name)
    assert LEGAL.match(sent)
    assert sent != name
    assert sent == upstream_name(name)
    assert sent[0] == (name[0] if LEGAL.match(name[0]) else "_")


def test_names_that_look_alike_stay_apart():
    names = ["a.b", "a/b", "a b", "x" * 65, "x" * 66, "a_b"]
    assert len({upstream_name(name) for name in names}) == len(names)


@given(st.text(min_size=1, max_size=100))
def test_any_name_becomes_legal_and_stays_so(name):
    assert LEGAL.match(upstream_name(name))
    assert upstream_name(upstream_name(name)) == upstream_name(name)


def test_a_call_id_is_only_shortened():
    assert upstream_call_id("call/1.x") == "call/1.x"
    assert upstream_call_id("x" * 64) == "x" * 64
    long = "call_" + "x" * 120
    assert len(upstream_call_id(long)) == MAX_CHARACTERS
    assert upstream_call_id(long).startswith("call_x")
    assert upstream_call_id(long) != upstream_call_id(long + "y")
