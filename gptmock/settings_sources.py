"""
Reads the settings from flags, environment and ``.env``; all mistakes are reported together.

Precedence: flag, then ``GPTMOCK_*``, then the file that ``GPTMOCK_*_FILE`` names (of secrets), then the legacy
``CHATGPT_LOCAL_*``, then ``.env`` in the working directory, then the default. An empty value counts as unset.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
from dotenv import dotenv_values

from gptmock.settings import Settings

_PREFIX, _LEGACY_PREFIX = "GPTMOCK_", "CHATGPT_LOCAL_"
_LEGACY_NAMES = {
    "verbose": "VERBOSE",
    "debug_model": "DEBUG_MODEL",
    "reasoning_effort": "REASONING_EFFORT",
    "reasoning_summary": "REASONING_SUMMARY",
    "reasoning_compat": "REASONING_COMPAT",
    "expose_reasoning_models": "EXPOSE_REASONING_MODELS",
    "default_web_search": "ENABLE_WEB_SEARCH",
    "client_id": "CLIENT_ID",
    "issuer": "ISSUER",
    "home": "HOME",
    "login_bind": "LOGIN_BIND",
}
_NOT_FROM_DOTENV = frozenset({"upstream_url", "issuer"})
"""Settings not read from ``.env``: a foreign working directory must not redirect tokens."""
FROM_FILE = ("api_key", "admin_key", "key_pepper", "redis_url", "webhook_url", "webhook_secret")
"""Settings that may be in a file, which ``GPTMOCK_{NAME}_FILE`` names, such as a mounted secret."""


class SettingsError(Exception):
    """Settings that cannot be used; ``mistakes`` has one line for each."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def load_settings(
    flags: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> Settings:
    """
    Load and validate the settings.

    Args:
        flags: field name to value; ``None`` means that the flag was not given.
        environ: environment variables; by default the process's.
        directory: the directory of ``.env``; by default the working directory.

    Raises:
        SettingsError: with every mistake, each naming its variable and what is allowed.
    """
    environ = os.environ if environ is None else environ
    dotenv = _dotenv((directory or Path.cwd()) / ".env")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    mistakes = [
        f"{name}: must not be set in .env, only in the environment"
        for field in sorted(_NOT_FROM_DOTENV)
        for name in variable_names(field)
        if dotenv.get(name)
    ]
    for field in Settings.model_fields:
        source, value = _lookup(field, flags, environ, dotenv)
        if value is None and field in FROM_FILE:
            try:
                source, value = _from_file(field, environ, dotenv)
            except SettingsError as error:
                mistakes += error.mistakes
        if value is not None:
            values[field], sources[field] = value, source
    try:
        settings = Settings.model_validate(values)
    except pydantic.ValidationError as error:
        mistakes += _mistakes(error, sources)
    if mistakes:
        raise SettingsError(tuple(dict.fromkeys(mistakes)))
    return settings


def variable_names(field: str) -> tuple[str, ...]:
    """The environment variables of a setting, in order of precedence."""
    legacy = _LEGACY_NAMES.get(field)
    return (_PREFIX + field.upper(), *((_LEGACY_PREFIX + legacy,) if legacy else ()))


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f".env: cannot be read ({type(error).__name__})",)) from error


def _lookup(
    field: str, flags: Mapping[str, Any], environ: Mapping[str, str], dotenv: Mapping[str, str]
) -> tuple[str, Any]:
    if (flag := flags.get(field)) is not None and flag != "":
        return f"--{field.replace('_', '-')}", flag
    for source in (environ, {} if field in _NOT_FROM_DOTENV else dotenv):
        for name in variable_names(field):
            if value := source.get(name):
                return name, value
    return "", None


def _from_file(field: str, environ: Mapping[str, str], dotenv: Mapping[str, str]) -> tuple[str, str | None]:
    """
    The variable that names the file of a setting, and what is in the file; ``None`` if no variable does.

    Raises:
        SettingsError: the file cannot be read, or is empty.
    """
    name = f"{_PREFIX}{field.upper()}_FILE"
    path = environ.get(name) or dotenv.get(name)
    if not path:
        return name, None
    try:
        text = Path(path).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError((f"{name}: the file cannot be read: {reason}",)) from error
    if not text:
        raise SettingsError((f"{name}: the file is empty",))
    return name, text


def _mistakes(error: pydantic.ValidationError, sources: Mapping[str, str]) -> list[str]:
    mistakes = []
    for one in error.errors(include_url=False, include_input=False):
        message = _plain(one["msg"].removeprefix("Value error, "))
        if not one["loc"]:
            mistakes.append(message)
            continue
        field = str(one["loc"][0])
        variable = variable_names(field)[0]
        source = sources.get(field, variable)
        where = variable if source == variable else f"{variable} (given as {source})"
        mistakes.append(f"{where}: {message}")
    return mistakes


def _plain(message: str) -> str:
    """Pydantic's words as ours: what the value must be, and not why it could not be parsed."""
    return message.replace("Input should be", "must be").partition(", unable to")[0]
