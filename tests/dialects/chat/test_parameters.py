import pytest

from gptmock.dialects.chat.parameters import RULES
from gptmock.dialects.parameters import Fate
from gptmock.errors import BadRequest
from tests.dialects.chat.asked import understood, upstream_body

# A value that asks for something, for every row of the table.
ASKED = {
    "n": 2,
    "modalities": ["text", "audio"],
    "max_tokens": 10,
    "max_completion_tokens": 10,
    "temperature": 0.5,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0.1,
    "seed": 1,
    "logit_bias": {"1": 1},
    "logprobs": True,
    "top_logprobs": 3,
    "audio": {"voice": "x"},
    "prediction": {"type": "content"},
    "metadata": {"a": "b"},
    "store": True,
    "moderation": {"a": "b"},
    "user": "u",
    "safety_identifier": "u",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"a": 1},
}
IGNORED = [rule.name for rule in RULES if rule.fate is Fate.IGNORE]
HARMLESS = {
    "n": 1,
    "modalities": ["text"],
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "metadata": {},
    "store": False,
}


def test_the_samples_cover_the_table():
    assert set(ASKED) == {rule.name for rule in RULES}


@pytest.mark.check(4, 116)
@pytest.mark.parametrize("name", IGNORED)
def test_an_ignored_parameter_is_named_and_not_sent(name):
    turn = understood({name: ASKED[name]})
    assert turn.ignored == (name,)
    assert upstream_body({name: ASKED[name]}) == upstream_body({})


@pytest.mark.check(116)
@pytest.mark.parametrize("name", ASKED)
def test_strict_refuses_every_one_of_them(name):
    with pytest.raises(BadRequest, match=f"Unsupported parameter: '{name}'") as caught:
        understood({name: ASKED[name]}, strict_parameters=True)
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


@pytest.mark.check(54)
@pytest.mark.parametrize("name", ASKED)
def test_null_asks_for_nothing(name):
    assert understood({name: None}, strict_parameters=True).ignored == ()


@pytest.mark.check(53, 54)
@pytest.mark.parametrize(("name", "value"), HARMLESS.items())
def test_what_is_so_anyway_asks_for_nothing(name, value):
    assert understood({name: value}, strict_parameters=True).ignored == ()


def test_all_of_them_are_named_in_the_order_of_the_table():
    assert understood({name: ASKED[name] for name in reversed(IGNORED)}).ignored == tuple(IGNORED)


def test_unknown_keys_are_ignored_and_named():
    body = {"foo": 1, "stream_options": {"include_obfuscation": True}}
    assert understood(body, strict_parameters=True).ignored == ("stream_options.include_obfuscation", "foo")
