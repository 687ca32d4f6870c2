"""``gptmock logout``: revokes an account's login at the issuer, and deletes it here."""

from __future__ import annotations

import argparse

from gptmock.cli.accounts import sign_out

_EPILOG = """example:
  gptmock logout
  gptmock logout work

The login is revoked at the issuer and removed from the store.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "label", metavar="LABEL", nargs="?", help="label, id or mail address; needed if there are several accounts"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sign out of an account."""
    return sign_out(options.label)
