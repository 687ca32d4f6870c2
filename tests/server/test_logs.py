from __future__ import annotations

import json
import logging
import os
import sys
from datetime import datetime
from pathlib import Path

import pytest

from gptmock.accounts import Secret
from gptmock.server.fields import redacted
from gptmock.server.logs import JsonLines, TextLines


def record(**extra: object) -> logging.LogRecord:
    made = logging.getLogger("gptmock.test").makeRecord(
        "gptmock.test", logging.INFO, __file__, 1, "turn", (), None, "here", extra
    )
    made.created = 1_790_000_000.25
    return made


def failed() -> logging.LogRecord:
    made = record()
    try:
        int("planted")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_json_line_is_one_object_with_its_fields():
    line = JsonLines().format(record(model="gpt-5.5", status=200, stream=False, nothing=None))
    assert json.loads(line) == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "pid": os.getpid(),
        "event": "turn",
        "model": "gpt-5.5",
        "status": 200,
        "stream": False,
    }


@pytest.mark.parametrize("value", ["two\nlines", "\u2028", '"', "\x1b[31m", "\x00", "日本", "\udcff"])
def test_a_json_line_stays_one_line_of_ascii(value: str):
    line = JsonLines().format(record(value=value))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["value"] == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Path("/a"), "/a"), (2**70, 2**70), ((1, "é"), [1, "é"]), (1.5, 1.5), ({"a": Path("b")}, {"a": "b"})],
)
def test_a_json_line_takes_any_value(value: object, shown: object):
    assert json.loads(JsonLines().format(record(value=value)))["value"] == shown


def test_the_times_of_lines_follow_their_records():
    lines, made = JsonLines(), record()
    times = []
    for created in (1_790_000_000.0, 1_790_000_000.9994, 1_790_000_001.5, 1_790_000_000.25):
        made.created = created
        times.append(json.loads(lines.format(made))["time"])
    assert [time[17:] for time in times] == ["20.000Z", "20.999Z", "21.500Z", "20.250Z"]


def test_a_json_line_has_its_traceback_inside():
    line = JsonLines().format(failed())
    assert "\n" not in line
    assert "ValueError" in json.loads(line)["traceback"]


def test_a_text_line_is_for_people():
    made = record(model="gpt-5.5", status=200, said="two words", empty="", nothing=None)
    clock = datetime.fromtimestamp(made.created).astimezone().strftime("%H:%M:%S")
    assert TextLines().format(made) == f'{clock} info turn model=gpt-5.5 status=200 said="two words" empty=""'


@pytest.mark.parametrize("value", ["two\nlines", "\u2028", "\x1b[31m", "\x00", "\udcff"])
def test_a_text_line_cannot_be_broken_or_coloured_by_a_value(value: str):
    line = TextLines().format(record(value=value))
    assert line.isprintable()


def test_a_text_line_is_followed_by_its_traceback():
    first, *rest = TextLines().format(failed()).splitlines()
    assert first.endswith("info turn")
    assert rest[-1].startswith("ValueError: ")


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()])
def test_a_secret_in_a_field_is_not_shown(lines: logging.Formatter):
    assert "planted" not in lines.format(record(key=Secret("planted")))


CREDENTIALS = [
    "eyJhbGciOiJSUzI1NiJ9.eyJwbGFudGVkIjoxfQ.c2lnbmF0dXJl",
    "sk-planted-0123456789abcdef",
    "sk-proj-planted_0123456789abcdef",
    "rt_planted-0123456789abcdef",
    "ac_planted-0123456789abcdef",
    "gm_planted0_0123456789abcdef0123",
]


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("around", ["{}", "Bearer {}", '{{"text": "use {} here"}}', "key={},next"])
def test_what_has_the_shape_of_a_credential_is_taken_out(credential: str, around: str):
    text = around.format(credential)
    assert redacted(text) == text.replace(credential, "[redacted]")
    for formatter in (JsonLines(), TextLines()):
        assert credential not in formatter.format(record(inbound=text))


@pytest.mark.parametrize("text", ['{"authorization":"Basic cGxhbnRlZA=="}', '{"Authorization": "planted-secret"}'])
def test_what_is_called_authorization_is_taken_out(text: str):
    assert "anted" not in redacted(text)
    assert redacted(text).endswith('"[redacted]"}')


@pytest.mark.parametrize(
    "text", ["", "risk_assessment_of_the_whole", "a task-list-of-many-things", "eyJust.a.word", "Bearer of news"]
)
def test_words_stay(text: str):
    assert redacted(text) == text


def test_a_traceback_is_no_way_around():
    made = record()
    try:
        int(CREDENTIALS[1])
    except ValueError:
        made.exc_info = sys.exc_info()
    for formatter in (JsonLines(), TextLines()):
        shown = formatter.format(made)
        assert "[redacted]" in shown
        assert CREDENTIALS[1] not in shown
