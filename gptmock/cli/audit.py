"""``gptmock audit``: who administered keys and accounts, when, and from where."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import datetime

from gptmock.audit import AuditEvent
from gptmock.cli.settings import with_command_services
from gptmock.cli.terminal import local, show_document, show_table
from gptmock.command_services import CommandServices
from gptmock.overview import audit_document

MAX_COUNT = 10_000
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SECONDS = re.compile(r"\b[0-9]{9,11}\.[0-9]+\b")
"""Of the expiry of a key, in events of earlier versions."""
_EPILOG = """example:
  gptmock audit                 the last 50 events, the newest first
  gptmock audit --count 1000 --json     with times in UTC (ISO 8601)

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
            (local(event.at), event.actor.name, event.actor.origin, event.action, event.target, _readable(event.detail))
            for event in events
        ]
        show_table(("WHEN", "WHO", "FROM", "ACTION", "TARGET", "DETAIL"), rows)
    else:
        print("Nothing was administered yet.")
    return 0


def _readable(detail: str) -> str:
    """With local times; an event of an earlier version has Unix seconds, and says what was not set before."""
    text = _MOMENT.sub(lambda found: local(datetime.fromisoformat(found[0]).timestamp()), detail)
    if "expires_at: " in text:
        text = _SECONDS.sub(lambda found: local(float(found[0])), text)
    return text.replace(": none -> ", ": ")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_COUNT}")
    return int(text)
