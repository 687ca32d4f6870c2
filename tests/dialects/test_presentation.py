import pytest

from gptmock.dialects.presentation import Citation, Conclusion, Content, Presenter, Thought, shown_style
from gptmock.protocol.items import Annotation
from gptmock.protocol.output_parts import CallInput, CallOpened, Cited, Finished, Reasoning, Refusal, Text

END = Finished(incomplete_reason=None, usage=None, service_tier=None, model=None)
CALL = CallOpened(0, kind="function", call_id="c", name="sent")


def thought(text, part=0, source="summary"):
    return Reasoning(text, part=part, source=source)


def text(text, part=0, message=None):
    return Text(text, part=part, message=part if message is None else message)


def cite(part, start, end, **more):
    return Cited(
        part, Annotation(**{"type": "url_citation", "url": "u", "title": "t", **more}, start_index=start, end_index=end)
    )


def show(*pieces, style="think-tags", stops=(), names=None):
    presenter = Presenter(style, stops, names or {})
    return [shown for piece in pieces for shown in presenter.feed(piece)]


def content(*pieces, **more):
    return "".join(shown.text for shown in show(*pieces, **more) if isinstance(shown, Content))


def end(*pieces, **more):
    conclusion = show(*pieces, **more)[-1]
    assert isinstance(conclusion, Conclusion)
    return conclusion


# --- Thinking: checks 56, 57 -------------------------------------------------------------------


@pytest.mark.check(57)
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([thought("a"), text("b"), END], "<think>a</think>b"),
        ([thought("a"), thought("b"), END], "<think>ab</think>"),
        ([thought("a"), thought("b", 1), text("c"), END], "<think>a\n\nb</think>c"),
        ([thought("a"), text("b"), thought("c", 1), text("d", 1), END], "<think>a</think>b<think>c</think>\n\nd"),
        ([thought("a"), CALL, END], "<think>a</think>"),
        ([thought("a"), Refusal("no"), END], "<think>a</think>"),
        ([thought("a"), END], "<think>a</think>"),
        ([text("a"), END], "a"),
    ],
)
def test_think_tags_are_one_pair_for_each_run(pieces, expected):
    assert content(*pieces) == expected


def test_tags_are_closed_before_a_call():
    assert show(thought("a"), CALL)[-2:] == [Content("</think>"), CALL]


@pytest.mark.check(56)
@pytest.mark.parametrize("style", ["o3", "legacy", "reasoning-content"])
def test_other_styles_show_thinking_beside_the_answer(style):
    shown = show(thought("a"), thought("b", 1), text("c"), thought("d", 2, "text"), END, style=style)
    assert shown[:4] == [
        Thought("a", "summary"),
        Thought("\n\nb", "summary"),
        Content("c"),
        Thought("\n\nd", "text"),
    ]


@pytest.mark.check(57)
def test_hidden_shows_none():
    assert show(thought("a"), text("b"), style="hidden") == [Content("b")]


@pytest.mark.parametrize(
    ("style", "json_format", "shown"),
    [
        ("think-tags", False, "think-tags"),
        ("think-tags", True, "reasoning-content"),
        ("hidden", True, "hidden"),
        ("o3", True, "o3"),
    ],
)
def test_a_json_answer_has_no_tags(style, json_format, shown):
    assert shown_style(style, json_format=json_format) == shown


# --- Text, stops, calls ----------------------------------------------------------------------------


def test_messages_are_separated_and_parts_are_not():
    assert content(text("a"), text("b", 1, 0), text("c", 2, 1), END) == "ab\n\nc"


def test_nothing_is_shown_after_a_stop_but_the_end():
    shown = show(text("ab STOP cd"), thought("t"), text("e", 1), CALL, CallInput(0, "{}"), END, stops=("STOP",))
    assert shown[:-1] == [Content("ab ")]
    assert shown[-1].reason == "stop"


def test_a_stop_does_not_reach_into_thinking():
    assert content(thought("STOP"), text("a"), END, stops=("STOP",)) == "<think>STOP</think>a"


def test_what_was_held_back_comes_before_what_follows():
    assert show(text("abST"), CALL, stops=("STOP",)) == [Content("ab"), Content("ST"), CALL]


def test_a_call_has_the_clients_own_name():
    assert show(CALL, names={"sent": "own.name"})[0].name == "own.name"


@pytest.mark.check(111)
@pytest.mark.parametrize(
    ("pieces", "incomplete", "stops", "reason"),
    [
        ([text("a")], None, (), "stop"),
        ([], None, (), "stop"),
        ([CALL], None, (), "tool_calls"),
        ([text("a"), CALL], None, (), "tool_calls"),
        ([text("a")], "max_output_tokens", (), "length"),
        ([text("a")], "weather", (), "length"),
        ([CALL], "max_output_tokens", (), "length"),  # check 111
        ([text("a")], "content_filter", (), "content_filter"),
        ([CALL], "content_filter", (), "content_filter"),
        ([text("aX")], "max_output_tokens", ("X",), "stop"),
        ([text("aX"), CALL], None, ("X",), "stop"),
        ([CALL, text("aX")], None, ("X",), "tool_calls"),
        ([Refusal("no")], None, (), "stop"),
    ],
)
def test_the_finish_reason(pieces, incomplete, stops, reason):
    finished = Finished(incomplete_reason=incomplete, usage=None, service_tier=None, model=None)
    assert end(*pieces, finished, stops=stops).reason == reason


# --- Citations -----------------------------------------------------------------------------------------


def test_a_citation_points_into_the_shown_text():
    pieces = [thought("t"), text("one"), cite(0, 0, 3), text("two", 1), cite(1, 0, 3), END]
    whole = content(*pieces)
    found = [whole[one.start_index : one.end_index] for one in end(*pieces).citations]
    assert found == ["one", "two"]
    assert end(*pieces).citations[0] == Citation("u", "t", start_index=16, end_index=19)


def test_a_citation_points_right_where_text_was_held_back():
    pieces = [text("abS"), text("Tcd", 1), cite(1, 0, 3), END]
    (one,) = end(*pieces, stops=("STOP",)).citations
    assert content(*pieces, stops=("STOP",))[one.start_index : one.end_index] == "Tcd"


@pytest.mark.parametrize(
    "note",
    [cite(0, 0, 1, type="file_citation"), cite(0, 0, 1, url=None), cite(0, 0, 99), cite(7, 0, 1)],
    ids=["other type", "no url", "beyond the text", "text never shown"],
)
def test_a_citation_of_nothing_is_left_out(note):
    assert end(text("abc"), note, END).citations == ()


def test_a_citation_of_text_after_a_stop_is_left_out():
    assert end(text("abcX"), text("def", 1), cite(1, 0, 1), END, stops=("X",)).citations == ()
