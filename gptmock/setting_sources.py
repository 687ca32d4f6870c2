"""Finds the value of a setting: flag, environment, ``.env``, or a file that one of them names. Validates nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

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
_FROM_FILES = frozenset({"admin_key", "api_key", "redis_url"})
"""Secrets whose value may be in a file, named by the variable that ends with ``_FILE``: as Kubernetes mounts them."""
NOT_FROM_DOTENV = frozenset({"upstream_url", "issuer"})
"""Settings not read from ``.env``: a foreign working directory must not redirect tokens."""


class Unreadable(Exception):
    """``.env``, or a file that holds a setting, cannot be read; the message names it."""


def variable_names(field: str) -> tuple[str, ...]:
    """The environment variables of a setting, in order of precedence."""
    legacy = _LEGACY_NAMES.get(field)
    return (_PREFIX + field.upper(), *((_LEGACY_PREFIX + legacy,) if legacy else ()))


def read_dotenv(path: Path) -> dict[str, str]:
    """
    What the file sets; nothing if there is none.

    Raises:
        Unreadable: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f".env: cannot be read ({type(error).__name__})") from error


def looked_up(
    field: str, flags: Mapping[str, Any], environ: Mapping[str, str], dotenv: Mapping[str, str]
) -> tuple[str, Any]:
    """
    Where a setting was given, and its value as it was written; ``None`` if nowhere. An empty value counts as unset.

    Raises:
        Unreadable: it is in a file, which cannot be read.
    """
    if (flag := flags.get(field)) is not None and flag != "":
        return f"--{field.replace('_', '-')}", flag
    for source in (environ, {} if field in NOT_FROM_DOTENV else dotenv):
        for name in variable_names(field):
            if value := source.get(name):
                return name, value
        if field in _FROM_FILES and (path := source.get(f"{variable_names(field)[0]}_FILE")):
            return _read(f"{variable_names(field)[0]}_FILE", Path(path))
    return "", None


def _read(name: str, path: Path) -> tuple[str, str]:
    """The name of the variable, and the text of the file without the line end that editors add."""
    try:
        text = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{name}: the file cannot be read ({type(error).__name__})") from error
    if not text:
        raise Unreadable(f"{name}: the file is empty")
    return name, text
