from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from gptmock.server.logs import JsonLines, TextLines, has_colours
from gptmock.server.terminal_lines import MAX_COLUMNS, MIN_COLUMNS, TerminalLines

TURN: dict[str, Any] = {
    "dialect": "chat",
    "account": "0123456789abcdef",
    "model": "gpt-5.5",
    "status": 200,
    "ended": "ok",
    "first_seconds": 0.414,
    "seconds": 3.2,
    "input_tokens": 1234,
    "output_tokens": 345,
    "at_terminal": {"effort": "high", "label": "ada@example.test"},
}


def record(event: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("gptmock.test").makeRecord("gptmock.test", level, __file__, 1, event, (), None, "", extra)
    made.created = 1_790_000_000.25
    return made


def shown(made: logging.LogRecord, columns: int = MAX_COLUMNS) -> str:
    """A formatted line without its time."""
    line = TerminalLines(lambda: columns, colour=False).format(made)
    assert re.match(r"\d\d:\d\d:\d\d ", line)
    return line[9:]


def test_a_turn_is_one_short_line():
    assert shown(record("turn", **TURN)).split() == [
        *("200", "chat", "gpt-5.5", "high", "1.2k→345", "tok", "0.41s", "3.20s", "ada@example.test")
    ]


def test_lines_stand_below_each_other():
    lines = [
        shown(record("turn", **{**TURN, **more}))
        for more in (
            {"input_tokens": 7, "output_tokens": 12_345},
            {"model": "gpt-5", "dialect": "ollama_chat"},
            {"ended": "client_gone", "input_tokens": None, "output_tokens": None},
            {"first_seconds": None, "seconds": 999.0},
        )
    ]
    assert {line.index(" ada@") for line in lines} == {lines[0].index(" ada@")}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"ended": "client_gone", "output_tokens": None}, "client_gone"),
        ({"ended": "upstream_stream_truncated", "status": 502, "input_tokens": None}, "upstream_stream_truncated"),
        ({"model": None, "at_terminal": {}, "input_tokens": None, "ended": "invalid_json", "status": 400}, "- "),
        ({"at_terminal": {"label": None, "effort": None}}, "0123456789abcdef"),
        ({"input_tokens": 1_234_567, "output_tokens": 45_678}, "1.2M→45k tok"),
        ({"seconds": 245.0}, "4m05s"),
        ({"seconds": 12.34}, "12.3s"),
    ],
)
def test_what_a_turn_shows(more: dict[str, Any], expected: str):
    assert expected in shown(record("turn", **{**TURN, **more}))


@pytest.mark.parametrize("columns", [0, MIN_COLUMNS, 60, 80, MAX_COLUMNS, 300])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"at_terminal": {"label": "a" * 300, "effort": "high"}},
        {"at_terminal": {"label": "日本" * 60, "effort": "high"}},
        {"model": "m" * 300, "ended": "upstream_stream_truncated"},
        {"dialect": "ollama_generate", "ended": "e" * 120, "input_tokens": None},
    ],
)
def test_a_turn_fits_the_terminal_and_a_hundred_columns(more: dict[str, Any], columns: int):
    line = "12:00:00 " + shown(record("turn", **{**TURN, **more}), columns)
    wide = sum(2 if letter in "日本" else 1 for letter in line)
    assert wide <= max(MIN_COLUMNS, min(columns, MAX_COLUMNS))
    assert "\n" not in line


def test_a_refused_request_is_one_short_line():
    made = record("request", request_id="r", method="GET", path="/v1/" + "x" * 200, status=404, ended="unknown_url")
    line = shown(made)
    assert line.startswith("404 GET /v1/xxx")
    assert line.endswith("… unknown_url")
    assert len(line) + 9 <= MAX_COLUMNS
    assert shown(record("request", method="PUT", path="/v1", status=405, ended="no")) == "405 PUT /v1 no"


def test_other_events_keep_their_fields():
    made = record("store.unavailable", logging.WARNING, reason="Redis does not answer in time.")
    assert shown(made) == 'warning store.unavailable reason="Redis does not answer in time."'


def test_a_traceback_stands_below():
    made = record("turn.broken", logging.ERROR)
    try:
        int("planted")
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    first, *rest = shown(made).splitlines()
    assert first == "error turn.broken"
    assert rest[-1].startswith("ValueError: ")


@pytest.mark.parametrize("value", ["two\nlines", "\u2028", "\x1b[31m", "\x00", "\udcff"])
@pytest.mark.parametrize("place", ["label", "model", "path"])
def test_no_value_breaks_or_colours_a_line(place: str, value: str):
    if place == "path":
        made = record("request", method="GET", path=value, status=404, ended="unknown_url")
    elif place == "model":
        made = record("turn", **{**TURN, "model": value})
    else:
        made = record("turn", **{**TURN, "at_terminal": {"label": value}})
    assert shown(made).isprintable()


def test_nothing_of_the_shape_of_a_credential_is_shown():
    made = record("request", method="GET", path="/sk-planted-0123456789abcdef", status=404, ended="unknown_url")
    assert "planted" not in shown(made)


def test_colours_say_how_it_went():
    def coloured(**more: Any) -> str:
        return TerminalLines(lambda: 100, colour=True).format(record("turn", **{**TURN, **more}))

    assert "\x1b[32m200\x1b[0m" in coloured()
    assert "\x1b[33m404\x1b[0m" in coloured(status=404, ended="model_not_found", input_tokens=None)
    assert "\x1b[31m502\x1b[0m" in coloured(status=502, ended="upstream_error", input_tokens=None)
    plain = re.sub(r"\x1b\[\d+m", "", coloured())
    assert plain == TerminalLines(lambda: 100, colour=False).format(record("turn", **TURN))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_left_out_where_nobody_wants_them(environment: dict[str, str], expected: bool):  # noqa: FBT001
    assert has_colours(environment) is expected


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_what_is_for_a_terminal_stands_in_no_other_line(lines: logging.Formatter):
    line = lines.format(record("turn", **TURN))
    assert "ada@example.test" not in line
    assert "at_terminal" not in line
