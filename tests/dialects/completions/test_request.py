import json

import pytest

from gptmock.dialects.completions import TextCompletions
from gptmock.dialects.completions.request import MAX_PROMPTS, RULES
from gptmock.dialects.dialect import Call
from gptmock.dialects.parameters import Fate
from gptmock.errors import BadRequest
from tests.playbook import terms


def understood(prompt="Hello", *, headers=None, tenant="", defaults=None, **members):
    body = {"model": "gpt-5.5", "prompt": prompt, **members}
    return TextCompletions().decode(Call(json.dumps(body).encode(), headers or {}, tenant), terms(**(defaults or {})))


def sent(*asked, **more):
    turn = understood(*asked, **more)
    return [json.loads(request.to_json()) for request in (turn.request, *turn.reply.options.further)]


def refused(body, **defaults):
    with pytest.raises(BadRequest) as caught:
        TextCompletions().decode(Call(json.dumps(body).encode()), terms(**defaults))
    return caught.value


def text_of(item):
    (part,) = item["content"]
    return part["text"]


# --- Prompts --------------------------------------------------------------------------------


@pytest.mark.check(100)
@pytest.mark.parametrize("prompt", ["Hello", ["Hello"]])
def test_a_prompt_is_one_message_of_the_user(prompt):
    turn = understood(prompt)
    assert turn.reply.options.further == ()
    (request,) = sent(prompt)
    assert request["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    ]
    assert (request["model"], request["store"], request["stream"]) == ("gpt-5.5", False, True)
    assert "tools" not in request


@pytest.mark.check(100)
def test_a_list_of_prompts_is_a_request_for_each_in_their_order():
    requests = sent(["a", "b", "c"])
    assert [text_of(request["input"][0]) for request in requests] == ["a", "b", "c"]
    assert len({request["prompt_cache_key"] for request in requests}) == 3


def test_a_session_of_the_clients_own_is_the_same_for_all_prompts():
    for more in ({"prompt_cache_key": "s"}, {"headers": {"x-session-id": "s"}}):
        assert len({request["prompt_cache_key"] for request in sent(["a", "b"], **more)}) == 1
    keys = {sent("a", tenant=tenant, prompt_cache_key="s")[0]["prompt_cache_key"] for tenant in ("one", "two")}
    assert len(keys) == 2


@pytest.mark.parametrize("body", [{}, {"prompt": None}])
def test_a_prompt_is_required(body):
    error = refused(body)
    assert (error.code, error.param) == ("missing_required_parameter", "prompt")


@pytest.mark.parametrize("prompt", ["", [], [""], ["a", ""]])
def test_an_empty_prompt_asks_for_nothing(prompt):
    error = refused({"prompt": prompt})
    assert (error.status_hint, error.param) == (400, "prompt")
    assert "empty" in error.message


@pytest.mark.check(100)
@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]]])
def test_tokens_are_refused_by_name(prompt):
    error = refused({"prompt": prompt})
    assert (error.status_hint, error.param) == (400, "prompt")
    assert "Token arrays are not supported" in error.message


@pytest.mark.parametrize("prompt", [5, True, {"a": 1}, ["a", 1], [[1], "a"], [None]])
def test_anything_else_is_no_prompt(prompt):
    error = refused({"prompt": prompt})
    assert error.param is not None
    assert error.param.startswith("prompt")


def test_as_many_prompts_as_langchain_sends_at_once():
    assert len(sent(["a"] * MAX_PROMPTS)) == MAX_PROMPTS
    assert refused({"prompt": ["a"] * (MAX_PROMPTS + 1)}).param == "prompt"


# --- Suffix and echo ------------------------------------------------------------------------


@pytest.mark.check(101)
def test_a_suffix_asks_for_the_middle():
    (request,) = sent("def f(x):\n", suffix="\n    return y")
    developer, user = request["input"]
    assert developer["role"] == "developer"
    assert "the text that belongs in the gap" in text_of(developer)
    assert text_of(user) == "<before>def f(x):\n</before><after>\n    return y</after>"


def test_the_middle_may_be_the_beginning():
    (request,) = sent("", suffix="rest")
    assert text_of(request["input"][-1]) == "<before></before><after>rest</after>"


@pytest.mark.parametrize("suffix", [None, ""])
def test_no_suffix_is_no_gap(suffix):
    assert sent("a", suffix=suffix) == sent("a")


@pytest.mark.check(101)
def test_an_echo_repeats_each_prompt():
    assert understood(["a", "b"], echo=True).reply.options.echoes == ("a", "b")
    assert understood(["a", "b"], echo=False).reply.options.echoes == ()
    assert sent("a", echo=True) == sent("a")


# --- Parameters -----------------------------------------------------------------------------

ASKED = {
    "n": 2,
    "best_of": 2,
    "max_tokens": 16,
    "temperature": 0.5,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0.1,
    "seed": 1,
    "logit_bias": {"1": 1},
    "logprobs": 3,
    "user": "u",
}
HARMLESS = {"n": 1, "best_of": 1, "logit_bias": {}, "logprobs": 0}
IGNORED = [rule.name for rule in RULES if rule.fate is Fate.IGNORE]


def test_the_samples_cover_the_table():
    assert set(ASKED) == {rule.name for rule in RULES}


@pytest.mark.check(101, 116)
@pytest.mark.parametrize("name", IGNORED)
def test_what_has_no_effect_is_named_and_not_sent(name):
    assert understood(**{name: ASKED[name]}).ignored == (name,)
    assert sent(**{name: ASKED[name]}) == sent()
    error = refused({"prompt": "a", name: ASKED[name]}, strict_parameters=True)
    assert (error.code, error.param) == ("unsupported_parameter", name)


@pytest.mark.check(116)
def test_exactly_the_ignored_are_named_in_the_order_of_the_table():
    assert understood(**{name: ASKED[name] for name in reversed(IGNORED)}, stop="x").ignored == tuple(IGNORED)


@pytest.mark.check(101)
@pytest.mark.parametrize("name", ["n", "best_of"])
def test_more_than_one_answer_is_refused(name):
    error = refused({"prompt": "a", name: 2})
    assert (error.status_hint, error.code, error.param) == (400, "unsupported_parameter", name)


@pytest.mark.check(101)
@pytest.mark.parametrize(("name", "value"), [*HARMLESS.items(), *((name, None) for name in ASKED)])
def test_what_asks_for_nothing_is_nothing(name, value):
    assert understood(**{name: value}, defaults={"strict_parameters": True}).ignored == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 0), ("max_tokens", "16"), ("echo", "yes"), ("stream", 1), ("suffix", 5), ("logprobs", True)],
)
def test_a_wrong_type_names_its_field(name, value):
    assert refused({"prompt": "a", name: value}).param == name


def test_stops_are_emulated_and_at_most_four():
    assert understood(stop=["a", "", "b"]).reply.options.stops == ("a", "b")
    assert refused({"prompt": "a", "stop": ["a"] * 5}).param == "stop"


# --- Model, reasoning, search ----------------------------------------------------------------


def test_the_model_is_the_clients_or_the_default():
    assert understood(model="gpt-5.5-high").model == "gpt-5.5-high"
    assert sent(model="gpt-5.5-high")[0]["reasoning"] == {"effort": "high"}
    assert understood(model=None, defaults={"model": "gpt-6-sol"}).model == "gpt-6-sol"


def test_thinking_is_not_shown_and_not_asked_for():
    for style in ("think-tags", "o3", "reasoning-content"):
        turn = understood(defaults={"reasoning_style": style})
        assert turn.request.reasoning.summary is None


def test_an_effort_may_be_named():
    assert sent(reasoning_effort="low")[0]["reasoning"] == {"effort": "low"}
    assert refused({"prompt": "a", "reasoning_effort": "huge"}).param == "reasoning_effort"


def test_web_search_as_everywhere():
    search = [{"type": "web_search"}]
    assert sent(responses_tools=search)[0]["tools"] == search
    assert sent(defaults={"web_search": True})[0]["tools"] == search
    for off in (sent(responses_tool_choice="none", defaults={"web_search": True}), sent(responses_tools=[])):
        assert "tools" not in off[0]


def test_priority_by_suffix_or_by_the_operator():
    assert sent(model="gpt-5.5-fast")[0]["service_tier"] == "priority"
    assert sent(defaults={"fast": True})[0]["service_tier"] == "priority"
