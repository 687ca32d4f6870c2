"""``gptmock completion``: the generated scripts, and completions by a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gptmock.cli import full_parser
from gptmock.cli.completion import levels_of
from tests.cli.inside import run
from tests.harness import PROGRAM, plain_environment


def completed(directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = run(directory, "completion", "bash").stdout
    line = " ".join(f"'{word}'" for word in ("gptmock", *words))
    asked = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _gptmock; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("acc",), ["accounts"]),
        (("log",), ["login", "logout"]),
        (("login", "--h"), ["--headless", "--help"]),
        (("accounts", "ex"), ["export"]),
        (("accounts", "export", "--o"), ["--output"]),
        (("accounts", "export", "work", "--o"), ["--output"]),
        (("serve", "--po"), ["--port"]),
        (("info", "--j"), ["--json"]),
        (("launch", "c"), ["claude", "codex", "continue", "curl"]),
        (("launch", "claude", "--r"), ["--restore"]),
        (("completion", "z"), ["zsh"]),
        (("nonsense-",), []),
    ],
)
def test_bash(tmp_path: Path, words: tuple[str, ...], offered: list[str]):
    assert sorted(completed(tmp_path, *words)) == offered


def test_every_command_and_flag_is_in_every_script(tmp_path: Path):
    levels = list(levels_of(full_parser()))
    assert {"accounts", "serve", "completion"} <= set(levels[0].commands)
    for shell, dashes in (("bash", "--"), ("zsh", "--"), ("fish", "-l ")):
        script = run(tmp_path, "completion", shell).stdout
        for level in levels:
            assert all(f"{name}" in script for name in (*level.commands, *level.words))
            assert all(f"{dashes}{flag[2:]}" in script for flag in level.flags)


def test_an_unknown_shell_is_wrong_usage(tmp_path: Path):
    shown = run(tmp_path, "completion", "cmd")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "bash" in shown.stderr


@pytest.mark.parametrize("arguments", [("completion", "fish"), ("accounts", "list")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_traceback(tmp_path: Path, arguments: tuple[str, ...], unbuffered: str):
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=plain_environment(GPTMOCK_HOME=str(tmp_path), PYTHONUNBUFFERED=unbuffered),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
