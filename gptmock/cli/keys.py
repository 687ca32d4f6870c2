"""``gptmock keys``: creates, lists, changes, rotates and revokes client API keys."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gptmock.cli.errors import WrongUsage
from gptmock.cli.key_terms import add_term_options, duration_seconds, given_terms, name_text
from gptmock.cli.settings import with_command_services
from gptmock.cli.terminal import local, relative, show_document, show_table
from gptmock.clients import ClientKey, Given, IssuedKey, KeyTerms, revised
from gptmock.command_services import CommandServices
from gptmock.overview import key_document, key_state, moment

_EPILOG = """example:
  gptmock keys create ci --rpm 60 --tokens-per-day 2M --expires 90d
  gptmock keys create ada --models 'gpt-6*' --account work --concurrency 4
  gptmock keys list
  gptmock keys update ci --rpm none
  gptmock keys rotate ci --overlap 1h
  gptmock keys revoke ci

KEY is the name or the id of a key. Servers see each change within a second.
"""
_EXAMPLES = {
    "create": "create ci --rpm 60 --tokens-per-day 2M --expires 90d",
    "list": "list --all",
    "show": "show ci --json",
    "update": "update ci --rpm none --models 'gpt-6*'",
    "rotate": "rotate ci --overlap 1h",
    "revoke": "revoke ci",
}
_SHOWN_ONCE = """
This is the only time that the key is shown. Clients send it as the API key
(Authorization: Bearer, x-api-key or api-key).
"""
_COLUMNS = ("NAME", "ID", "ROLE", "STATE", "LIMITS", "MODELS", "ACCOUNT", "EXPIRES")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, and what to run."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, text: str, run: Any, *, key: str | None = "KEY") -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  gptmock keys {_EXAMPLES[name]}\n",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if key is not None:
            wanted, shown = (name_text, "name of the new key") if key == "NAME" else (str, "name or id of the key")
            added.add_argument("key", metavar=key, type=wanted, help=shown)
        added.add_argument("--json", action="store_true", help="machine-readable output")
        added.set_defaults(run=run)
        return added

    add_term_options(command("create", "create a key and show it once", run_create, key="NAME"))
    listed = command("list", "show all valid keys", run_list, key=None)
    listed.add_argument("--all", action="store_true", help="also revoked and expired ones")
    command("show", "show a key with its limits and defaults", run_show)
    add_term_options(command("update", "change the limits and defaults of a key", run_update))
    rotated = command("rotate", "replace the secret of a key, and show the new key once", run_rotate)
    rotated.add_argument(
        "--overlap",
        type=duration_seconds,
        default=0.0,
        metavar="TIME",
        help="how long the old one stays valid, such as 1h (default 0)",
    )
    command("revoke", "end a key now", run_revoke)


def run_create(options: argparse.Namespace) -> int:
    """Create a key."""
    given = given_terms(options)

    async def work(services: CommandServices) -> tuple[IssuedKey, Mapping[str, str]]:
        wanted = await _with_account(services, given)
        issued = await services.keys.create(options.key, revised(KeyTerms(), wanted))
        return issued, await services.account_labels()

    return _show_issued(*with_command_services(work), as_json=options.json)


def run_list(options: argparse.Namespace) -> int:
    """Print the keys as a table or JSON."""

    async def work(services: CommandServices) -> tuple[Sequence[ClientKey], Mapping[str, str]]:
        return await services.keys.all(), await services.account_labels()

    keys, labels = with_command_services(work)
    now = time.time()
    shown = [key for key in keys if options.all or key.is_living(now)]
    if options.json:
        show_document({"keys": [key_document(key, labels, now=time.time()) for key in shown]})
    elif shown:
        show_table(_COLUMNS, [_row(key, labels) for key in shown])
    elif keys:
        print("No key is valid; revoked and expired ones are shown by: gptmock keys list --all")
    else:
        print("There are no keys. Create one with: gptmock keys create NAME")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one key."""

    async def work(services: CommandServices) -> tuple[ClientKey, Mapping[str, str]]:
        return await services.keys.show(options.key), await services.account_labels()

    return _show(*with_command_services(work), as_json=options.json)


def run_update(options: argparse.Namespace) -> int:
    """Change the terms of a key, only those that were given."""
    given = given_terms(options)
    if not given:
        raise WrongUsage("say what to change; the options are in: gptmock keys update --help")

    async def work(services: CommandServices) -> tuple[ClientKey, Mapping[str, str]]:
        wanted = await _with_account(services, given)
        key = await services.keys.update(options.key, partial(revised, given=wanted))
        return key, await services.account_labels()

    return _show(*with_command_services(work), as_json=options.json)


def run_rotate(options: argparse.Namespace) -> int:
    """Give a key a new secret."""

    async def work(services: CommandServices) -> tuple[IssuedKey, Mapping[str, str]]:
        issued = await services.keys.rotate(options.key, overlap_seconds=options.overlap)
        return issued, await services.account_labels()

    issued, labels = with_command_services(work)
    until = (issued.key.rotated_at or time.time()) + options.overlap
    _show_issued(issued, labels, as_json=options.json, more={"old_key_until": moment(until)})
    if not options.json and options.overlap:
        print(f"The old key stays valid until {local(until)} ({relative(until)}).", file=sys.stderr)
    elif not options.json:
        print("The old key has ended; every server refuses it within a second.", file=sys.stderr)
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Revoke a key."""

    async def work(services: CommandServices) -> tuple[ClientKey, Mapping[str, str]]:
        return await services.keys.revoke(options.key), await services.account_labels()

    key, labels = with_command_services(work)
    if options.json:
        show_document(key_document(key, labels, now=time.time()))
    else:
        print(f"{key.name} is revoked; every server refuses it within a second.")
    return 0


async def _with_account(services: CommandServices, given: Given) -> Given:
    """Replace the label of the account by its id."""
    if "account" not in given:
        return given
    others = {name: value for name, value in given.items() if name != "account"}
    label = given["account"]
    login = await services.accounts.find(label) if label is not None else None
    return {**others, "account_id": login.account.id if login is not None else None}


def _show_issued(
    issued: IssuedKey, labels: Mapping[str, str], *, as_json: bool, more: Mapping[str, Any] | None = None
) -> int:
    if as_json:
        document = key_document(issued.key, labels, now=time.time())
        show_document({"key": issued.text.reveal(), **document, **(more or {})})
    else:
        # Alone on stdout, so that a script can read it.
        print(issued.text.reveal())
        print(_SHOWN_ONCE.strip(), file=sys.stderr)
    return 0


def _show(key: ClientKey, labels: Mapping[str, str], *, as_json: bool) -> int:
    if as_json:
        show_document(key_document(key, labels, now=time.time()))
        return 0
    defaults = key.terms.defaults
    search = {True: "on", False: "off", None: "default"}[defaults.web_search]
    rows = [
        *zip(_COLUMNS, _row(key, labels), strict=True),
        ("OWNER", key.terms.owner or "-"),
        ("REASONING", f"{defaults.reasoning_style or 'default'}, effort {defaults.reasoning_effort or 'default'}"),
        ("WEB SEARCH", search),
        ("CREATED", local(key.created_at)),
        ("ROTATED", "never" if key.rotated_at is None else local(key.rotated_at)),
    ]
    show_table(("TERM", "VALUE"), rows)
    return 0


def _row(key: ClientKey, labels: Mapping[str, str]) -> tuple[str, ...]:
    terms = key.terms
    limits = (
        (terms.rpm, "/min"),
        (terms.tokens_per_day, " tokens/day"),
        (terms.tokens_per_week, " tokens/week"),
        (terms.concurrency, " at once"),
    )
    return (
        key.name,
        key.id,
        terms.role,
        key_state(key, time.time()),
        ", ".join(f"{amount}{unit}" for amount, unit in limits if amount is not None) or "none",
        ",".join(terms.models) or "all",
        "any" if terms.account_id is None else labels.get(terms.account_id, "removed"),
        "never" if terms.expires_at is None else relative(terms.expires_at),
    )
