"""``gptmock login``: sign in to ChatGPT, with a browser or with a device code. Shows no token."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from gptmock.accounts import Login
from gptmock.cli.accounts import label_text
from gptmock.cli.browser import open_browser
from gptmock.cli.errors import CommandFailed
from gptmock.cli.prompts import typed_lines
from gptmock.cli.settings import given_settings, run_async
from gptmock.command_services import CommandServices, open_command_services
from gptmock.login.flow import LoginSkipped
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock login                   sign in with the browser of this machine
  gptmock login --headless        sign in with a code on any device
  gptmock login --account work    sign in to one more account, labelled "work"

After the login, the browser is redirected to http://localhost:1455 (or 1457).
If the browser runs on another machine, paste the URL that it ends at into this
terminal, or use --headless. To sign in to another account, sign out of ChatGPT
in the browser first, or use a private window.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--headless", action="store_true", help="show a code to type in on any device; needs no browser on this machine"
    )
    parser.add_argument("--no-browser", action="store_true", help="show the URL, but do not open a browser")
    parser.add_argument(
        "--account", metavar="LABEL", type=label_text, help="label of the account (default: its mail address)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sign in once."""
    settings = given_settings({})
    if options.headless:
        login = run_async(_headless(settings, label=options.account))
    else:
        login = run_async(sign_in(settings, label=options.account, browser=not options.no_browser))
    print(signed_in_line(login))
    return 0


async def sign_in(settings: Settings, *, label: str | None, browser: bool, skippable: bool = False) -> Login:
    """
    One login through a browser, on this machine or another.

    Raises:
        LoginSkipped: by an empty line, if ``skippable``.
        GptmockError: the login failed.
    """
    async with open_command_services(settings) as services:
        return await _with_browser(services, settings, label=label, browser=browser, skippable=skippable)


async def _with_browser(
    services: CommandServices, settings: Settings, *, label: str | None, browser: bool, skippable: bool
) -> Login:
    attempt = services.browser_login(label=label)
    async with attempt.listening(settings.login_bind):
        opened = browser and open_browser(attempt.url)
        print("Your browser should open. If it does not, go to:" if opened else "Open this URL in a browser:")
        print(f"\n  {attempt.url}\n")
        print(f"After the login, the browser is redirected to {attempt.redirect_uri}.")
        print("If it cannot reach this machine, paste the full URL from its address bar here and press Enter.")
        if skippable:
            print("Press Enter on an empty line to skip the login.")
        sys.stdout.flush()
        return await attempt.finish(typed_lines(), say=_say, skippable=skippable)


async def _headless(settings: Settings, *, label: str | None) -> Login:
    async with open_command_services(settings) as services:
        device = await services.begin_device()
        print(f"Open this page on any device:\n\n  {device.page}\n\nand type this code:\n\n  {device.user_code}\n")
        minutes = device.lifetime_seconds / 60
        print(f"It is valid for {minutes:.0f} minutes. Type it only if you started this login yourself.")
        sys.stdout.flush()
        tick = _countdown() if sys.stdout.isatty() else _no_countdown
        try:
            return await services.device_login(device, label=label, tick=tick)
        finally:
            if sys.stdout.isatty():
                print("\r\x1b[K", end="", flush=True)


def first_login(settings: Settings) -> None:
    """The login that ``serve`` offers at a terminal; the server starts whether it succeeds or not."""
    print("No ChatGPT account is signed in yet. Starting the login.")
    try:
        print(signed_in_line(run_async(sign_in(settings, label=None, browser=True, skippable=True))))
    except LoginSkipped:
        print("Skipped. Sign in later with: gptmock login")
    except CommandFailed as error:
        print(f"gptmock: {error}", file=sys.stderr)


def signed_in_line(login: Login) -> str:
    """The last line of a successful login."""
    plan = f" ({login.account.plan})" if login.account.plan else ""
    return f"Signed in as {login.label}{plan}."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _countdown() -> Callable[[float], None]:
    def tick(seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        print(f"\rWaiting until you have typed it: {minutes}:{rest:02d} left \x1b[K", end="", flush=True)

    return tick


def _no_countdown(_: float) -> None:
    """Print nothing: stdout is a file or a pipe."""
