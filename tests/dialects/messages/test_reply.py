import json

import pytest
from hypothesis import given

from gptmock.dialects.dialect import Progress, ReplyHead, Turn
from gptmock.dialects.messages.reply import PING, MessagesReply
from gptmock.dialects.messages.signatures import opened
from gptmock.dialects.table import DIALECTS
from gptmock.errors import UpstreamFailed
from gptmock.protocol.fold import ResponseFold
from gptmock.protocol.items import ResponseUsage
from gptmock.simulator.scenes import render_scene
from tests.dialects.messages.asked import TOOL, understood
from tests.messages_client import fold_messages
from tests.playbook import RepeatableSealing, events_of, sse, translate
from tests.streams import stories

THINKS = {"type": "adaptive", "display": "summarized"}


def delta(text, *, kind="output_text", **place):
    return {"type": f"response.{kind}.delta", "delta": text, **place}


def done(item, index):
    return {"type": "response.output_item.done", "item": item, "output_index": index}


def added(item, index):
    return {"type": "response.output_item.added", "item": item, "output_index": index}


def completed(kind="completed", **response):
    return {"type": f"response.{kind}", "response": response}


def streamed(upstream, **body):
    message, error = fold_messages(translate(understood({"stream": True, **body}), upstream))
    assert error is None, error
    return message


def failed(upstream, **body):
    _, error = fold_messages(translate(understood({"stream": True, **body}), upstream))
    assert error is not None
    return error


def collected(upstream, **body):
    turn = understood(body)
    fold = ResponseFold()
    for received in events_of(upstream):
        fold.feed(received)
    return json.loads(turn.reply.document(ReplyHead("0" * 29, 0), fold.finish()))


def test_the_table_has_this_dialect():
    assert [route.paths[0] for route in DIALECTS if route.name == "messages"] == ["/v1/messages"]


# --- Endings -----------------------------------------------------------------------------------


@pytest.mark.check(225)
def test_a_stop_sequence_is_found_over_deltas():
    upstream = sse(delta("one ST"), delta("OP two"), delta(" three"), completed())
    message = streamed(upstream, stop_sequences=["STOP", "never"])
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "STOP")
    missed = streamed(upstream, stop_sequences=["never", "three!"])
    assert (missed["stop_reason"], missed["content"][0]["text"]) == ("end_turn", "one STOP two three")


@pytest.mark.check(225)
def test_nothing_follows_a_stop_sequence():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    upstream = sse(delta("aSTOP", output_index=0), done(call, 1), completed())
    message = streamed(upstream, stop_sequences=["STOP"])
    assert [block["type"] for block in message["content"]] == ["text"]
    assert message["stop_reason"] == "stop_sequence"


@pytest.mark.check(226)
@pytest.mark.parametrize("code", ["cyber_policy", "bio_policy"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_refusal_by_policy_is_an_answer(code, begun):
    events = [delta("Well", output_index=0)] if begun else []
    error = {"code": code, "message": "Refused by policy."}
    upstream = sse(*events, completed("failed", error=error))
    message = streamed(upstream)
    assert message["stop_reason"] == "refusal"
    category = code.partition("_")[0]
    details = {"type": "refusal", "category": category, "explanation": "Refused by policy."}
    assert message["stop_details"] == details
    plan = understood({}).reply
    assert isinstance(plan, MessagesReply)
    body = plan.answer(ReplyHead("0" * 29, 0), UpstreamFailed("Refused by policy.", code=code))
    assert body is not None
    assert json.loads(body)["stop_details"] == details
    assert plan.answer(ReplyHead("0" * 29, 0), UpstreamFailed("x", code="server_error")) is None


@pytest.mark.check(226)
def test_a_refusal_of_the_model_is_shown_and_explained():
    for message in (streamed(render_scene("refusal")), collected(render_scene("refusal"))):
        assert message["stop_reason"] == "refusal"
        assert message["content"][0]["text"] == message["stop_details"]["explanation"]
    assert streamed(render_scene("filter"))["stop_details"]["category"] is None


@pytest.mark.check(227)
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "max_tokens"),
        ("content_filter", "refusal"),
        ("max_context_length", "model_context_window_exceeded"),
        ("unheard_of", "max_tokens"),
    ],
)
def test_stopped_early(reason, expected):
    upstream = sse(delta("a"), completed("incomplete", incomplete_details={"reason": reason}))
    assert streamed(upstream)["stop_reason"] == collected(upstream)["stop_reason"] == expected


@pytest.mark.check(227)
@pytest.mark.parametrize(("arguments", "expected"), [('{"a":1}', "tool_use"), ('{"a":', "max_tokens")])
def test_a_call_that_was_cut_is_not_to_be_run(arguments, expected):
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments}
    upstream = sse(done(call, 0), completed("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert streamed(upstream)["stop_reason"] == collected(upstream)["stop_reason"] == expected


@pytest.mark.check(227)
def test_a_context_that_is_full_ends_the_message_only_after_content():
    error = {"code": "context_length_exceeded", "message": "too long"}
    message = streamed(sse(delta("a", output_index=0), completed("failed", error=error)))
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert failed(sse(completed("failed", error=error)))["type"] == "invalid_request_error"


@pytest.mark.check(210)
def test_a_prompt_that_is_too_long_says_both_numbers():
    plan = understood({"model": "gpt-5.5", "system": "word " * 400_000}).reply
    assert isinstance(plan, MessagesReply)
    said = plan.reworded(UpstreamFailed("Your input exceeds the context window.", code="context_length_exceeded"))
    words = said.message.split()
    assert words[:4] == ["prompt", "is", "too", "long:"]
    assert (words[5:7], words[7:]) == (["tokens", ">"], ["272000", "maximum"])
    assert int(words[4]) > 400_000
    assert plan.reworded(said) is said
    short = understood({"model": "gpt-5.5"}).reply
    assert isinstance(short, MessagesReply)
    error = UpstreamFailed("x", code="context_length_exceeded")
    assert short.reworded(error).message == "prompt is too long: 272001 tokens > 272000 maximum"


# --- Blocks ------------------------------------------------------------------------------------


@pytest.mark.check(228)
def test_what_is_interleaved_comes_one_after_the_other():
    first = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    second = {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "g", "arguments": '{"b":2}'}
    arguments = "function_call_arguments"
    upstream = sse(
        added({**first, "arguments": ""}, 0),
        added({**second, "arguments": ""}, 1),
        delta('{"b":', kind=arguments, output_index=1),
        delta('{"a":', kind=arguments, output_index=0),
        delta("2}", kind=arguments, output_index=1),
        done(second, 1),
        delta("1}", kind=arguments, output_index=0),
        done(first, 0),
        delta("text", output_index=2),
        completed(),
    )
    for message in (streamed(upstream, tools=[TOOL]), collected(upstream, tools=[TOOL])):
        assert [(block.get("name"), block.get("input")) for block in message["content"]] == [
            ("f", {"a": 1}),
            ("g", {"b": 2}),
            (None, None),
        ]


@pytest.mark.check(229)
@given(story=stories(mixed=True))
def test_each_block_is_opened_and_closed_once(story):
    frames = translate(understood({"stream": True, "thinking": THINKS}), story.upstream).joined.decode()
    events = [json.loads(line[6:]) for line in frames.split("\n") if line.startswith("data: ")]
    open_now: list[int] = []
    closed: list[int] = []
    for event in events:
        if event["type"] == "content_block_start":
            assert open_now == []
            open_now.append(event["index"])
        elif event["type"] == "content_block_stop":
            closed.append(open_now.pop())
            assert closed[-1] == event["index"]
    assert closed == list(range(len(closed)))


def test_a_call_without_arguments_and_a_finished_one():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": ""}
    whole = {**call, "call_id": "c2", "arguments": '{"a": "é"}'}
    upstream = sse(added(call, 0), done(call, 0), done(whole, 1), completed())
    message = streamed(upstream)
    assert [block["input"] for block in message["content"]] == [{}, {"a": "é"}]
    assert message["stop_reason"] == "tool_use"
    assert collected(upstream)["content"] == message["content"]


@pytest.mark.check(312)
@pytest.mark.parametrize("display", ["summarized", "omitted"])
def test_an_empty_summary_gives_a_signed_block(display):
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA1"}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    upstream = sse(added(thought, 0), done(thought, 0), done(call, 1), completed())
    message = streamed(upstream, thinking={"type": "adaptive", "display": display})
    block, tool = message["content"]
    assert (block["type"], block["thinking"], tool["type"]) == ("thinking", "", "tool_use")
    sealed = opened(block["signature"], RepeatableSealing(), "")
    assert sealed is not None
    assert (sealed.item_id, sealed.encrypted_content) == ("rs_1", "gAAAA1")
    assert [one["type"] for one in streamed(upstream)["content"]] == ["tool_use"]


@pytest.mark.check(207)
def test_the_signature_names_the_account_that_serves():
    turn = understood({"thinking": THINKS})
    assert isinstance(turn, Turn)
    fold = ResponseFold()
    for received in events_of(render_scene("reasoning")):
        fold.feed(received)
    head = ReplyHead("0" * 29, 0, Progress(account_id="acct"))
    block = json.loads(turn.reply.document(head, fold.finish()))["content"][0]
    sealed = opened(block["signature"], RepeatableSealing(), "")
    assert sealed is not None
    assert sealed.account_id == "acct"
    assert block["thinking"].count("\n\n**") == 1


@pytest.mark.check(204)
def test_a_search_has_its_blocks_and_links():
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "https://a.test"}]},
    }
    note = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 4, "end_index": 6}
    text = {"type": "message", "content": [{"type": "output_text", "text": "see [A] now", "annotations": [note]}]}
    upstream = sse(done(search, 0), done(text, 1), completed(usage={"input_tokens": 5, "output_tokens": 6}))
    message = streamed(upstream)
    use, found, answer = message["content"]
    assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "web_search", {"query": "q"})
    assert use["id"].startswith("srvtoolu_")
    assert found["tool_use_id"] == use["id"]
    assert [one["url"] for one in found["content"]] == ["https://a.test"]
    assert answer["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://a.test",
            "title": "A",
            "cited_text": "[A",
            "encrypted_index": "",
        }
    ]
    assert message["usage"]["server_tool_use"] == {"web_search_requests": 1}
    assert message["stop_reason"] == "end_turn"


# --- Usage and errors --------------------------------------------------------------------------


@pytest.mark.check(231)
@pytest.mark.parametrize(
    ("details", "expected"),
    [
        (None, (10, 0, 0)),
        ({"cached_tokens": 4}, (6, 0, 4)),
        ({"cached_tokens": 4, "cache_write_tokens": 3}, (3, 3, 4)),
        ({"cached_tokens": 9, "cache_write_tokens": 3}, (0, 1, 9)),
        ({"cached_tokens": 12}, (0, 0, 10)),
    ],
)
def test_usage_adds_up(details, expected):
    usage = {"input_tokens": 10, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}}
    upstream = sse(delta("a"), completed(usage=usage | ({"input_tokens_details": details} if details else {})))
    for message in (streamed(upstream), collected(upstream)):
        said = message["usage"]
        names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        assert tuple(said[name] for name in names) == expected
        assert sum(expected) == 10
        assert (said["output_tokens"], said["output_tokens_details"]) == (7, {"thinking_tokens": 2})


def test_without_usage_there_are_zeros():
    assert streamed(sse(delta("a"), completed()))["usage"]["input_tokens"] == ResponseUsage().input_tokens == 0


@pytest.mark.check(307)
def test_nothing_is_said_before_the_first_item():
    turn = understood({"stream": True})
    translator = turn.reply.translator(ReplyHead("0" * 29, 0))
    events = events_of(render_scene("queued"))
    assert [bool(translator.feed(event)) for event in events[:4]] == [False, False, False, True]


@pytest.mark.check(230)
def test_a_ping_is_an_event():
    assert understood({}).reply.heartbeat(ReplyHead("0" * 29, 0)) == PING
    assert PING == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_an_error_after_the_beginning_names_the_request():
    turn = understood({"stream": True})
    translator = turn.reply.translator(ReplyHead("0" * 29, 0, request_id="req-1"))
    last = [frame for event in events_of(render_scene("failed-mid")) for frame in translator.feed(event)][-1]
    said = json.loads(last.split(b"data: ")[1])
    assert (said["type"], said["request_id"]) == ("error", "req-1")
    assert said["error"]["type"] in ("api_error", "overloaded_error")
