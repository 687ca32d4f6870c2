"""
``gptmock serve``: runs the server. Its process stays the small one that watches over the others (``supervision``): what
it imports here is little, and ``cli.start`` imports the application in another process.
"""

from __future__ import annotations

import argparse
import signal
from functools import partial
from importlib import import_module

from gptmock.__main__ import leave_at_once
from gptmock.cli.errors import CommandFailed, exit_code_of
from gptmock.cli.options import add_listening_options, add_serve_options, serve_flags
from gptmock.supervision.link import DescriptorsLost
from gptmock.supervision.listening import Unlistenable
from gptmock.supervision.plan import Inherited, Plan
from gptmock.supervision.supervisor import Ending, Supervisor

_EPILOG = """example:
  gptmock serve --port 9000 --workers 2
  curl http://127.0.0.1:9000/v1/models

The name in parentheses is the environment variable that sets the same option.
Precedence: flag, GPTMOCK_* variable, CHATGPT_LOCAL_* variable, .env in the
working directory, default. Settings that have only a variable, such as
GPTMOCK_API_KEY and GPTMOCK_ACCOUNT_POOL, are listed in the README.

The server also starts without an account: /health answers 200, and /readyz
says what is missing. In a terminal it offers the login first; an empty line
skips it.
"""
_ENDINGS = {
    Ending.START_FAILED: "the server could not start; see the log above",
    Ending.WORKERS_KEEP_DYING: "the workers kept dying, so the server has stopped; see the log above",
}


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    add_serve_options(parser)
    add_listening_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    try:
        ending = Supervisor(partial(_load, serve_flags(options)), exit_code_of).run()
    except (Unlistenable, DescriptorsLost) as error:
        raise CommandFailed(str(error)) from error
    if not isinstance(ending, Ending):
        return ending
    if ending in _ENDINGS:
        raise CommandFailed(_ENDINGS[ending])
    return 0


def _load(flags: dict[str, object], inherited: Inherited) -> Plan:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave_at_once)
    start = import_module("gptmock.cli.start")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    plan: Plan = start.plan_of(flags, inherited)
    return plan
