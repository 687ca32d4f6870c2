"""``gptmock completion``: prints a completion script for bash, zsh or fish, generated from the argument parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from gptmock.cli import full_parser
from gptmock.cli.offered_words import words_of

SHELLS = ("bash", "zsh", "fish")
_EPILOG = """example:
  gptmock completion bash > ~/.local/share/bash-completion/completions/gptmock
  gptmock completion zsh >> ~/.zshrc
  gptmock completion fish > ~/.config/fish/completions/gptmock.fish
"""
_BASH = """\
_gptmock() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path="" place
  COMPREPLY=()
  for ((place = 1; place < COMP_CWORD; place++)); do
    case "$path ${{COMP_WORDS[place]}}" in
      {paths}) path="$path ${{COMP_WORDS[place]}}" ;;
    esac
  done
  case "$path" in
{cases}
  esac
}}
complete -o default -F _gptmock gptmock
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


@dataclass(frozen=True, slots=True)
class Level:
    """The subcommands and options of one command; ``path`` is empty for ``gptmock`` itself."""

    path: tuple[str, ...]
    commands: dict[str, str]
    """Name to help."""
    flags: dict[str, str]
    words: dict[str, str]
    """Values of its arguments, with a help where there is one."""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the argument, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("shell", choices=SHELLS, help="your shell")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    levels = list(levels_of(full_parser()))
    script = {"bash": _bash, "zsh": lambda found: _ZSH + _bash(found), "fish": _fish}[options.shell]
    print(script(levels), end="")
    return 0


def levels_of(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Level]:
    """A parser and its subparsers, depth first."""
    below: dict[str, argparse.ArgumentParser] = {}
    helps: dict[str, str] = {}
    flags: dict[str, str] = {}
    words: dict[str, str] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below = dict(action.choices)
            helps = {choice.dest: choice.help or "" for choice in action._get_subactions()}  # noqa: SLF001
        elif not action.option_strings:
            words |= words_of(action)
        flags |= {flag: action.help or "" for flag in action.option_strings if flag.startswith("--")}
    yield Level(path, {name: helps.get(name, "") for name in below}, flags, words)
    for name, child in below.items():
        yield from levels_of(child, (*path, name))


def _bash(levels: list[Level]) -> str:
    paths = "|".join(f'"{_joined(level.path)}"' for level in levels if level.path)
    cases = "\n".join(
        f'    "{_joined(level.path)}") COMPREPLY=($(compgen -W "{_offered(level)}" -- "$current")) ;;'
        for level in levels
    )
    return _BASH.format(paths=paths, cases=cases)


def _offered(level: Level) -> str:
    return " ".join((*level.commands, *level.words, *level.flags))


def _fish(levels: list[Level]) -> str:
    lines = ["complete -c gptmock -f"]
    for level in levels:
        seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in level.path) or "__fish_use_subcommand"
        if level.commands and level.path:
            seen += f"; and not __fish_seen_subcommand_from {' '.join(level.commands)}"
        offered = {**level.commands, **level.words}
        lines += [f"complete -c gptmock -n '{seen}' -a {name} -d {_quoted(text)}" for name, text in offered.items()]
        lines += [
            f"complete -c gptmock -n '{seen}' -l {flag[2:]} -d {_quoted(text)}" for flag, text in level.flags.items()
        ]
    return "\n".join(lines) + "\n"


def _joined(path: tuple[str, ...]) -> str:
    return "".join(f" {name}" for name in path)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
