"""
Loads the settings from flags, environment and ``.env`` into one frozen object; all mistakes are reported together.

Precedence: flag, then ``GPTMOCK_*``, then the legacy ``CHATGPT_LOCAL_*``, then ``.env`` in the working directory,
then the default. An empty value counts as unset.
Only ``wiring``, ``command_services``, ``diagnostics`` and ``cli`` read settings.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pydantic
from dotenv import dotenv_values
from pydantic import Field

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]
Style = Literal["think-tags", "o3", "legacy", "current", "reasoning-content", "standard", "openai", "hidden"]

MAX_AUTO_WORKERS = 4
MAX_RESPONSES_TTL_SECONDS = 30 * 24 * 3600
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_DURATION = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd]?)\Z")
MIN_OLLAMA_VERSION = (0, 13, 4)
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
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~\[\]:-]+\Z")
"""A web origin as browsers send it: no path, no trailing slash."""
_FROM_FILES = frozenset({"api_key", "redis_url"})
"""Secrets whose value may be in a file, named by the variable that ends with ``_FILE``: as Kubernetes mounts them."""
_NOT_FROM_DOTENV = frozenset({"upstream_url", "issuer"})
"""Settings not read from ``.env``: a foreign working directory must not redirect tokens."""


class Settings(pydantic.BaseModel):
    """The operator's settings. Frozen and picklable: each worker gets a copy."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int | Literal["auto"] = 1
    verbose: bool = False
    log_format: Literal["text", "json"] | None = None
    """Unset: text on a terminal, else JSON."""
    reasoning_effort: Effort = "medium"
    reasoning_summary: Literal["auto", "concise", "detailed", "none"] = "auto"
    reasoning_compat: Style = "think-tags"
    expose_reasoning_models: bool = False
    default_web_search: bool = False
    fast_mode: bool = False
    debug_model: str | None = None
    default_model: str | None = None
    cors_origins: str | None = None
    """Origins of web pages, separated by commas; ``*`` for all. Unset: no page may use the server."""
    allow_unauthenticated: bool = False
    redis_url: pydantic.SecretStr | None = None
    """Unset: the embedded store, a SQLite file in ``home``. May hold a password."""
    encryption_keys: pydantic.SecretStr | None = None
    encryption_keys_file: Path | None = None
    account_pool: str | None = None
    """Labels, separated by commas."""
    upstream_proxy: str | None = None
    home: Path = Field(default_factory=lambda: Path.home() / ".config" / "gptmock")
    upstream_url: str = "https://chatgpt.com/backend-api"
    issuer: str = "https://auth.openai.com"
    client_id: str = "app_EMoamEEZ73f0CkXaXp7hrann"
    login_bind: str = "127.0.0.1"
    """Where ``gptmock login`` listens for the browser; a container's published port needs 0.0.0.0."""
    originator: str = "gptmock"
    codex_version: str | None = Field(None, pattern=r"^\d+\.\d+\.\d+$")
    """Unset: our own, or that of the newest Codex client, whichever is higher."""
    api_key: pydantic.SecretStr | None = Field(None, validate_default=True)
    responses_ttl: int = 24 * 3600
    """Seconds that responses are stored; 0 stores none. Set as ``24h``. Costs memory in the store."""
    strict_parameters: bool = False
    ollama_version: str = Field("0.13.5", pattern=r"^\d+\.\d+\.\d+$")
    """A real Ollama version: clients enable features by it, and Codex requires 0.13.4."""
    webhook_url: pydantic.SecretStr | None = None
    """Told of ended logins, full windows and a store in trouble; may hold a token."""
    webhook_secret: pydantic.SecretStr | None = Field(None, validate_default=True)
    """Signs what the webhook is told: ``whsec_`` and 24 to 64 bytes in base64."""
    shutdown_grace: int = Field(60, ge=0)
    max_body_bytes: int = Field(64 * 1024 * 1024, gt=0)
    fast_path: bool = True
    """Deltas are copied undecoded, by the callback that reads them; off only to compare."""

    @pydantic.field_validator("workers")
    @classmethod
    def _workers(cls, value: int | str) -> int | str:
        if value != "auto" and (not isinstance(value, int) or not 1 <= value <= 64):
            raise ValueError("must be 'auto' or a number from 1 to 64")
        return value

    @pydantic.field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @pydantic.field_validator("responses_ttl", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> int:
        found = _DURATION.match(str(value).strip())
        seconds = int(found["count"]) * _UNIT_SECONDS[found["unit"]] if found else -1
        if not 0 <= seconds <= MAX_RESPONSES_TTL_SECONDS:
            raise ValueError("must be a duration such as 90s, 30m, 24h or 7d, at most 30d; 0 stores nothing")
        return seconds

    @pydantic.field_validator("upstream_url", "issuer")
    @classmethod
    def _secure(cls, value: str) -> str:
        try:
            url = urlsplit(value)
        except ValueError:
            url = urlsplit("")
        if url.hostname and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname))):
            return value.rstrip("/")
        raise ValueError("must be an https URL (http only to loopback)")

    @pydantic.field_validator("upstream_proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value

    @pydantic.field_validator("webhook_url")
    @classmethod
    def _webhook(cls, value: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value

    @pydantic.field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: pydantic.SecretStr | None, info: pydantic.ValidationInfo) -> pydantic.SecretStr | None:
        if value is None and info.data.get("webhook_url") is None:
            return None
        prefix, _, encoded = value.get_secret_value().partition("_") if value is not None else ("", "", "")
        with suppress(ValueError):
            if prefix == "whsec" and 24 <= len(base64.b64decode(encoded, validate=True)) <= 64:
                return value
        raise ValueError(
            "is required with GPTMOCK_WEBHOOK_URL, as whsec_ and 24 to 64 bytes in base64; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )

    @pydantic.field_validator("originator")
    @classmethod
    def _header(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            raise ValueError("must be printable ASCII, because it is sent in a header")
        return value

    @pydantic.field_validator("api_key")
    @classmethod
    def _route(cls, value: pydantic.SecretStr | None, info: pydantic.ValidationInfo) -> pydantic.SecretStr | None:
        # A field validator, so that it is reported with mistakes in other fields; it reads fields declared above.
        host, allowed = info.data.get("host", "127.0.0.1"), info.data.get("allow_unauthenticated", True)
        if value is None and not allowed and not is_loopback(host):
            raise ValueError(
                f"is required to listen on {host}, which is not a loopback address; or use --allow-unauthenticated "
                "(GPTMOCK_ALLOW_UNAUTHENTICATED=true) if something else protects the port"
            )
        return value

    @pydantic.field_validator("ollama_version")
    @classmethod
    def _recent(cls, value: str) -> str:
        if tuple(map(int, value.split("."))) < MIN_OLLAMA_VERSION:
            raise ValueError("must be at least 0.13.4, because Codex refuses older versions")
        return value

    @pydantic.field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        wrong = [one for one in _listed(value) if one != "*" and not _ORIGIN.match(one)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not an origin: write scheme://host or scheme://host:port, or * for all")
        return value

    @pydantic.field_validator("redis_url")
    @classmethod
    def _redis(cls, value: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must be a redis://, rediss:// or unix:// URL")
        return value

    @pydantic.model_validator(mode="after")
    def _sealed(self) -> Settings:
        if self.redis_url is not None and self.encryption_keys is None and self.encryption_keys_file is None:
            raise ValueError(
                "GPTMOCK_ENCRYPTION_KEYS: required with GPTMOCK_REDIS_URL, because tokens are stored encrypted only; "
                "create a key with: openssl rand -base64 32"
            )
        return self

    @property
    def pool_labels(self) -> tuple[str, ...]:
        """The pool that the operator named; empty for none."""
        return _listed(self.account_pool)

    @property
    def cors_origin_list(self) -> tuple[str, ...]:
        """The origins that the operator named; empty for none."""
        return _listed(self.cors_origins)

    @property
    def worker_count(self) -> int:
        """``auto`` as a number: the cores that the cgroup allows, at most 4."""
        return min(MAX_AUTO_WORKERS, usable_cores()) if self.workers == "auto" else self.workers


class SettingsError(Exception):
    """Settings that cannot be used; ``mistakes`` has one line for each."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class _UnreadableFile(Exception):
    """A file that holds a setting cannot be read; the message names its variable."""


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
        try:
            source, value = _lookup(field, flags, environ, dotenv)
        except _UnreadableFile as error:
            mistakes.append(str(error))
            continue
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


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(item for one in (value or "").split(",") if (item := one.strip()))


def is_loopback(host: str) -> bool:
    """Whether the address is reachable only from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def usable_cores() -> int:
    """CPU cores that this process may use: its affinity, and the quota of its cgroup (v2, then v1)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota) or 1)) if quota is not None else max(1, cores)


def _cgroup_quota() -> float | None:
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        period_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit_us / period_us if limit_us > 0 and period_us > 0 else None


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
        if field in _FROM_FILES and (path := source.get(f"{variable_names(field)[0]}_FILE")):
            return _read(f"{variable_names(field)[0]}_FILE", Path(path))
    return "", None


def _read(name: str, path: Path) -> tuple[str, str]:
    """The name of the variable, and the text of the file without the line end that editors add."""
    try:
        text = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _UnreadableFile(f"{name}: the file cannot be read ({type(error).__name__})") from error
    if not text:
        raise _UnreadableFile(f"{name}: the file is empty")
    return name, text


def _mistakes(error: pydantic.ValidationError, sources: Mapping[str, str]) -> list[str]:
    mistakes = []
    for one in error.errors(include_url=False, include_input=False):
        message = one["msg"].removeprefix("Value error, ")
        if not one["loc"]:
            mistakes.append(message)
            continue
        field = str(one["loc"][0])
        variable = variable_names(field)[0]
        source = sources.get(field, variable)
        where = variable if source == variable else f"{variable} (given as {source})"
        mistakes.append(f"{where}: {message}")
    return mistakes
