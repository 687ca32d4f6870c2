"""``gptmock accounts``: list, choose the default, pause and remove accounts; import and export ``auth.json``."""

from __future__ import annotations

import argparse
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

from gptmock.accounts import BrokenLogin, Login
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.settings import with_command_services
from gptmock.cli.terminal import relative, show_document, show_table
from gptmock.command_services import CommandServices
from gptmock.overview import broken_document, login_document
from gptmock.signin import LogoutResult

_EPILOG = """example:
  gptmock accounts list
  gptmock accounts default work
  gptmock accounts import ~/.codex/auth.json --account work
  gptmock accounts export work --output work.json

LABEL is the first column of "gptmock accounts list"; the account's id or mail
address is accepted too.
"""
_EXAMPLES = {
    "list": "list --json",
    "default": "default work",
    "import": "import ~/.codex/auth.json --account work",
    "export": "export work --output work.json",
    "remove": "remove work",
    "pause": "pause work",
    "resume": "resume work",
}
_IMPORTED = """
Use this login only with gptmock from now on: refresh tokens are single-use, so two programs that hold the same one sign
each other out. Sign in again in the program that it came from, or stop using it there.
"""
_EXPORTED = """
gptmock still holds this login, and two programs that hold the same refresh token sign each other out. Use the file in
one program only, and then remove the account here without revoking it: gptmock accounts remove {label} --keep-login
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, and what to run."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, text: str, run: Any, *, label: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  gptmock accounts {_EXAMPLES[name]}\n",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if label:
            added.add_argument("label", metavar="LABEL", help="label, id or mail address of the account")
        added.set_defaults(run=run)
        return added

    listed = command("list", "show all accounts", run_list, label=False)
    listed.add_argument("--json", action="store_true", help="machine-readable output")
    command("default", "select the account that serves requests by default", run_default)
    imported = command("import", "import the login of another program from its auth.json", run_import, label=False)
    imported.add_argument("file", metavar="FILE", type=Path, help="auth.json of Codex CLI, ChatMock or GPTMock")
    imported.add_argument(
        "--account", metavar="LABEL", type=label_text, help="label of the account (default: its mail address)"
    )
    exported = command("export", "write the login of an account to an auth.json file", run_export)
    exported.add_argument("--output", metavar="FILE", type=Path, required=True, help="file to create, with mode 0600")
    removed = command("remove", "revoke the login of an account and remove the account", run_remove)
    removed.add_argument(
        "--keep-login", action="store_true", help="do not revoke the login, because another program uses it"
    )
    command("pause", "stop using an account until it is resumed", run_pause)
    command("resume", "use a paused account again", run_resume)


def label_text(text: str) -> str:
    """
    Validate a label: printable, and usable in the comma-separated ``GPTMOCK_ACCOUNT_POOL``.

    Raises:
        ArgumentTypeError: it is not.
    """
    if not text.strip() or text != text.strip() or not text.isprintable() or "," in text or len(text) > 100:
        raise argparse.ArgumentTypeError("a label has 1 to 100 printable characters, and no comma")
    return text


def run_list(options: argparse.Namespace) -> int:
    """Print all accounts as a table or JSON."""

    async def work(services: CommandServices) -> tuple[list[Login], list[BrokenLogin], str | None]:
        return await services.logins(), await services.broken(), await services.default()

    logins, broken, default = with_command_services(work)
    if options.json:
        shown = [login_document(login, is_default=login.account.id == default) for login in logins]
        show_document({"accounts": shown, "broken": [broken_document(one) for one in broken]})
    elif logins or broken:
        rows = [
            (
                login.label,
                login.account.plan or "unknown",
                login.account.workspace_id,
                _state(login, is_default=login.account.id == default),
                "no expiry" if login.expires_at is None else relative(login.expires_at),
            )
            for login in logins
        ]
        rows += [(one.label, "unknown", "unknown", "cannot be decrypted", "unknown") for one in broken]
        show_table(("LABEL", "PLAN", "WORKSPACE", "STATE", "TOKEN ENDS"), rows)
    else:
        print("No ChatGPT account is signed in. Sign in with: gptmock login")
    if not options.json:
        for one in broken:
            print(one.message, file=sys.stderr)
    return 0


def run_default(options: argparse.Namespace) -> int:
    """Set the default account."""

    async def work(services: CommandServices) -> Login:
        login = await services.accounts.find(options.label)
        await services.accounts.make_default(login)
        return login

    print(f"{with_command_services(work).label} is the default account now.")
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Import an ``auth.json``; the file is not changed."""

    async def work(services: CommandServices) -> Login:
        return await services.import_login(options.file.expanduser(), label=options.account)

    # Without the automatic import from GPTMOCK_HOME: it may be this same file.
    login = with_command_services(work, import_auth_file=False)
    print(f"Imported {login.label}{f' ({login.account.plan})' if login.account.plan else ''}.")
    print(_IMPORTED.strip(), file=sys.stderr)
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Export an account's login to a file."""
    path = options.output.expanduser()
    _check_output(path)

    async def work(services: CommandServices) -> Login:
        login = await services.accounts.find(options.label)
        await services.export_login(login, path)
        return login

    login = with_command_services(work)
    print(f"Wrote the login of {login.label} to {path}.")
    print(_EXPORTED.strip().format(label=shlex.quote(login.label)), file=sys.stderr)
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Sign out of an account and delete it here."""
    return sign_out(options.label, revoke=not options.keep_login)


def run_pause(options: argparse.Namespace) -> int:
    """Pause an account."""
    login, is_default = _pause(options.label, paused=True)
    print(f"{login.label} is paused.")
    if is_default:
        print(
            "It is the default account: requests without an account of their own get 503 until it is resumed, or until"
        )
        print("another one is the default: gptmock accounts default LABEL")
    return 0


def run_resume(options: argparse.Namespace) -> int:
    """Resume a paused account."""
    login, _ = _pause(options.label, paused=False)
    print(f"{login.label} is in service.")
    return 0


def sign_out(label: str | None, *, revoke: bool = True) -> int:
    """
    Sign out of an account; without a label, of the only one.

    Raises:
        CommandFailed: there is none of that label, or none at all.
        WrongUsage: there are several, and none was named.
    """

    async def work(services: CommandServices) -> LogoutResult:
        name = label if label is not None else _only(await services.logins(), await services.broken())
        if (broken := await services.accounts.find_broken(name)) is not None:
            return await services.accounts.discard(broken)
        return await services.accounts.sign_out(await services.accounts.find(name), revoke=revoke)

    result = with_command_services(work)
    print(f"Signed out of {result.login.label}.")
    if result.successor is not None:
        print(f"The default account is {result.successor.label} now.")
    if revoke and not result.revoked:
        print("gptmock: it is deleted here, but it could not be revoked at the issuer.", file=sys.stderr)
    return 0


def _only(logins: list[Login], broken: list[BrokenLogin]) -> str:
    labels = {login.account.id: login.label for login in logins} | {one.account_id: one.label for one in broken}
    if not labels:
        raise CommandFailed("No ChatGPT account is signed in.")
    if len(labels) > 1:
        raise WrongUsage(f"there are several accounts; say which: {', '.join(labels.values())}")
    return next(iter(labels))


def _state(login: Login, *, is_default: bool) -> str:
    words = [
        *(["default"] if is_default else []),
        *(["member"] if login.member else []),
        *(["paused"] if login.paused else []),
        *(["ended, sign in again"] if login.refused is not None else []),
    ]
    return ", ".join(words) or "ready"


def _check_output(path: Path) -> None:
    """
    Check that tokens may be written to ``path``: not a terminal, pipe or device, and not a file with content.

    Raises:
        WrongUsage: they may not.
    """
    if str(path) == "-":
        raise WrongUsage("--output: tokens are written to a file, never to a terminal or a pipe")
    try:
        # lstat: the new file replaces a symbolic link itself, and /dev/stdout is one.
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written ({error.strerror}).") from error
    if not stat.S_ISREG(found.st_mode):
        raise WrongUsage(f"--output: {path} is no plain file; tokens are never written to a terminal, pipe or device")
    if found.st_size:
        raise WrongUsage(f"--output: {path} exists already, and is not replaced")


def _pause(label: str, *, paused: bool) -> tuple[Login, bool]:
    async def work(services: CommandServices) -> tuple[Login, bool]:
        login = await services.accounts.find(label)
        await services.accounts.pause(login, paused=paused)
        return login, await services.default() == login.account.id

    return with_command_services(work)
