"""The settings as a command sees them: its flags, the mistakes as wrong usage, the state made ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from gptmock import wiring
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.command_services import CommandServices, open_command_services
from gptmock.errors import GptmockError, UnusableKey
from gptmock.settings import Settings, SettingsError, load_settings

_Result = TypeVar("_Result")


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
    return run_async(wiring.prepare(settings))


def run_async(work: Coroutine[Any, Any, _Result]) -> _Result:
    """
    Run a command's work to its end.

    Raises:
        WrongUsage: the encryption key is missing, weak, or not the one that state was sealed with.
        CommandFailed: whatever else went wrong, in its own words.
    """
    try:
        return asyncio.run(work)
    except UnusableKey as error:
        raise WrongUsage(f"GPTMOCK_ENCRYPTION_KEYS: {error}") from error
    except GptmockError as error:
        raise CommandFailed(error.message) from error


def with_command_services(
    work: Callable[[CommandServices], Coroutine[Any, Any, _Result]], *, take_over: bool = True
) -> _Result:
    """
    Do something with the accounts of the store that the settings name.

    Args:
        work: what to do.
        take_over: first look for an ``auth.json`` in the home, as a server does when nobody is signed in.

    Raises:
        As ``given_settings`` and ``run_async``.
    """
    settings = given_settings({})
    if take_over:
        prepared(settings)

    async def done() -> _Result:
        async with open_command_services(settings) as services:
            return await work(services)

    return run_async(done())
