"""The settings as a command sees them: its flags, and the mistakes as wrong usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptmock.cli.exits import WrongUsage
from gptmock.settings import Settings, SettingsError, load_settings


def given_settings(flags: Mapping[str, Any]) -> Settings:
    """
    The settings from flags and environment.

    Raises:
        WrongUsage: with every mistake.
    """
    try:
        return load_settings(flags)
    except SettingsError as error:
        raise WrongUsage(*error.mistakes) from error
