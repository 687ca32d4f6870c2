import contextlib
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import UpstreamBroken
from gptmock.protocol import events as ev
from gptmock.protocol.events import decode_event
from gptmock.protocol.items import (
    CustomToolCallItem,
    FunctionCallItem,
    MessageItem,
    OtherItem,
    ReasoningItem,
    decode_item,
    mended,
)

PLACE = '"output_index":1,"item_id":"i","content_index":2,"summary_index":3'
RESPONSE = '"response":{"id":"resp_1","model":"m","output":[],"usage":null}'
CATALOGUE = {
    "response.created": (RESPONSE, ev.ResponseCreated),
    "response.in_progress": (RESPONSE, ev.ResponseInProgress),
    "response.queued": (RESPONSE, ev.ResponseQueued),
    "response.metadata": ('"headers":{}', ev.ResponseMetadata),
    "response.output_item.added": ('"item":{"type":"message","id":"i"}', ev.OutputItemAdded),
    "response.output_item.done": ('"item":{"type":"message","id":"i"}', ev.OutputItemDone),
    "response.content_part.added": ('"part":{"type":"output_text"}', ev.ContentPartAdded),
    "response.content_part.done": ('"part":{"type":"output_text","text":"x"}', ev.ContentPartDone),
    "response.output_text.delta": ('"delta":"x"', ev.OutputTextDelta),
    "response.output_text.done": ('"text":"x"', ev.OutputTextDone),
    "response.output_text.annotation.added": ('"annotation":{"type":"url_citation"}', ev.OutputTextAnnotationAdded),
    "response.refusal.delta": ('"delta":"x"', ev.RefusalDelta),
    "response.refusal.done": ('"refusal":"x"', ev.RefusalDone),
    "response.reasoning_summary_part.added": ('"part":{"type":"summary_text"}', ev.ReasoningSummaryPartAdded),
    "response.reasoning_summary_part.done": ('"part":{"type":"summary_text"}', ev.ReasoningSummaryPartDone),
    "response.reasoning_summary_text.delta": ('"delta":"x"', ev.ReasoningSummaryTextDelta),
    "response.reasoning_summary_text.done": ('"text":"x"', ev.ReasoningSummaryTextDone),
    "response.reasoning_text.delta": ('"delta":"x"', ev.ReasoningTextDelta),
    "response.reasoning_text.done": ('"text":"x"', ev.ReasoningTextDone),
    "response.function_call_arguments.delta": ('"delta":"x"', ev.FunctionCallArgumentsDelta),
    "response.function_call_arguments.done": ('"arguments":"x"', ev.FunctionCallArgumentsDone),
    "response.custom_tool_call_input.delta": ('"delta":"x"', ev.CustomToolCallInputDelta),
    "response.custom_tool_call_input.done": ('"input":"x"', ev.CustomToolCallInputDone),
    "response.image_generation_call.partial_image": ('"partial_image_b64":"x"', ev.ImagePartial),
    "response.completed": (RESPONSE, ev.ResponseCompleted),
    "response.done": (RESPONSE, ev.ResponseCompleted),
    "response.incomplete": (RESPONSE, ev.ResponseIncomplete),
    "response.failed": (RESPONSE, ev.ResponseFailed),
    "response.cancelled": (RESPONSE, ev.ResponseFailed),
    "error": ('"message":"x"', ev.ErrorEvent),
    "codex.rate_limits": ('"plan_type":"plus"', ev.OtherEvent),
}
NEEDS = {
    "response.created": "response",
    "response.completed": "response",
    "response.done": "response",
    "response.incomplete": "response",
    "response.failed": "response",
    "response.cancelled": "response",
    "response.output_item.added": "item",
    "response.output_item.done": "item",
    "response.content_part.done": "part",
    "response.reasoning_summary_part.done": "part",
    "response.output_text.delta": "delta",
    "response.output_text.done": "text",
    "response.output_text.annotation.added": "annotation",
    "response.refusal.delta": "delta",
    "response.refusal.done": "refusal",
    "response.reasoning_summary_text.delta": "delta",
    "response.reasoning_summary_text.done": "text",
    "response.reasoning_text.delta": "delta",
    "response.reasoning_text.done": "text",
    "response.function_call_arguments.delta": "delta",
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.delta": "delta",
    "response.custom_tool_call_input.done": "input",
    "response.image_generation_call.partial_image": "partial_image_b64",
}


@pytest.mark.parametrize(("kind", "members", "expected"), [(kind, *row) for kind, row in CATALOGUE.items()])
def test_each_event_is_known_by_its_tag_wherever_the_tag_stands(kind, members, expected):
    extra = f'"sequence_number":3,"unheard_of":{{"a":[1]}},{PLACE}'
    for data in (f'{{"type":"{kind}",{members},{extra}}}', f'{{{extra},{members},"type":"{kind}"}}'):
        assert type(decode_event(data.encode())) is expected


def test_the_catalogue_above_has_every_event_of_the_union():
    assert {expected for _, expected in CATALOGUE.values()} == set(get_args(ev.ResponseEvent))


@pytest.mark.parametrize(("kind", "member"), NEEDS.items())
def test_a_known_event_without_what_is_acted_on_breaks_the_stream(kind, member):
    # An item that is no object is one of an unknown type.
    values = [""] if member == "item" else ["", f',"{member}":null', f',"{member}":5']
    for data in (f'{{"type":"{kind}"{value}}}' for value in values):
        with pytest.raises(UpstreamBroken) as caught:
            decode_event(data.encode())
        assert caught.value.code == "upstream_bad_event"
        assert kind in caught.value.message or f"`$.{member}`" in caught.value.message


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE if kind not in NEEDS])
def test_an_event_that_nobody_acts_on_needs_nothing(kind):
    assert decode_event(f'{{"type":"{kind}"}}'.encode()) is not None


def test_a_wrong_shape_names_the_place_and_never_the_value():
    with pytest.raises(UpstreamBroken, match=r"response.output_text.delta .* `\$.delta`") as caught:
        decode_event(b'{"type":"response.output_text.delta","delta":{"secret":"swordfish"}}')
    assert "swordfish" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{not json", id="no JSON"),
        pytest.param(b"[1,2]", id="an array"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[DONE]", id="the end of other backends"),
        pytest.param(b'{"delta":"x"}', id="no type"),
        pytest.param(b'{"type":null}', id="a null type"),
        pytest.param(b'{"type":5}', id="a number as type"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"type":"response.output_text.delta","delta":"x"} more', id="something behind it"),
        pytest.param(b'{"type":"unknown","x":' + b"[" * 100_000, id="deep and cut"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep"),
    ],
)
def test_what_is_no_event_is_none(data):
    assert decode_event(data) is None


@pytest.mark.parametrize("kind", ["codex.blob", "response.output_text.delta"])
@pytest.mark.parametrize("first", [True, False])
def test_deep_nesting_is_survived(kind, first):
    deep = b'"x":' + b"[" * 50_000 + b"]" * 50_000
    tag = b'"type":"' + kind.encode() + b'","delta":"x"'
    event = decode_event(b"{" + (tag + b"," + deep if first else deep + b"," + tag) + b"}")
    assert event is None or isinstance(event, ev.OtherEvent)


def test_undecodable_bytes_are_replaced():
    event = decode_event(b'{"type":"response.output_text.delta","delta":"a\xffb"}')
    assert event == ev.OutputTextDelta(delta="a\ufffdb")


def test_undecodable_bytes_inside_an_item_are_replaced():
    event = decode_event(b'{"type":"response.output_item.done","item":{"type":"message","id":"\xff"}}')
    assert event == ev.OutputItemDone(item=MessageItem(id="\ufffd"))


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"a\ud83d", "a\ufffd"),
        (rb"\udd25b", "\ufffdb"),
        (rb"\ud83d\ud83d\udd25", "\ufffd🔥"),
        (rb"\\ud83d \ud83d", r"\ud83d " + "\ufffd"),
        (rb"\ud83d\udd25", "🔥"),
    ],
)
def test_half_a_surrogate_pair_is_replaced_and_the_rest_kept(escaped, text):
    # A model that writes half of an emoji in one delta must not lose the delta.
    event = decode_event(b'{"type":"response.output_text.delta","delta":"' + escaped + b'"}')
    assert event == ev.OutputTextDelta(delta=text)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_none_or_broken(data):
    for body in (data, b'{"type":"response.output_text.delta","delta":"' + data + b'"}'):
        with contextlib.suppress(UpstreamBroken):
            decode_event(body)


@given(st.text(max_size=30))
def test_mending_leaves_sound_text_alone(text):
    data = msgspec.json.encode(text.encode("utf-8", "replace").decode())
    assert mended(data) == data


# --- Items ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"type":"message","id":"m","phase":"commentary"}', MessageItem(id="m", phase="commentary")),
        ('{"type":"reasoning","id":"r","encrypted_content":"g"}', ReasoningItem(id="r", encrypted_content="g")),
        (
            '{"type":"function_call","call_id":"c","name":"f","arguments":""}',
            FunctionCallItem(call_id="c", name="f", arguments=""),
        ),
        ('{"type":"custom_tool_call","call_id":"c","name":"f"}', CustomToolCallItem(call_id="c", name="f")),
        ('{"type":"hologram","id":5}', OtherItem(type="hologram")),
        ('{"id":"x"}', OtherItem(type="")),
        ("[1]", OtherItem(type="")),
        ("null", OtherItem(type="")),
        (r'{"type":"message","id":"\ud800"}', MessageItem(id="\ufffd")),
        ('{"type":"message","id":"' + "[" * 5000 + '"}', MessageItem(id="[" * 5000)),
        ('{"type":"message","x":' + "[" * 5000 + "]" * 5000 + "}", OtherItem(type="")),
    ],
)
def test_an_item_is_known_by_its_type(data, expected):
    assert decode_item(msgspec.Raw(data.encode())) == expected


@pytest.mark.parametrize("data", ['{"type":"function_call","name":"f"}', '{"type":"message","content":"text"}'])
def test_a_known_item_of_a_wrong_shape_breaks_the_stream(data):
    with pytest.raises(UpstreamBroken, match="item "):
        decode_item(msgspec.Raw(data.encode()))
