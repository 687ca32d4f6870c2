"""``gptmock info``: the accounts, their token lifetimes and usage limits, and the storage. Shows no token."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gptmock import __version__, shared_state
from gptmock.accounts import BrokenLogin
from gptmock.catalog import ModelCatalog
from gptmock.cli.settings import given_settings, prepare_state, with_command_services
from gptmock.cli.terminal import bar, console, local, person_looks, printable, relative, show_document
from gptmock.command_services import CommandServices
from gptmock.dialects.claude_models import families
from gptmock.limits import RateLimitWindow
from gptmock.overview import AccountOverview, broken_document, overview_document, span, windows_of
from gptmock.settings import Settings

PANEL_CELLS = 80
"""Width of an account's panel; two are shown side by side in twice this width."""
_EPILOG = """example:
  gptmock info
  gptmock info --offline      without a request to the backend
  gptmock info --json
"""
_FIRST_STEPS = (
    "Nobody is signed in yet.",
    "  gptmock login      sign in with your browser",
    "  gptmock login --headless",
    "                     sign in with a code on any device",
    "  gptmock demo       try everything without an account",
)


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.add_argument(
        "--offline", action="store_true", help="show the stored state, without a request to the backend"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print accounts, limits and storage as panels, text or JSON."""
    settings = given_settings({})
    notes = prepare_state(settings)

    async def work(services: CommandServices) -> tuple[list[AccountOverview], list[BrokenLogin]]:
        return await services.overview(ask=not options.offline), await services.broken()

    accounts, broken = with_command_services(work, import_auth_file=False)
    if options.json:
        show_document({**_document(settings, accounts, notes), "broken": [broken_document(one) for one in broken]})
    else:
        # The accounts that cannot be decrypted are in the notes.
        first_run = not accounts and not broken
        # The first steps say by themselves that nobody is signed in.
        others = [note for note in notes if not (first_run and note == shared_state.NOBODY)]
        show_info(settings, accounts, others, first_run=first_run)
    return 0


def show_info(
    settings: Settings, accounts: Sequence[AccountOverview], notes: Sequence[str], *, first_run: bool
) -> None:
    """Panels on a terminal, plain lines elsewhere."""
    screen = console()
    if not person_looks():
        for text in _plain(settings, accounts, notes, first_run=first_run):
            print(text.plain)
        return
    for note in notes:
        screen.print(Text(printable(note), style="yellow"))
    width = min(PANEL_CELLS, screen.width)
    panels = [
        Panel(Group(*_account_rows(one)), title=Text(printable(one.login.label), style="bold"), width=width)
        for one in accounts
    ]
    if len(panels) > 1:
        screen.print(Columns(panels))
    else:
        screen.print(*panels)
    if first_run:
        screen.print(Panel(Text("\n".join(_FIRST_STEPS)), title="gptmock", width=width))
    screen.print(_facts(_storage_facts(settings)))


def _plain(
    settings: Settings, accounts: Sequence[AccountOverview], notes: Sequence[str], *, first_run: bool
) -> list[Text]:
    lines = [Text(note) for note in notes]
    for one in accounts:
        lines += [_line(name, Text(value)) for name, value in _account_facts(one)]
        lines += [_line("Window", _window_text(window, ascii_only=True)) for window in windows_of(one)]
        lines.append(Text())
    if first_run:
        lines += [Text(), *(Text(line) for line in _FIRST_STEPS), Text()]
    return [*lines, *(_line(name, Text(value)) for name, value in _storage_facts(settings))]


def _line(name: str, value: Text) -> Text:
    return Text(f"{name:<13} ") + Text(printable(value.plain))


def _account_rows(one: AccountOverview) -> list[RenderableType]:
    rows: list[RenderableType] = [_facts(_account_facts(one))]
    if windows := windows_of(one):
        ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
        table = Table.grid(padding=(0, 1))
        for window in windows:
            table.add_row(_window_text(window, ascii_only=ascii_only))
        rows += [Text(), table]
    return rows


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(printable(value), style=_style_of(name)))
    return table


def _style_of(name: str) -> str:
    return {"Ended": "red", "Parked": "red", "Not asked": "yellow"}.get(name, "")


def _account_facts(one: AccountOverview) -> list[tuple[str, str]]:
    login = one.login
    marks = (" (default)" if one.is_default else "") + (" (paused)" if login.paused else "")
    facts = [
        ("Account", f"{login.label}{marks}"),
        ("Plan", login.account.plan or "unknown"),
        ("Organisation", login.organization or "not named"),
        ("Workspace", login.account.workspace_id),
        ("User", login.account.user_id or "not named"),
        ("Access token", _lifetime(login.expires_at, renewable=login.renewable and login.refused is None)),
        ("Id token", _lifetime(login.id_expires_at, renewable=None)),
        (
            "Renewed",
            "never" if login.last_refresh is None else f"{local(login.last_refresh)} ({relative(login.last_refresh)})",
        ),
        ("Today", _usage(one.usage.today)),
    ]
    if login.refused is not None:
        facts.append(("Ended", login.refused))
    if one.parked_until is not None and one.parked_until > time.time():
        facts.append(("Parked", f"until {local(one.parked_until)}: the usage limit has been reached"))
    if one.unheard is not None:
        facts.append(("Not asked", f"{one.unheard} The limits are the last known ones."))
    if one.limits is not None:
        facts.append(("Limits", f"as of {local(one.limits.taken_at)} ({relative(one.limits.taken_at)})"))
    else:
        facts.append(("Limits", "nothing is known yet"))
    return facts


def _usage(today: Mapping[str, int]) -> str:
    requests, cached = today.get("requests", 0), today.get("cached_tokens", 0)
    tokens_in, tokens_out = today.get("input_tokens", 0), today.get("output_tokens", 0)
    return f"{requests} requests, {tokens_in} tokens in ({cached} cached), {tokens_out} out"


def _storage_facts(settings: Settings) -> list[tuple[str, str]]:
    shared = (
        "the embedded store, for the workers of this machine"
        if settings.redis_url is None
        else "Redis, for any number of machines"
    )
    return [
        ("Storage", shared_state.storage(settings)),
        ("Shared by", shared),
        ("Encryption", shared_state.encryption(settings)),
        ("Client keys", shared_state.key_hashes(settings)),
        ("Claude names", ", ".join(f"{family}={model}" for family, model in _claude_names(settings).items())),
        ("Version", __version__),
    ]


def _claude_names(settings: Settings) -> dict[str, str]:
    """Family of Claude models to what stands for it; by the built-in list where the operator chose none."""
    return families(ModelCatalog(), settings.claude_models)


def _window_text(window: RateLimitWindow, *, ascii_only: bool) -> Text:
    used, resets_at = window.used_percent, window.resets_at
    if resets_at is not None and resets_at <= time.time():
        # The value belongs to a window that has ended.
        used, ending = 0.0, f"was reset {relative(resets_at)}"
    elif resets_at is not None:
        ending = f"resets {local(resets_at)} ({relative(resets_at)})"
    else:
        ending = "does not say when it resets"
    return (
        Text(f"{span(window.window_minutes):<10} ")
        + bar(used, ascii_only=ascii_only)
        + Text(f" {used:3.0f} %  {ending}")
    )


def _lifetime(expires_at: float | None, *, renewable: bool | None) -> str:
    """The expiry as text. ``renewable`` is ``None`` for the id token, which is only renewed with the access token."""
    if expires_at is None:
        return "tells no expiry"
    if expires_at > time.time():
        return f"valid until {local(expires_at)} ({relative(expires_at)})"
    after = {True: "; renewed with the next request", False: "; sign in again", None: ""}[renewable]
    return f"expired {local(expires_at)}{after}"


def _document(settings: Settings, accounts: Sequence[AccountOverview], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "version": __version__,
        "storage": shared_state.storage(settings),
        "store": "sqlite" if settings.redis_url is None else "redis",
        "encryption": shared_state.encryption(settings),
        "client_keys": shared_state.key_hashes(settings),
        "anthropic_models": _claude_names(settings),
        "accounts": [overview_document(one) for one in accounts],
        "notes": list(notes),
    }
