"""How a command ends when it does not end well."""

from __future__ import annotations


class CommandFailed(Exception):
    """One clear line for stderr; exit code 1."""


class WrongUsage(Exception):
    """One clear line for stderr; exit code 2."""
