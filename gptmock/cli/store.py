"""``gptmock store migrate``: copies state between stores. Shows no password and no token."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict
from typing import Any

from gptmock import shared_state
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.settings import given_settings
from gptmock.errors import StoreError, UnusableKey, WrongPlace

_EPILOG = """example:
  gptmock store migrate embedded redis --dry-run
"""
_MIGRATE = """Copy accounts, client keys, usage, the windows of limits, the audit log and
the protocol version of Codex clients from one store to another. Nothing is
removed from FROM, nothing newer in TO is replaced, and no counter is added
twice: you can run it as often as you like, also after an interruption.
Open invitations are not copied, but counted: make new ones.

FROM and TO are each one of:
  embedded             the state file in GPTMOCK_HOME
  redis                the Redis of GPTMOCK_REDIS_URL; its password then stays
                       out of the list of processes
  redis://HOST:6379/0  a Redis, also rediss:// and unix://
  redis+sentinel://HOST:26379,HOST:26379/SERVICE/0
                       the master that these sentinels name
  redis+cluster://HOST:6379,HOST:6379
                       a Redis Cluster
  PATH                 a state file, or its directory

Records stay encrypted: GPTMOCK_ENCRYPTION_KEYS, or the file that is named by
GPTMOCK_ENCRYPTION_KEYS_FILE, must fit both stores; if neither is set, the
encryption.key beside the state file is used. Stop the servers at FROM first.
Refresh tokens are single-use: two servers with one login sign each other out.
"""
_MIGRATE_EPILOG = """example:
  export GPTMOCK_REDIS_URL=redis://:password@redis.internal:6379/0
  export GPTMOCK_ENCRYPTION_KEYS_FILE=~/.config/gptmock/encryption.key
  gptmock store migrate embedded redis --dry-run
  gptmock store migrate embedded redis
"""
_KINDS = ("accounts", "labels", "keys", "imports", "usage", "windows", "audit", "version")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, and what to run."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    migrate = commands.add_parser(
        "migrate",
        help="copy accounts, client keys and usage to another store",
        description=_MIGRATE,
        epilog=_MIGRATE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument("source", metavar="FROM", help="store to read")
    migrate.add_argument("target", metavar="TO", help="store to write")
    migrate.add_argument("--dry-run", action="store_true", help="only show what would be copied")
    migrate.add_argument("--json", action="store_true", help="machine-readable output")
    migrate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Migrate, and print the result."""
    # SIGTERM must not exit with 0 here: the migration is incomplete, though what was copied is consistent.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    settings = given_settings({})
    work = shared_state.migrate(settings, options.source, options.target, dry_run=options.dry_run, progress=_progress)
    try:
        found = asyncio.run(work)
    except WrongPlace as error:
        raise WrongUsage(str(error)) from error
    except UnusableKey as error:
        raise WrongUsage(f"GPTMOCK_ENCRYPTION_KEYS: {error}") from error
    except StoreError as error:
        raise CommandFailed(error.message) from error
    print(json.dumps(_document(found, dry_run=options.dry_run), indent=2) if options.json else "\n".join(_lines(found)))
    if not options.dry_run and not options.json:
        print("Now let all servers use the new store and none the old one: refresh tokens are single-use.")
    return 0


def _progress(what: str, done: int, total: int) -> None:
    # A line for each tenth: as readable in a log as on a terminal.
    if done == total or done % max(1, total // 10) == 0:
        print(f"gptmock: {what}: {done} of {total}", file=sys.stderr)


def _document(found: shared_state.Migrated, *, dry_run: bool) -> dict[str, Any]:
    return {
        "from": found.source,
        "to": found.target,
        "dry_run": dry_run,
        **{kind: asdict(getattr(found, kind)) for kind in _KINDS},
        "invitations_left": found.invitations_left,
    }


def _lines(found: shared_state.Migrated) -> list[str]:
    lines = [f"From  {found.source}", f"To    {found.target}"]
    for kind in _KINDS:
        tally = getattr(found, kind)
        lines.append(f"{kind:10}{tally.carried} copied, {tally.same} the same, {tally.kept} newer there and kept")
    if found.invitations_left:
        lines.append(f"Open invitations are not copied: {found.invitations_left}. Make new ones: gptmock invite")
    if found.key_file is not None:
        lines.append(f"The new store needs the same keys: GPTMOCK_ENCRYPTION_KEYS_FILE={found.key_file}")
    return lines
