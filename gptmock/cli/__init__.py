"""The commands: one parser, one module for each command, exit codes 0, 1 and 2."""

from __future__ import annotations

import argparse
import io
import logging
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import NoReturn

from gptmock import __version__
from gptmock.cli.errors import exit_code_of

_COMMANDS: Mapping[str, str] = {
    "serve": "run the server",
    "reload": "restart the workers of a running server, one by one",
    "demo": "try the server without an account, with a simulated backend",
    "launch": "start a client that uses the server, or show how to set it up",
    "login": "sign in to ChatGPT",
    "logout": "sign out of an account",
    "accounts": "list, select, pause, import and export accounts",
    "keys": "create, limit, rotate and revoke client API keys",
    "invite": "invite a person to sign in to an account of their own, by a link",
    "info": "show accounts, token expiry and usage limits",
    "usage": "show requests and tokens by day, key, account and model",
    "audit": "show who administered keys and accounts",
    "doctor": "check everything that a server needs",
    "service": "start the server at every login, by systemd or launchd",
    "store": "copy accounts, keys and usage between the embedded store and Redis",
    "simulator": "run the simulated Codex backend alone, for tests",
    "completion": "print a completion script for your shell",
}
"""Name to help. A command's module is imported only when it is run, so that ``--version`` takes half a second."""
_PASSWORD = re.compile(r"://\S*@")
_EPILOG = """example:
  gptmock demo          try everything without an account
  gptmock login         sign in to ChatGPT
  gptmock doctor        see what is missing
  gptmock serve         serve at http://127.0.0.1:8000/v1

Each command has its own help, for example: gptmock serve --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Returns the exit code: 0 done, 1 failed with one clear line on stderr, 2 wrong usage.
    """
    # Commands print their errors themselves; a server configures its log when it starts.
    logging.getLogger("gptmock").addHandler(logging.NullHandler())
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A label may have characters that the terminal's encoding lacks. Python sets this for stderr by default.
        sys.stdout.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(next((word for word in given if not word.startswith("-")), None))
    own, passed_on = _divided(given) if "launch" in given[:1] else (given, [])
    options = parser.parse_args(own)
    options.passed_on = passed_on
    if options.run is None:
        parser.print_help()
        return 0
    # Whatever was imported with handlers of its own has been imported. A server has others when it starts.
    signal.signal(signal.SIGTERM, _stopped)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return exit_code_of(partial(options.run, options))


def _divided(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before and after ``--``; argparse loses where the latter began."""
    place = given.index("--") if "--" in given else len(given)
    return list(given[:place]), list(given[place + 1 :])


def _stopped(number: int, _frame: object) -> None:
    # Left pending, for a server that is about to start: an exception out of a handler may come where nobody hears it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    signal.raise_signal(signal.Signals(number))
    raise SystemExit(0)


class _Parser(argparse.ArgumentParser):
    """Removes passwords of URLs from argparse's error messages."""

    def error(self, message: str) -> NoReturn:
        super().error(_PASSWORD.sub("://***@", message))


def full_parser() -> argparse.ArgumentParser:
    """The parser with the options of all commands; slow, since it imports their modules."""
    return _parser(*_COMMANDS)


def _parser(*chosen: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gptmock",
        description="Serves OpenAI, Anthropic and Ollama clients from your own ChatGPT account.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"gptmock {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in chosen:
            import_module(f"gptmock.cli.{name}").prepare(command)
    return parser
