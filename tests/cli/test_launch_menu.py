"""``gptmock launch`` at a terminal: the menus, and the question before a configuration is written."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.test_launch import program
from tests.cli.test_launch_clients import CLIENT
from tests.harness import SimulatorProcess, processes_of, wait_until, write_login
from tests.terminal import at_terminal

DOWN, UP = "\x1b[B", "\x1b[A"


@pytest.fixture
def given(tmp_path: Path, issuer: dict[str, str]) -> dict[str, str]:
    """The variables of a person's terminal; Codex is installed."""
    program(tmp_path / "bin", "codex", CLIENT.format(python=sys.executable))
    return {
        **issuer,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "RECORD": str(tmp_path / "record.json"),
        "GPTMOCK_PORT": "1",
    }


def test_a_client_and_a_model_are_chosen_and_it_starts_with_its_own_server(
    tmp_path: Path, given: dict[str, str], simulator: SimulatorProcess
):
    write_login(tmp_path, simulator.new_login())
    with at_terminal(tmp_path, "launch", **given, CODE="5") as terminal:
        terminal.until(r"Which client\?[^$]+> Claude Code +not installed")
        assert "Codex CLI                  installed" in terminal.text
        terminal.type(DOWN)
        terminal.until(r"Which model\?[^$]+> gpt-6.2-sol +500,000 tokens of context")
        terminal.type(f"{DOWN}{DOWN}{UP}")
        terminal.until(r"\$ gptmock launch codex --model gpt-6.2-astra")
        terminal.until("no server answers, so one is started at ")
        assert terminal.ended() == 5
        wait_until(lambda: not processes_of(terminal.mark), seconds=30)
    arguments = json.loads((tmp_path / "record.json").read_text())["arguments"]
    assert 'model="gpt-6.2-astra"' in arguments


def test_the_menu_shows_how_to_install_and_how_to_set_up(tmp_path: Path, given: dict[str, str]):
    with at_terminal(tmp_path, "launch", **given, NO_COLOR="1", COLUMNS="40") as terminal:
        terminal.until(r"> Claude Code")
        assert all(len(line) < 40 for line in terminal.text.splitlines())
        assert "\x1b[7m" not in terminal.raw
        terminal.type("")
        terminal.until("Claude Code is not installed")
        assert terminal.ended() == 1
    with at_terminal(tmp_path, "launch", "--model", "gpt-6-luna", **given) as terminal:
        terminal.until(r"> Claude Code")
        terminal.type(UP)
        terminal.until("# in n8n")
        assert terminal.ended() == 0
        assert "gpt-6-luna" in terminal.text


@pytest.mark.parametrize("how", ["q", "\x1b", "interrupt"])
def test_the_menu_is_left(tmp_path: Path, given: dict[str, str], how: str):
    with at_terminal(tmp_path, "launch", **given) as terminal:
        terminal.until(r"> Claude Code[^$]+q to leave")
        if how == "interrupt":
            terminal.process.send_signal(signal.SIGINT)
        else:
            terminal.type(how)
        assert terminal.ended() == (130 if how == "interrupt" else 0)
        # The cursor is shown again.
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 1)])
def test_the_difference_is_shown_and_asked_about(tmp_path: Path, given: dict[str, str], answer: str, code: int):
    with at_terminal(tmp_path, "launch", "codex", "--config", **given) as terminal:
        terminal.until(r'\+model_provider = "gptmock"[^$]+\[y/N\]')
        terminal.type(answer)
        assert terminal.ended() == code
    assert (tmp_path / ".codex" / "config.toml").exists() is (answer == "y")


def test_a_dumb_terminal_gets_the_list(tmp_path: Path, given: dict[str, str]):
    with at_terminal(tmp_path, "launch", **{**given, "TERM": "dumb"}) as terminal:
        terminal.until("Open WebUI")
        assert terminal.ended() == 0
        assert "Which client" not in terminal.text
