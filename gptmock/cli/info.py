"""``gptmock info``: who is signed in, and for how long. Shows no token."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from gptmock import __version__, wiring
from gptmock.cli.exits import CommandFailed
from gptmock.cli.settings import given_settings, prepared
from gptmock.errors import StoreError
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock info
  gptmock info --json
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument("--offline", action="store_true", help="show what is known without asking the upstream")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what is known without asking the upstream."""
    settings = given_settings({})
    notes = prepared(settings)
    try:
        accounts = asyncio.run(wiring.overview(settings))
    except StoreError as error:
        raise CommandFailed(error.message) from error
    if options.json:
        print(json.dumps(_document(settings, accounts, notes), indent=2))
        return 0
    for line in (*notes, *(line for account in accounts for line in _lines(account))):
        print(line)
    print(f"Storage   {wiring.storage(settings)}")
    return 0


def _document(settings: Settings, accounts: list[wiring.AccountOverview], notes: list[str]) -> dict[str, Any]:
    return {
        "version": __version__,
        "storage": wiring.storage(settings),
        "accounts": [_account(one) for one in accounts],
        "notes": notes,
    }


def _account(one: wiring.AccountOverview) -> dict[str, Any]:
    login = one.login
    return {
        "label": login.label,
        "email": login.account.email,
        "plan": login.account.plan,
        "account_id": login.account.workspace_id,
        "user_id": login.account.user_id,
        "default": one.is_default,
        "paused": login.paused,
        "refused": login.refused,
        "access_token_expires_at": _moment(login.expires_at),
        "last_refresh": _moment(login.last_refresh),
        "parked_until": _moment(one.parked_until),
        "today": one.usage.today,
        "in_flight": one.usage.in_flight,
        "windows": [
            {
                "used_percent": window.used_percent,
                "window_minutes": window.window_minutes,
                "resets_at": _moment(window.resets_at),
            }
            for window in (one.limits.windows if one.limits is not None else ())
        ],
    }


def _lines(one: wiring.AccountOverview) -> list[str]:
    login, today = one.login, one.usage.today
    lines = [
        f"Account   {login.label}{' (default)' if one.is_default else ''}{' (paused)' if login.paused else ''}",
        f"Plan      {login.account.plan or 'unknown'}",
        f"Workspace {login.account.workspace_id}",
        f"Token     {_lifetime(_moment(login.expires_at))}",
        (
            f"Today     {today.get('requests', 0)} requests, {today.get('input_tokens', 0)} tokens in "
            f"({today.get('cached_tokens', 0)} cached), {today.get('output_tokens', 0)} out"
        ),
    ]
    if one.parked_until is not None:
        lines.append(f"Parked    until {_local(one.parked_until)}: the usage limit has been reached")
    for window in one.limits.windows if one.limits is not None else ():
        resets = f", resets {_local(window.resets_at)}" if window.resets_at is not None else ""
        lines.append(f"Window    {window.used_percent:.0f} % of {_span(window.window_minutes)} used{resets}")
    return [*lines, ""]


def _span(minutes: int) -> str:
    """A window by its length: its place among the headers says nothing."""
    days, hours = divmod(minutes // 60, 24)
    return f"{days} days" if days else f"{hours} hours" if hours else f"{minutes} minutes"


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _lifetime(moment: str | None) -> str:
    if moment is None:
        return "tells no expiry"
    left = datetime.fromisoformat(moment).timestamp() - time.time()
    local = datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    if left <= 0:
        return f"expired {local}; refreshed with the next request"
    days, hours, minutes = int(left // 86400), int(left % 86400 // 3600), int(left % 3600 // 60)
    return f"valid until {local} ({f'{days} d ' if days else ''}{hours} h {minutes} min left)"
