"""``gptmock info``: who is signed in, and for how long. Shows no token."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from gptmock import __version__, wiring
from gptmock.cli.settings import given_settings
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock info
  gptmock info --json
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what is known without asking anybody."""
    settings = given_settings({})
    document = asyncio.run(_document(settings))
    if options.json:
        print(json.dumps(document, indent=2))
        return 0
    for line in _lines(document):
        print(line)
    return 0


async def _document(settings: Settings) -> dict[str, Any]:
    state = await wiring.login_state(settings)
    vault = wiring.open_vault(settings)
    document: dict[str, Any] = {"version": __version__, "storage": str(vault.path), "account": None}
    tokens = state.tokens
    if tokens is None:
        return {**document, "problem": state.problem}
    return {
        **document,
        "account": {
            "email": tokens.account.email,
            "plan": tokens.account.plan,
            "account_id": tokens.account.workspace_id,
            "user_id": tokens.account.user_id,
        },
        "access_token_expires_at": _moment(tokens.expires_at),
        "can_refresh": tokens.refresh_token is not None,
        "last_refresh": _moment(tokens.last_refresh),
    }


def _lines(document: dict[str, Any]) -> list[str]:
    account = document["account"]
    if account is None:
        return [str(document["problem"]), f"Storage   {document['storage']}"]
    return [
        f"Account   {account['email'] or 'unknown'}",
        f"Plan      {account['plan'] or 'unknown'}",
        f"Workspace {account['account_id']}",
        f"Token     {_lifetime(document['access_token_expires_at'])}",
        f"Refresh   {'possible' if document['can_refresh'] else 'no refresh token: sign in again when it ends'}",
        f"Storage   {document['storage']}",
    ]


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
