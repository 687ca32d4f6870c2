"""``gptmock audit``: who administered keys and accounts, when, and from where."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gptmock.audit import AuditEvent
from gptmock.cli.settings import with_command_services
from gptmock.cli.terminal import local, show_document, show_table
from gptmock.command_services import CommandServices
from gptmock.overview import audit_document

MAX_COUNT = 10_000
_EPILOG = """example:
  gptmock audit                 the last 50 events, the newest first
  gptmock audit --count 1000 --json

The store keeps the last 10000 events. No event holds a secret.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--count", type=_count, default=50, metavar="N", help="number of events (default 50)")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the newest events as a table or JSON."""

    async def work(services: CommandServices) -> Sequence[AuditEvent]:
        return await services.audit_events(options.count)

    events = with_command_services(work)
    if options.json:
        show_document({"events": [audit_document(event) for event in events]})
    elif events:
        rows = [
            (local(event.at), event.actor.name, event.actor.origin, event.action, event.target, event.detail)
            for event in events
        ]
        show_table(("WHEN", "WHO", "FROM", "ACTION", "TARGET", "DETAIL"), rows)
    else:
        print("Nothing was administered yet.")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_COUNT}")
    return int(text)
