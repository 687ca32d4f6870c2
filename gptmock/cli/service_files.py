"""The files that make the server a service of a user: a systemd unit, and a launchd agent. Pure; starts nothing."""

from __future__ import annotations

import plistlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNIT_NAME = "gptmock.service"
AGENT_LABEL = "gptmock.serve"
_CLOSING_SECONDS = 15
"""What the server may need after the grace of its streams."""
_UNIT = """\
# Made by: gptmock service install. Settings: the flags below, and .env in the working directory.
[Unit]
Description=gptmock, an API server for your own ChatGPT account
After=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={home}
Environment={environment}
Restart=on-failure
RestartSec=2
# Wrong settings do not become right by another start.
RestartPreventExitStatus=2
# The server stops its own workers, and lets their streams end.
KillMode=mixed
TimeoutStopSec={stop_seconds}
UMask=0077
# What a user's own systemd can take away.
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


def systemd_unit(command: Sequence[str], *, home: Path, grace_seconds: int) -> str:
    """
    The unit for the user's own systemd.

    Args:
        command: program and arguments.
        home: ``GPTMOCK_HOME``, which becomes the working directory too.
        grace_seconds: what live streams have when the server stops.
    """
    return _UNIT.format(
        command=" ".join(_quoted(word) for word in command),
        # A path is taken as it is, but for its specifiers.
        home=str(home).replace("%", "%%"),
        environment=_quoted(f"GPTMOCK_HOME={home}", variables=False),
        stop_seconds=grace_seconds + _CLOSING_SECONDS,
    )


def launchd_agent(command: Sequence[str], *, home: Path, grace_seconds: int) -> bytes:
    """The property list of the agent, which logs below ``home``; the arguments are those of ``systemd_unit``."""
    agent: dict[str, Any] = {
        "Label": AGENT_LABEL,
        "ProgramArguments": list(command),
        "WorkingDirectory": str(home),
        "EnvironmentVariables": {"GPTMOCK_HOME": str(home)},
        "RunAtLoad": True,
        # Started again after a failure, and not after a stop.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": grace_seconds + _CLOSING_SECONDS,
        "ProcessType": "Adaptive",
        "Umask": 0o077,
        "StandardOutPath": str(home / "service.log"),
        "StandardErrorPath": str(home / "service.log"),
    }
    return plistlib.dumps(agent)


def _quoted(word: str, *, variables: bool = True) -> str:
    """A word as systemd reads it; see systemd.service(5), "Command lines"."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if variables else escaped}"'
