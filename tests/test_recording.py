"""The picture of a recorded session: where letters stand, and when they appear."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.harness import plain_environment
from tests.recording import HOLD_SECONDS, Pane, Session, Shown, picture, pieces

TEXT = "{http://www.w3.org/2000/svg}text"


def test_letters_stand_where_a_terminal_puts_them():
    shown = [Shown(0.0, "$ "), Shown(0.5, "ls", typed=True), Shown(1.0, "\r\n  a b\r\nlong")]
    placed = [(piece.seconds, piece.row, piece.column, piece.text, piece.typed) for piece in pieces(shown, columns=80)]
    assert placed == [
        (0.0, 0, 0, "$", False),
        (0.5, 0, 2, "ls", True),
        (1.0, 1, 2, "a b", False),
        (1.0, 2, 0, "long", False),
    ]


def test_a_full_row_goes_on_in_the_next():
    assert [(one.row, one.text) for one in pieces([Shown(0.0, "abcde")], columns=3)] == [(0, "abc"), (1, "de")]


def test_each_text_appears_at_its_time_and_stays():
    svg = picture([Pane("one", [Shown(0.0, "$ "), Shown(2.0, "<now> & here")])], columns=40)
    whole = 2.0 + HOLD_SECONDS
    texts = {node.text: node.get("class") for node in ET.fromstring(svg).iter(TEXT)}  # noqa: S314 - our own
    assert set(texts) == {"one", "$", "<now> & here"}
    assert f".{texts['<now> & here']}{{animation:{texts['<now> & here']} {whole:.2f}s step-end infinite}}" in svg
    assert f"@keyframes {texts['<now> & here']}{{0%{{opacity:0}}{2.0 / whole * 100:.3f}%{{opacity:1}}}}" in svg


def test_readers_who_want_no_motion_see_the_last_frame():
    assert "prefers-reduced-motion:reduce){text{animation:none!important}}" in picture(
        [Pane("one", [Shown(0.0, "$ ")])], columns=40
    )


def test_a_real_shell_is_recorded_with_the_time_of_each_word(tmp_path: Path):
    (tmp_path / "slow.py").write_text(
        "import time\nfor word in ('first ', 'second '):\n    print(word, end='', flush=True)\n    time.sleep(0.3)\n"
    )
    session = Session()
    with session.shell("a shell", tmp_path, plain_environment(), columns=80) as shell:
        session.type(shell, f"{sys.executable} slow.py")
        session.until(shell, r"second \$ ")
    (pane,) = session.panes()
    assert "".join(one.text for one in pane.shown).replace("\r", "").endswith("slow.py\nfirst second $ ")
    first, second = (next(one.seconds for one in pane.shown if word in one.text) for word in ("first", "second"))
    assert second - first > 0.2
    assert "".join(one.text for one in pane.shown if one.typed) == f"{sys.executable} slow.py"
