import json
import re
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.protocol.surrogates import without_halves
from tests.timing import generous


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uD83D", "\ufffd"),
        (rb"\ude00", "\ufffd"),
        (rb"a\ud83db", "a\ufffdb"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ud83d\ude00\ude00", "😀\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\u0041", "\ufffdA"),
        (rb"\ud83d\n\ude00", "\ufffd\n\ufffd"),
        (rb"\ud83d\\ude00", "\ufffd" + r"\ude00"),
        (rb"\\ud83d", r"\ud83d"),
        (rb"\\\ud83d", "\\\ufffd"),
        (rb"\\\\ud83d\ud83d", "\\\\ud83d\ufffd"),
        (rb"\ud7ff\ue000", "\ud7ff\ue000"),
    ],
)
def test_a_half_alone_is_replaced_and_the_rest_kept(escaped, text):
    assert msgspec.json.decode(without_halves(b'"' + escaped + b'"')) == text


@pytest.mark.parametrize("text", [b"", b"{}", rb'"\ud83d\ude00 \\ud83d"', "😀".encode()])
def test_text_without_halves_is_the_same(text):
    assert without_halves(text) == text
    assert b"\\ud" in text or without_halves(text) is text


@given(
    st.lists(
        st.sampled_from(["\\\\", '\\"', "\\n", "a", "d83d", "\\u0041", "\\ud83d", "\\uDBFF", "\\ude00", "\\uDFFF"]),
        max_size=12,
    )
)
def test_it_agrees_with_a_decoder_that_keeps_halves(parts):
    text = f'"{"".join(parts)}"'
    kept = json.loads(text)
    assert msgspec.json.decode(without_halves(text.encode())) == re.sub("[\ud800-\udfff]", "\ufffd", kept)


@pytest.mark.alone
@pytest.mark.parametrize("part", [rb"\\", rb"\ud83d", rb"\\ud83d", rb"\n"])
def test_it_takes_time_in_proportion(part):
    text = rb'"\ud83d' + part * 500_000 + b'"'
    began = time.perf_counter()
    without_halves(text)
    assert time.perf_counter() - began < generous(2.0)
