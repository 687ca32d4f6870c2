import json

import pytest

from gptmock.dialects.completions.reply import CompletionReply
from gptmock.dialects.table import DIALECTS
from gptmock.protocol.fold import ResponseFold
from gptmock.simulator.scenes import render_scene
from tests.playbook import (
    HEAD,
    Frames,
    as_client,
    collect,
    completion_body,
    completion_document,
    decode,
    events_of,
    play,
    sse,
)

(ROUTE,) = (route for route in DIALECTS if route.name == "completions")
USAGE = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "output_tokens_details": {"reasoning_tokens": 2}}
END = {"type": "response.completed", "response": {"usage": USAGE, "service_tier": "priority"}}


def delta(kind, text):
    return {"type": f"response.{kind}.delta", "output_index": 0, "delta": text}


def answer(text, end=END):
    return sse(delta("output_text", text), end)


def chunks(frames):
    lines = [frame.removeprefix("data: ") for frame in frames.joined.decode().split("\n\n")[:-1]]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def one_after_another(upstreams, **asked):
    """The streamed reply to several upstream turns, as the gateway drives it."""
    turn = decode(ROUTE, completion_body(**asked))
    translator, frames = turn.reply.translator(HEAD), Frames()
    for upstream in upstreams:
        for received in events_of(upstream):
            frames.came(received.event)
            frames.went(translator.feed(received))
    frames.went(translator.finish())
    return frames


def together(upstreams, **asked):
    """The document of several upstream turns."""
    folds = []
    for upstream in upstreams:
        fold = ResponseFold()
        for received in events_of(upstream):
            fold.feed(received)
        folds.append(fold.finish())
    turn = decode(ROUTE, completion_body(**asked))
    assert isinstance(turn.reply, CompletionReply)
    return completion_document(turn.reply.documents(HEAD, folds))


@pytest.mark.check(100)
def test_a_text():
    frames = play(ROUTE, sse(delta("output_text", "Hel"), delta("output_text", "lo"), END))
    assert [chunk["choices"] for chunk in chunks(frames)] == [
        [{"text": "Hel", "index": 0, "logprobs": None, "finish_reason": None}],
        [{"text": "lo", "index": 0, "logprobs": None, "finish_reason": None}],
        [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        [],
    ]
    assert {chunk["object"] for chunk in chunks(frames)} == {"text_completion"}
    assert chunks(frames)[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert frames[-1] == b"data: [DONE]\n\n"


def test_without_include_usage_nobody_speaks_of_it():
    frames = play(ROUTE, answer("a"), body=completion_body(stream_options=None))
    assert b"usage" not in frames.joined


@pytest.mark.check(101)
def test_the_echo_comes_first():
    body = completion_body(prompt="Once", echo=True)
    assert [chunk["choices"][0]["text"] for chunk in chunks(play(ROUTE, answer(" upon"), body=body))[:2]] == [
        "Once",
        " upon",
    ]
    collected = collect(ROUTE, answer(" upon"), body=body)
    assert isinstance(collected, bytes)
    assert completion_document(collected)["choices"][0]["text"] == "Once upon"


def test_a_stop_sequence_cuts_the_answer_and_not_the_echo():
    read = as_client(
        ROUTE, play(ROUTE, answer("a STOP b"), body=completion_body(prompt="STOP?", echo=True, stop="STOP"))
    )
    assert read.reply["choices"][0]["text"] == "STOP?a "


@pytest.mark.check(100)
def test_several_prompts_are_choices_with_their_index():
    upstreams = [answer("one"), answer("two"), render_scene("text")]
    asked = {"prompt": ["a", "b", "c"]}
    read = as_client(ROUTE, one_after_another(upstreams, **asked))
    assert [(choice["index"], choice["text"]) for choice in read.reply["choices"]][:2] == [(0, "one"), (1, "two")]
    assert len(read.reply["choices"]) == 3
    assert read.reply == together(upstreams, **asked)


@pytest.mark.check(101)
def test_several_prompts_are_echoed_each_before_its_answer():
    upstreams, asked = [answer("1"), answer("2")], {"prompt": ["a", "b"], "echo": True}
    read = as_client(ROUTE, one_after_another(upstreams, **asked))
    assert [choice["text"] for choice in read.reply["choices"]] == ["a1", "b2"]
    assert read.reply == together(upstreams, **asked)


def test_usage_is_the_sum_of_all_turns():
    reply = together([answer("1"), answer("2")], prompt=["a", "b"])
    usage = reply["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (22, 10, 32)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 4


def test_half_a_sum_is_no_usage():
    unknown = answer("2", {"type": "response.completed", "response": {}})
    for upstreams in ([answer("1"), unknown], [unknown, answer("1")]):
        read = as_client(ROUTE, one_after_another(upstreams, prompt=["a", "b"]))
        assert "usage" not in read.reply
        assert read.reply == together(upstreams, prompt=["a", "b"])


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_an_answer_that_is_missing_is_never_success(answered):
    frames = one_after_another([answer("x")] * answered, prompt=["a", "b", "c"])
    assert not as_client(ROUTE, frames).succeeded
    assert b"[DONE]" not in frames.joined


def test_a_later_answer_that_fails_ends_the_stream():
    failed = sse({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "no"}}})
    frames = one_after_another([answer("1"), failed, answer("3")], prompt=["a", "b", "c"])
    read = as_client(ROUTE, frames)
    assert read.error is not None
    assert read.error["code"] == "server_error"


@pytest.mark.parametrize(
    ("scene", "reason"), [("incomplete", "length"), ("filter", "content_filter"), ("tool", "stop"), ("text", "stop")]
)
def test_the_reasons_are_those_that_the_api_knows(scene, reason):
    read = as_client(ROUTE, play(ROUTE, render_scene(scene)))
    assert read.reply["choices"][0]["finish_reason"] == reason


def test_a_refusal_is_text_where_there_is_no_other_place():
    read = as_client(ROUTE, play(ROUTE, render_scene("refusal")))
    assert read.reply["choices"][0]["text"].startswith("I'm sorry")
