"""The console script: one parser, one command for each file of this room, exit codes 0, 1 and 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gptmock import __version__
from gptmock.cli import demo, info, serve, simulator
from gptmock.cli.exits import CommandFailed, WrongUsage
from gptmock.settings import SettingsError

_COMMANDS = (serve, demo, info, simulator)
_EPILOG = """example:
  gptmock demo          try everything without an account
  gptmock serve         serve at http://127.0.0.1:8000/v1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Returns the exit code: 0 done, 1 failed with one clear line on stderr, 2 wrong usage.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    try:
        return int(options.run(options) or 0)
    except SettingsError as error:
        for mistake in error.mistakes:
            print(f"gptmock: {mistake}", file=sys.stderr)
        return 2
    except WrongUsage as error:
        print(f"gptmock: {error}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"gptmock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gptmock",
        description="OpenAI-compatible API server for your own ChatGPT account.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gptmock {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser
