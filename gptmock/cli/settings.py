"""Settings and services for commands: loads the settings, prepares the shared state, translates errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from gptmock import shared_state
from gptmock.cli.errors import CommandFailed, WrongUsage
from gptmock.command_services import CommandServices, open_command_services
from gptmock.errors import GptmockError, UnusableKey
from gptmock.settings import Settings
from gptmock.settings_sources import SettingsError, load_settings

_Result = TypeVar("_Result")


def given_settings(flags: Mapping[str, Any]) -> Settings:
    """
    Load the settings from flags and environment.

    Raises:
        WrongUsage: with all mistakes.
    """
    try:
        return load_settings(flags)
    except SettingsError as error:
        raise WrongUsage(*error.mistakes) from error


def prepare_state(settings: Settings) -> list[str]:
    """
    Prepare the shared state (see ``shared_state.prepare``). Returns notes for the operator.

    Raises:
        WrongUsage: the encryption key is missing, weak, or not the one that state was sealed with.
    """
    return run_async(shared_state.prepare(settings))


def run_async(work: Coroutine[Any, Any, _Result]) -> _Result:
    """
    Run a coroutine, and translate its errors.

    Raises:
        WrongUsage: the encryption key is missing, weak, or not the one that state was sealed with.
        CommandFailed: any other ``GptmockError``, with its message.
    """
    try:
        return asyncio.run(work)
    except UnusableKey as error:
        raise WrongUsage(f"GPTMOCK_ENCRYPTION_KEYS: {error}") from error
    except GptmockError as error:
        raise CommandFailed(error.message) from error


def with_command_services(
    work: Callable[[CommandServices], Coroutine[Any, Any, _Result]], *, import_auth_file: bool = True
) -> _Result:
    """
    Run ``work`` with the services over the configured store.

    Args:
        work: called with the services.
        import_auth_file: first import an ``auth.json`` in ``GPTMOCK_HOME``, as a server does without an account.

    Raises:
        As ``given_settings`` and ``run_async``.
    """
    settings = given_settings({})
    if import_auth_file:
        prepare_state(settings)

    async def done() -> _Result:
        async with open_command_services(settings) as services:
            return await work(services)

    return run_async(done())
