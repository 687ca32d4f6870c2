"""A prompt to input items."""

import pytest

from gptmock.dialects.ollama_generate.request import RULES
from tests.dialects.ollama.asked import (
    GENERATE,
    PNG,
    PNG_URL,
    question,
    ready,
    refused,
    told,
    understood,
    upstream_body,
)

pytestmark = pytest.mark.check(98)


def test_the_prompt_is_one_user_message_and_system_the_instructions():
    sent = upstream_body(GENERATE, question(GENERATE, system="Be brief."))
    assert sent["instructions"] == "Be brief."
    assert sent["input"] == [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]


def test_raw_is_the_prompt_as_it_is():
    assert upstream_body(GENERATE, question(GENERATE, raw=True)) == upstream_body(GENERATE, question(GENERATE))


@pytest.mark.parametrize("member", [{"system": "S"}, {"template": "T"}, {"context": [1, 2]}])
def test_raw_with_anything_around_the_prompt_is_a_400_in_ollamas_words(member):
    error = refused(GENERATE, question(GENERATE, raw=True, **member))
    assert error.status_hint == 400
    assert told(GENERATE, error) == "raw mode does not support template, system, or context"


def test_images_stand_beside_the_prompt():
    (sent,) = upstream_body(GENERATE, question(GENERATE, images=[PNG]))["input"]
    assert sent["content"][1] == {"type": "input_image", "image_url": PNG_URL}
    assert refused(GENERATE, question(GENERATE, images=["!"])).param == "images[0]"


@pytest.mark.parametrize("prompt", ["def f(", ""])
def test_a_suffix_makes_a_gap_to_fill(prompt):
    told_how, gap = upstream_body(GENERATE, question(GENERATE, prompt=prompt, suffix="): pass"))["input"]
    assert (told_how["role"], gap["role"]) == ("developer", "user")
    assert "<before>" in told_how["content"][0]["text"]
    assert gap["content"] == [{"type": "input_text", "text": f"<before>{prompt}</before><after>): pass</after>"}]


def test_a_gap_may_have_images():
    sent = upstream_body(GENERATE, question(GENERATE, suffix="x", images=[PNG]))["input"]
    assert sent[-1]["content"] == [{"type": "input_image", "image_url": PNG_URL}]


@pytest.mark.parametrize(("name", "value"), [("template", "{{ .Prompt }}"), ("context", [1, 2])])
def test_what_has_no_effect_is_named_or_refused(name, value):
    assert {rule.name for rule in RULES} == {"template", "context"}
    body = question(GENERATE, **{name: value})
    assert understood(GENERATE, body).ignored == (name,)
    assert refused(GENERATE, body, strict_parameters=True).param == name
    assert understood(GENERATE, question(GENERATE, **{name: type(value)()}), strict_parameters=True).ignored == ()


@pytest.mark.check(97)
def test_without_a_prompt_nothing_is_asked():
    assert ready(GENERATE, {"model": "gpt-5.5"})["done_reason"] == "load"
    assert ready(GENERATE, {"model": "gpt-5.5", "prompt": "", "system": "S", "images": [PNG]})["response"] == ""
