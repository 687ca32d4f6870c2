"""``gptmock doctor``: checks everything that a server needs, and says what to do about each failure."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rich.table import Table
from rich.text import Text

from gptmock.cli.ports import is_free, served_version
from gptmock.cli.settings import given_settings
from gptmock.cli.terminal import console, person_looks, printable, show_document
from gptmock.diagnostics import Finding, examine
from gptmock.settings import Settings

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_EPILOG = """example:
  gptmock doctor
  gptmock doctor --json

Each line is one check, with its result and what to do. The exit code is 1 if a
check fails; warnings do not change it.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look at everything."""
    settings = given_settings({})
    findings = asyncio.run(_examined(settings, quiet=options.json))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if options.json:
        show_document({"healthy": not failed, "checks": [_document(finding) for finding in findings]})
    else:
        warnings = sum(finding.verdict == "warn" for finding in findings)
        print(f"\n{len(findings)} checks: {len(failed)} failed, {warnings} with a warning.")
    return 1 if failed else 0


async def _examined(settings: Settings, *, quiet: bool) -> list[Finding]:
    findings = []
    async for finding in examine(settings, lambda: check_port(settings)):
        findings.append(finding)
        if not quiet:
            show_finding(finding)
    return findings


def show_finding(finding: Finding) -> None:
    """One line; at a terminal the verdict has its colour, and what does not fit goes on below the text."""
    check, found = printable(finding.check), printable(finding.found)
    todo = f" -> {printable(finding.todo)}" if finding.todo else ""
    verdict = f"{finding.verdict:<4}"
    if not person_looks():
        print(f"{verdict} {check}: {found}{todo}", flush=True)
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    text = Text.assemble((check, "bold"), f": {found}", (todo, "cyan"))
    grid.add_row(Text(verdict, style=_STYLES[finding.verdict]), text)
    console().print(grid)


def check_port(settings: Settings) -> Finding:
    """Whether the port is free or in use by a gptmock server; if another program uses it, the check fails."""
    where = f"port {settings.port} on {settings.host}"
    if is_free(settings.host, settings.port):
        return Finding("port", "ok", f"{where} is free")
    version = served_version(settings.host, settings.port)
    if version is not None:
        return Finding("port", "ok", f"a server is running on {where}, version {version}")
    todo = "stop that program, or choose another port with --port or GPTMOCK_PORT"
    return Finding("port", "fail", f"{where} is in use by another program, or is not this machine's", todo)


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "found": finding.found,
        "todo": finding.todo or None,
    }
