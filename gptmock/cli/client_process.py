"""Runs a client at this terminal, with the environment and the arguments of its setup."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gptmock.cli.errors import CommandFailed
from gptmock.client_setups.json_text import UnreadableText, json_value
from gptmock.client_setups.setup import KEY, ClientSetup, Start

_MANAGED: Mapping[str, tuple[str, ...]] = {
    "claude": (
        "/etc/claude-code/managed-settings.json",
        "/Library/Application Support/ClaudeCode/managed-settings.json",
    )
}
"""Files that an administrator writes, by client."""
NO_PROXY = ("NO_PROXY", "no_proxy")
"""Variables with the hosts that no proxy is asked for."""
_LOCAL_HOSTS = ("localhost", "127.0.0.1")
_SIGNAL_EXIT = 128
"""Shells add the number of the signal to this."""


def program_of(setup: ClientSetup) -> str:
    """
    The path of the client's program.

    Raises:
        CommandFailed: it is not installed, with how to install it; or it cannot be started from a terminal.
    """
    if setup.command is None or setup.start is None:
        raise CommandFailed(
            f"{setup.title} cannot be started from here. How it is set up: gptmock launch {setup.name} --print"
        )
    found = shutil.which(setup.command)
    if found is None:
        raise CommandFailed(
            f"{setup.title} is not installed: there is no {setup.command} on the PATH. "
            f"Install it with: {setup.install} (more at {setup.page})"
        )
    return found


def client_environment(start: Start, key: str | None, url: str) -> dict[str, str]:
    """
    This process's environment as the client gets it.

    Args:
        start: of the client.
        key: stands where the setup says so.
        url: of the server, which no proxy of the environment is asked for.
    """
    given = {
        name: (key or "") if value == KEY else value
        for name, value in start.environment.items()
        # Without a key the variable stays as it is.
        if value != KEY or key is not None
    }
    hidden = {*start.without, *start.switches}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, **given, **without_proxy(kept, url)}


def without_proxy(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """``NO_PROXY`` and ``no_proxy`` with what they have, and with the host of ``url`` and this machine's own names."""
    upper, lower = (environment.get(name, "") for name in NO_PROXY)
    # Programs read one of the two only, and not all of them the same.
    return {name: with_hosts(own, url) for name, own in zip(NO_PROXY, (upper or lower, lower or upper), strict=True)}


def with_hosts(listed: str, url: str) -> str:
    """A value of ``NO_PROXY`` with the host of ``url`` and this machine's own names."""
    if listed.strip() == "*":
        # It means every host only if it stands alone.
        return listed
    host = urlsplit(url).hostname or ""
    # Programs differ in whether an address of IPv6 has its brackets here.
    hosts = ([host, f"[{host}]"] if ":" in host else [host]) + list(_LOCAL_HOSTS)
    words = [word for word in re.split(r"[,\s]+", listed) if word]
    return ",".join(dict.fromkeys([*words, *filter(None, hosts)]))


def managed_conflicts(setup: ClientSetup, start: Start) -> list[str]:
    """
    What an administrator's settings of the client say otherwise than this run: they have precedence over it.

    Returns one sentence for each file, with the names of what it sets.
    """
    names = {*start.environment, *start.without, *start.switches}
    found = []
    for path in map(Path, _MANAGED.get(setup.name, ())):
        try:
            settings = json_value(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, UnreadableText):
            continue
        given = settings.get("env") if isinstance(settings, dict) else None
        told = sorted(names & given.keys()) if isinstance(given, dict) else []
        if isinstance(settings, dict) and "apiKeyHelper" in settings:
            told.append("apiKeyHelper")
        if told:
            found.append(
                f"{path} sets {', '.join(told)} and has precedence over this run, so {setup.title} may speak with "
                "another server or use another key: whoever administrates this computer can take that out of the file"
            )
    return found


def run_client(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """
    Run the client to its end. Ctrl-C is for the client, which shares the terminal; SIGTERM is passed on.

    Returns its exit code, or 128 and the number of the signal that ended it.

    Raises:
        CommandFailed: the program cannot be run.
    """
    # A handler and not SIG_IGN, which the client would inherit.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen([program, *arguments], env=dict(environment))  # noqa: S603 - what the user asks for
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        code = process.wait()
    except OSError as error:
        raise CommandFailed(f"{program} cannot be run: {error.strerror}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else _SIGNAL_EXIT - code
