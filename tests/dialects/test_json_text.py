import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.json_text import json_bytes
from tests.playbook import SEPARATORS


@pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)
def test_a_separator_is_written_as_an_escape(separator):
    assert json_bytes(f"a{separator}b") == f'"a\\u{ord(separator):04x}b"'.encode()
    assert json.loads(json_bytes({separator: [separator]})) == {separator: [separator]}


@given(st.recursive(st.text(), lambda some: st.lists(some) | st.dictionaries(st.text(), some), max_leaves=8))
def test_any_text_is_one_line_and_means_the_same(value):
    data = json_bytes(value)
    assert json.loads(data) == value
    assert len(data.decode().splitlines()) == 1


def test_other_letters_are_not_escaped():
    assert json_bytes("é你🙂") == '"é你🙂"'.encode()
