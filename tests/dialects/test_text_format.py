import pytest

from gptmock.dialects.text_format import with_json_mentioned
from gptmock.protocol.request import InputItem, InputText, Message

LONG = 262_144
ASKED = Message("developer", [InputText("Answer with one JSON object.")])


def said(text: str) -> list[InputItem]:
    return [Message("user", [InputText(text)])]


@pytest.mark.parametrize("before", [0, 1, *range(LONG - 4, LONG + 2), 2 * LONG - 2, 3 * LONG])
@pytest.mark.parametrize("word", ["json", "JSON", "Json"])
def test_the_word_is_found_anywhere_in_a_text(before, word):
    for text in ("x" * before + word, "x" * before + word + "x" * LONG):
        assert with_json_mentioned(said(text)) == said(text)


@pytest.mark.parametrize("text", ["", "jso n", "x" * LONG, "x" * (LONG - 2) + "js on" + "x" * LONG])
def test_the_word_is_added_where_it_is_missing(text):
    assert with_json_mentioned(said(text)) == [*said(text), ASKED]
