import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.chat.parameters import RULES as CHAT
from gptmock.dialects.ollama.parameters import OPTION_RULES
from gptmock.dialects.ollama.parameters import RULES as OLLAMA
from gptmock.dialects.ollama_generate.request import RULES as GENERATE
from gptmock.dialects.responses.parameters import RULES as RESPONSES
from gptmock.server.ignored_header import MAX_NAME_CHARACTERS, MAX_NAMES, ignored_header

TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:,[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


@pytest.mark.check(116)
@pytest.mark.parametrize(
    ("names", "value"),
    [
        ((), ""),
        (("top_k", "min_p"), "top_k,min_p"),
        (("min_p", "top_k", "min_p"), "min_p,top_k"),
        (("options.mirostat", "x-y"), "options.mirostat,x-y"),
        (("a,b", "a b", "a\r\nset-cookie: b", "50%"), "a%2Cb,a%20b,a%0D%0Aset-cookie%3A%20b,50%25"),
        (("größe", "\u2028", "😀"), "gr%C3%B6%C3%9Fe,%E2%80%A8,%F0%9F%98%80"),
        (("",), "''"),
        (("n" * 64,), "n" * 64),
        (("n" * 65,), "n" * 64 + "..."),
        (("n" * 62 + "ß",), "n" * 62 + "..."),
        (("n" * 70, "n" * 71), "n" * 64 + "..."),
    ],
)
def test_names_are_written_as_tokens(names, value):
    assert ignored_header(names) == value


def test_names_that_are_too_many_are_counted():
    names = [f"n{number}" for number in range(MAX_NAMES + 5)]
    assert ignored_header(names[:MAX_NAMES]) == ",".join(names[:MAX_NAMES])
    assert ignored_header(names) == ",".join([*names[:MAX_NAMES], "...+5"])
    assert ignored_header(names * 2) == ignored_header(names)


def test_the_parameters_that_are_known_always_have_room():
    assert max(len(CHAT), len(RESPONSES), len(OPTION_RULES) + len(OLLAMA) + len(GENERATE)) <= MAX_NAMES


@given(st.lists(st.text(), min_size=1, max_size=80))
def test_any_names_are_a_short_list_of_tokens(names):
    value = ignored_header(names)
    assert TOKENS.fullmatch(value) is not None
    assert len(value) <= (MAX_NAMES + 1) * (MAX_NAME_CHARACTERS + len("...,"))
    first = value.split(",")[0]
    assert unquote(first, errors="strict") == names[0] or first.endswith("...") or not names[0]
