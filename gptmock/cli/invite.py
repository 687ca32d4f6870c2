"""``gptmock invite``: makes, lists and revokes the links by which members sign in to accounts of their own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from gptmock.cli.errors import WrongUsage
from gptmock.cli.key_terms import add_term_options, duration_seconds, given_terms, name_text
from gptmock.cli.ports import reachable_host
from gptmock.cli.settings import given_settings, with_command_services
from gptmock.cli.terminal import relative, show_document, show_table
from gptmock.clients import INVITATION_SECONDS, Invitation, IssuedInvitation, KeyTerms, invitation_link, revised
from gptmock.command_services import CommandServices
from gptmock.overview import invitation_document
from gptmock.setting_values import is_loopback
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock invite ada --url https://gptmock.example.com
  gptmock invite ada --expires 1d --tokens-per-day 2M --models 'gpt-6*'
  gptmock invite --list
  gptmock invite --revoke ada

Send the link to one person. Whoever opens it signs in to a ChatGPT account of
their own and sees a key once; that account serves that key, and no other. The
link works once.
"""
_URL = re.compile(r"https?://[A-Za-z0-9._~\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?\Z")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("name", nargs="?", metavar="NAME", type=name_text, help="name of the key to be")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--list", action="store_true", help="show all open invitations")
    others.add_argument("--revoke", metavar="NAME", help="end an open invitation, by its name or id")
    parser.add_argument(
        "--expires",
        dest="valid_seconds",
        type=duration_seconds,
        metavar="TIME",
        help="how long the link works, such as 1d, at most 30d (default 7d)",
    )
    parser.add_argument(
        "--url", type=_url, metavar="URL", help="the server as members reach it, with its base path if there is one"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    add_term_options(parser, invited=True)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make, list or revoke."""
    if (options.name is not None) + options.list + (options.revoke is not None) != 1:
        raise WrongUsage("say whom to invite, or --list, or --revoke NAME")
    if options.list:
        return _list(as_json=options.json)
    if options.revoke is not None:
        return _revoke(options.revoke, as_json=options.json)
    return _invite(options)


def _invite(options: argparse.Namespace) -> int:
    settings = given_settings({})
    url = options.url or _own_url(settings)
    seconds = INVITATION_SECONDS if options.valid_seconds is None else options.valid_seconds

    async def work(services: CommandServices) -> IssuedInvitation:
        terms = revised(KeyTerms(), given_terms(options))
        return await services.invitations.create(options.name, terms, ttl_seconds=seconds)

    issued = with_command_services(work)
    link, invitation = invitation_link(url, issued.text), issued.invitation
    if options.json:
        show_document({"link": link, **invitation_document(invitation)})
        return 0
    # Alone on stdout, so that a script can read it.
    print(link)
    said = f"Send this link to {invitation.name}. It works once, and ends {relative(invitation.expires_at)}."
    print(said, file=sys.stderr)
    if options.url is None and settings.public_url is None and is_loopback(reachable_host(settings.host)):
        said = "It leads to this machine. Give the address that members use with --url, or set GPTMOCK_PUBLIC_URL."
        print(said, file=sys.stderr)
    return 0


def _list(*, as_json: bool) -> int:
    async def work(services: CommandServices) -> Sequence[Invitation]:
        return await services.invitations.all()

    found = with_command_services(work)
    if as_json:
        show_document({"invitations": [invitation_document(one) for one in found]})
    elif found:
        rows = [
            (one.name, one.id, one.terms.role, ",".join(one.terms.models) or "all", relative(one.expires_at))
            for one in found
        ]
        show_table(("NAME", "ID", "ROLE", "MODELS", "EXPIRES"), rows)
    else:
        print("There are no open invitations. Make one with: gptmock invite NAME")
    return 0


def _revoke(name: str, *, as_json: bool) -> int:
    async def work(services: CommandServices) -> Invitation:
        return await services.invitations.revoke(name)

    invitation = with_command_services(work)
    if as_json:
        show_document(invitation_document(invitation))
    else:
        print(f"The invitation of {invitation.name} is revoked; its link does not work any more.")
    return 0


def _own_url(settings: Settings) -> str:
    if settings.public_url is not None:
        return settings.public_url + (settings.base_path or "")
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{reachable_host(settings.host)}:{settings.port}{settings.base_path or ''}"


def _url(text: str) -> str:
    if _URL.match(text) is None:
        raise argparse.ArgumentTypeError("an address such as https://gptmock.example.com or http://host:8000/base")
    return text.rstrip("/")
