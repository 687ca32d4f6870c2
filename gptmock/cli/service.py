"""``gptmock service``: the server as a service of this user, by systemd or launchd. Needs no administrator."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.cli.options import add_serve_options, serve_flags
from gptmock.cli.service_files import AGENT_LABEL, UNIT_NAME, launchd_agent, systemd_unit
from gptmock.cli.settings import given_settings
from gptmock.redis_urls import holds_password
from gptmock.settings import Settings

_EPILOG = """example:
  gptmock service install --port 9000
  gptmock service status
  gptmock service remove
"""
_INSTALL = """Start the server now and whenever you log in, by systemd or launchd.
Takes the options of serve. Other settings belong into the file .env in
GPTMOCK_HOME; variables of your shell are not taken over. Installing again
replaces the options and restarts the server.
"""
_FLAGS = {"default_web_search": "enable-web-search"}
"""Settings whose flag has another name."""
_TIMEOUT_SECONDS = 120


class _Manager(Protocol):
    """What starts services: systemd or launchd."""

    path: Path
    """The file that describes the service."""

    def content(self, command: Sequence[str], settings: Settings) -> bytes:
        """What belongs into the file."""

    def start(self) -> None:
        """Start it now and later, with the file as it is."""

    def stop(self) -> None:
        """Stop it, and start it no more."""

    def is_running(self) -> bool:
        """Whether the server runs."""

    def hints(self) -> list[str]:
        """Lines about the log, and about what it needs to start without a login."""


class _Systemd:
    def __init__(self) -> None:
        base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        self.path = Path(base) / "systemd" / "user" / UNIT_NAME

    def content(self, command: Sequence[str], settings: Settings) -> bytes:
        return systemd_unit(command, home=settings.home, grace_seconds=settings.shutdown_grace).encode()

    def start(self) -> None:
        _call("systemctl", "--user", "daemon-reload")
        _call("systemctl", "--user", "enable", UNIT_NAME)
        _call("systemctl", "--user", "restart", UNIT_NAME)

    def stop(self) -> None:
        _call("systemctl", "--user", "disable", "--now", UNIT_NAME)

    def is_running(self) -> bool:
        return _succeeds("systemctl", "--user", "is-active", "--quiet", UNIT_NAME)

    def hints(self) -> list[str]:
        return [
            f"Log: journalctl --user -u {UNIT_NAME} -f",
            "To start it before anybody logs in: loginctl enable-linger",
        ]


class _Launchd:
    def __init__(self) -> None:
        self.path = Path.home() / "Library" / "LaunchAgents" / f"{AGENT_LABEL}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._log = "service.log in GPTMOCK_HOME"

    def content(self, command: Sequence[str], settings: Settings) -> bytes:
        self._log = str(settings.home / "service.log")
        return launchd_agent(command, home=settings.home, grace_seconds=settings.shutdown_grace)

    def start(self) -> None:
        if self.is_running():
            _call("launchctl", "bootout", f"{self._domain}/{AGENT_LABEL}")
        _call("launchctl", "bootstrap", self._domain, str(self.path))

    def stop(self) -> None:
        if self.is_running():
            _call("launchctl", "bootout", f"{self._domain}/{AGENT_LABEL}")

    def is_running(self) -> bool:
        return _succeeds("launchctl", "print", f"{self._domain}/{AGENT_LABEL}")

    def hints(self) -> list[str]:
        return [f"Log: {self._log}"]


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, and what to run."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    install = commands.add_parser(
        "install",
        help="start the server now and at every login",
        description=_INSTALL,
        epilog="example:\n  gptmock service install --port 9000 --workers 2\n",
        formatter_class=raw,
    )
    add_serve_options(install)
    install.set_defaults(run=_install)
    status = commands.add_parser(
        "status",
        help="tell whether it is installed and runs",
        description="Tell whether the service is installed and runs. Exits with 1 if it does not.",
        epilog="example:\n  gptmock service status --json\n",
        formatter_class=raw,
    )
    status.add_argument("--json", action="store_true", help="machine-readable output")
    status.set_defaults(run=_status)
    remove = commands.add_parser(
        "remove",
        help="stop the server and start it no more",
        description="Stop the server and start it no more. Logins, keys and settings stay.",
        epilog="example:\n  gptmock service remove\n",
        formatter_class=raw,
    )
    remove.set_defaults(run=_remove)


def _install(options: argparse.Namespace) -> int:
    manager = _manager()
    flags = serve_flags(options)
    settings = given_settings(flags)
    if holds_password(str(flags.get("redis_url") or "")):
        raise WrongUsage(
            f"--redis-url: a password would be readable in the list of processes; write GPTMOCK_REDIS_URL=... into "
            f"{settings.home / '.env'}"
        )
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [*_program(), "serve", *_words(flags)]
    content = manager.content(command, settings)
    manager.path.parent.mkdir(parents=True, exist_ok=True)
    manager.path.write_bytes(content)
    manager.start()
    print(f"Installed: {manager.path}")
    print(f"Serving at http://{settings.host}:{settings.port}/v1, now and after each login.")
    for line in (f"Settings: {settings.home / '.env'}, then install again.", *manager.hints()):
        print(line)
    ignored = sorted(name for name in os.environ if name.startswith("GPTMOCK_") and name != "GPTMOCK_HOME")
    if ignored:
        print(f"gptmock: not taken over from your shell: {', '.join(ignored)}", file=sys.stderr)
    return 0


def _status(options: argparse.Namespace) -> int:
    manager = _manager()
    installed = manager.path.exists()
    running = installed and manager.is_running()
    if options.json:
        print(json.dumps({"installed": installed, "running": running, "file": str(manager.path)}))
    elif installed:
        print(f"Installed: {manager.path}")
        print("Running." if running else "Not running.")
        for line in manager.hints():
            print(line)
    else:
        print("Not installed. Install it with: gptmock service install")
    return 0 if running else 1


def _remove(_: argparse.Namespace) -> int:
    manager = _manager()
    if not manager.path.exists():
        print("Not installed.")
        return 0
    manager.stop()
    manager.path.unlink()
    print(f"Removed: {manager.path}. Logins, keys and settings are still there.")
    return 0


def _manager() -> _Manager:
    if sys.platform == "darwin":
        return _Launchd()
    if shutil.which("systemctl") is None:
        raise CommandFailed(
            "there is neither systemd nor launchd here; let what starts your services run: gptmock serve"
        )
    return _Systemd()


def _program() -> list[str]:
    """
    What starts this program later too.

    Raises:
        CommandFailed: the environment of this program is a temporary one, of uvx.
    """
    if "archive-v0" in Path(sys.executable).parts:
        raise CommandFailed("uvx may remove this environment at any time; install gptmock with: uv tool install")
    # Not resolved: the interpreter of a virtual environment is a link.
    return [str(Path(sys.executable).absolute()), "-m", "gptmock"]


def _words(flags: dict[str, object]) -> list[str]:
    """The flags that were given, as they are typed."""
    words = []
    for name, value in flags.items():
        flag = _FLAGS.get(name, name.replace("_", "-"))
        if value is True:
            words.append(f"--{flag}")
        elif value is False:
            words.append(f"--no-{flag}")
        elif value is not None:
            words.append(f"--{flag}={value}")
    return words


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(command)} has not ended after {_TIMEOUT_SECONDS} s") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise CommandFailed(f"{' '.join(command)} failed: {reason or f'exit code {done.returncode}'}")


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
