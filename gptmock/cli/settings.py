"""The settings as a command sees them: its flags, the mistakes as wrong usage, the state made ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gptmock import wiring
from gptmock.cli.exits import WrongUsage
from gptmock.errors import UnusableKey
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


def prepared(settings: Settings) -> list[str]:
    """
    The shared state made ready, and what the operator should know of it.

    Raises:
        WrongUsage: the encryption key is missing, weak, or not the one that state was sealed with.
    """
    try:
        return asyncio.run(wiring.prepare(settings))
    except UnusableKey as error:
        raise WrongUsage(f"GPTMOCK_ENCRYPTION_KEYS: {error}") from error
