"""``gptmock serve``: runs the server."""

from __future__ import annotations

import argparse
import sys

from gptmock import shared_state, wiring
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.login import first_login
from gptmock.cli.options import add_serve_options, serve_flags
from gptmock.cli.ports import check_port
from gptmock.cli.settings import given_settings, prepare_state, run_async
from gptmock.settings import Settings

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


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    add_serve_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    settings = given_settings(serve_flags(options))
    check_port(settings.host, settings.port)
    notes = prepare_state(settings)
    check_keys(settings)
    if sys.stdin.isatty() and sys.stdout.isatty() and not run_async(shared_state.has_account(settings)):
        first_login(settings)
        notes = prepare_state(settings)
    announce(settings, [*notes, *exposure(settings)])
    try:
        wiring.serve(settings)
    except wiring.WorkersKeepDying as error:
        raise CommandFailed("the workers kept dying, so the server has stopped; see the log above") from error
    return 0


def check_keys(settings: Settings) -> None:
    """
    The binding rule: beyond this machine nobody is served without a client key, unless the operator says so.

    Raises:
        WrongUsage: other machines can connect, and there is no key.
    """
    if settings.is_exposed and settings.requires_key and not run_async(shared_state.has_client_key(settings)):
        raise WrongUsage(
            f"GPTMOCK_API_KEY: a client key is required to listen on {settings.host}, which is not a loopback address: "
            "set this variable, or create a key with: gptmock keys create NAME. If something else protects the port, "
            "use --allow-unauthenticated (GPTMOCK_ALLOW_UNAUTHENTICATED=true)"
        )


def exposure(settings: Settings) -> list[str]:
    """A warning if other machines can use the account without a key; else nothing."""
    if not settings.is_exposed or settings.requires_key:
        return []
    where = f"{settings.host}:{settings.port}"
    return [f"warning: --allow-unauthenticated is set: whoever can connect to {where} can use your account."]


def announce(settings: Settings, notes: list[str]) -> None:
    """Print the base URL for clients and the notes of ``prepare_state``."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    workers = settings.worker_count
    base_url = f"http://{host}:{settings.port}{settings.base_path or ''}/v1"
    print(f"gptmock serves {base_url} with {workers} worker{'s' if workers > 1 else ''}")
    for note in notes:
        print(f"gptmock: {note}", file=sys.stderr)
    sys.stdout.flush()
