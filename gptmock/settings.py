"""
The operator's settings: one frozen object, every value checked. ``settings_sources`` reads it.

Only ``wiring``, ``command_services``, ``diagnostics`` and ``cli`` read settings.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import Field

from gptmock.redis_urls import RedisAddress, tls_files
from gptmock.setting_values import address_of, is_base_path, is_host, is_loopback, is_network, listed, usable_cores

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]
Style = Literal["think-tags", "o3", "legacy", "current", "reasoning-content", "standard", "openai", "hidden"]

MAX_AUTO_WORKERS = 4
CLAUDE_FAMILIES = ("opus", "sonnet", "haiku", "fable")
MAX_RESPONSES_TTL_SECONDS = 30 * 24 * 3600
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_DURATION = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd]?)\Z")
MIN_ADMIN_KEY_CHARACTERS = 16
_MAX_PORT = 65535
MIN_PEPPER_CHARACTERS = 32
MIN_OLLAMA_VERSION = (0, 13, 4)
_HTTPS_ORIGIN = re.compile(r"https://[A-Za-z0-9._~\[\]:-]+\Z")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~\[\]:-]+\Z")
"""A web origin as browsers send it: no path, no trailing slash."""


class Settings(pydantic.BaseModel):
    """The operator's settings. Frozen and picklable: each worker gets a copy."""

    # Built by the command that loads them: a worker gets them loaded, and saves 2 MB.
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", defer_build=True)

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int | Literal["auto"] = 1
    verbose: bool = False
    log_format: Literal["text", "json"] | None = None
    """Unset: text on a terminal, else JSON."""
    reasoning_effort: Effort = "medium"
    reasoning_summary: Literal["auto", "concise", "detailed", "none"] = "auto"
    reasoning_compat: Style = "think-tags"
    expose_reasoning_models: bool = False
    image_models: bool = False
    """Whether ``/v1/models`` lists what makes images: many clients offer all that is listed for chats."""
    transcription: bool = False
    """Whether there is ``/v1/audio/transcriptions``; the provider's bot protection often stops it."""
    default_web_search: bool = False
    fast_mode: bool = False
    debug_model: str | None = None
    default_model: str | None = None
    anthropic_models: str | None = None
    """Families of Claude models and what stands for them, as ``opus=gpt-6.2-sol,haiku=gpt-6-luna``."""
    cors_origins: str | None = None
    """Origins of web pages, separated by commas; ``*`` for all. Unset: no page may use the server."""
    allow_unauthenticated: bool = False
    create_first_key: bool = False
    """Where a client key is required and there never was one, create one at start and print it once (image: on)."""
    redis_url: pydantic.SecretStr | None = None
    """Unset: the embedded store, a SQLite file in ``home``. May hold a password."""
    encryption_keys: pydantic.SecretStr | None = None
    encryption_keys_file: Path | None = None
    key_pepper: pydantic.SecretStr | None = None
    """What the hashes of client keys are made with: ``current,previous``. Unset: one that the store keeps, sealed."""
    account_pool: str | None = None
    """Labels, separated by commas."""
    upstream_proxy: str | None = None
    upstream_transport: Literal["http", "websocket", "auto"] = "http"
    """``auto``: WebSockets for conversations from their second turn on, and for models that prefer them."""
    upstream_compression: Literal["zstd", "off"] = "zstd"
    """Request bodies of model calls from 8 kB on."""
    home: Path = Field(default_factory=lambda: Path.home() / ".config" / "gptmock")
    upstream_url: str = "https://chatgpt.com/backend-api"
    issuer: str = "https://auth.openai.com"
    client_id: str = "app_EMoamEEZ73f0CkXaXp7hrann"
    login_bind: str = "127.0.0.1"
    """Where ``gptmock login`` listens for the browser; a container's published port needs 0.0.0.0."""
    originator: str = "gptmock"
    codex_version: str | None = Field(None, pattern=r"^\d+\.\d+\.\d+$")
    """Unset: our own, or that of the newest Codex client, whichever is higher."""
    api_key: pydantic.SecretStr | None = None
    admin_key: pydantic.SecretStr | None = None
    """A key with the role ``admin`` that needs no store; for the first administrator, and for charts."""
    responses_ttl: int = 24 * 3600
    """Seconds that responses are stored; 0 stores none. Set as ``24h``. Costs memory in the store."""
    usage_retention: int = 90 * 24 * 3600
    """Seconds that usage is kept. Set as ``90d``."""
    strict_parameters: bool = False
    ollama_version: str = Field("0.13.5", pattern=r"^\d+\.\d+\.\d+$")
    """A real Ollama version: clients enable features by it, and Codex requires 0.13.4."""
    metrics_bind: str | None = None
    """``host:port`` of a listener for ``/metrics`` without a key."""
    otel: bool = False
    """Send traces of model calls by OTLP; needs the extra ``gptmock[otel]``. The SDK reads its ``OTEL_*`` variables."""
    webhook_url: pydantic.SecretStr | None = None
    """Told of ended logins, full windows and a store in trouble; may hold a token."""
    webhook_secret: pydantic.SecretStr | None = Field(None, validate_default=True)
    """Signs what the webhook is told: ``whsec_`` and 24 to 64 bytes in base64."""
    shutdown_grace: int = Field(60, ge=0)
    drain_delay: float = Field(0, ge=0)
    """Seconds between not ready and no new connections, for load balancers that look at ``/readyz``."""
    pid_file: Path | None = None
    """Unset: one in ``home``."""
    unix_socket: Path | None = None
    """Listen at this path, in the place of ``host`` and ``port``."""
    unix_socket_mode: str = Field("0600", pattern=r"^0?[0-7]{3}$")
    unix_socket_owner: str | None = None
    """``USER``, ``USER:GROUP`` or ``:GROUP``; unset: whoever runs the server."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_body_bytes: int = Field(64 * 1024 * 1024, gt=0)
    max_connections: int | None = Field(None, gt=0)
    """Client connections of one worker. Unset: what its file descriptors allow, at most 10,000."""
    max_streams: int | None = Field(None, gt=0)
    """Model calls in progress in one worker. Unset: half of its file descriptors, at most 5,000."""
    allowed_hosts: str | None = None
    """Host names that the browser guard accepts besides loopback names, separated by commas."""
    trusted_proxies: str | None = None
    """Addresses and networks whose forwarding headers are believed, separated by commas; ``unix`` for the socket."""
    public_url: str | None = None
    """Our own https origin: in links, and for a Codex signed in by ``chatgpt_base_url``. Unset: each request's host."""
    base_path: str | None = None
    """A prefix of all routes, such as ``/gptmock``."""
    fast_path: bool = True
    """Deltas are copied undecoded, by the callback that reads them; off only to compare."""

    @pydantic.field_validator("workers")
    @classmethod
    def _workers(cls, value: int | str) -> int | str:
        if value != "auto" and (not isinstance(value, int) or not 1 <= value <= 64):
            raise ValueError("must be 'auto' or a number from 1 to 64")
        return value

    @pydantic.field_validator("port", mode="before")
    @classmethod
    def _port(cls, value: Any) -> int:
        text = str(value).strip()
        if not text.isascii() or not text.isdecimal() or int(text[:6]) > _MAX_PORT:
            raise ValueError(
                f"must be a port number from 0 to {_MAX_PORT}, and 0 is any free port; {text[:20]!r} is none"
            )
        return int(text)

    @pydantic.field_validator("home", "pid_file", "unix_socket", "tls_cert", "tls_key")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @pydantic.field_validator("responses_ttl", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> int:
        found = _DURATION.match(str(value).strip())
        seconds = int(found["count"]) * _UNIT_SECONDS[found["unit"]] if found else -1
        if not 0 <= seconds <= MAX_RESPONSES_TTL_SECONDS:
            raise ValueError("must be a duration such as 90s, 30m, 24h or 7d, at most 30d; 0 stores nothing")
        return seconds

    @pydantic.field_validator("usage_retention", mode="before")
    @classmethod
    def _days(cls, value: Any) -> int:
        found = _DURATION.match(str(value).strip())
        seconds = int(found["count"]) * _UNIT_SECONDS[found["unit"]] if found else -1
        if not 24 * 3600 <= seconds <= 400 * 24 * 3600:
            raise ValueError("must be a duration from 1d to 400d")
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

    @pydantic.field_validator("public_url")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        origin = (value or "").rstrip("/")
        if origin and not _HTTPS_ORIGIN.match(origin):
            raise ValueError("must be an https origin without a path, such as https://codex.example:8443")
        return origin or None

    @pydantic.field_validator("upstream_proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value

    @pydantic.field_validator("metrics_bind")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and address_of(value) is None:
            raise ValueError("must be an address and a port, such as 127.0.0.1:9464 or [::1]:9464")
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

    @pydantic.field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: str | None) -> str | None:
        wrong = [one for one in listed(value) if not is_host(one)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a host: write names or addresses without scheme, port or wildcard")
        return value

    @pydantic.field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: str | None) -> str | None:
        wrong = [one for one in listed(value) if one != "unix" and not is_network(one)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is neither an address nor a network, such as 10.0.0.0/8")
        return value

    @pydantic.field_validator("base_path")
    @classmethod
    def _prefix(cls, value: str | None) -> str | None:
        path = (value or "").rstrip("/")
        if path and not is_base_path(path):
            raise ValueError("must be a path such as /gptmock, of letters, digits and - . _ ~")
        return path or None

    @pydantic.field_validator("admin_key")
    @classmethod
    def _long_enough(cls, value: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_ADMIN_KEY_CHARACTERS:
            raise ValueError(
                f"must have at least {MIN_ADMIN_KEY_CHARACTERS} characters; create one with: openssl rand -base64 32"
            )
        return value

    @pydantic.field_validator("key_pepper")
    @classmethod
    def _peppers(cls, value: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        words = value.get_secret_value().replace(",", " ").split() if value is not None else []
        if any(len(word) < MIN_PEPPER_CHARACTERS for word in words):
            raise ValueError(
                f"each pepper must have at least {MIN_PEPPER_CHARACTERS} characters; create one with: "
                "openssl rand -base64 32"
            )
        return value if words else None

    @pydantic.field_validator("ollama_version")
    @classmethod
    def _recent(cls, value: str) -> str:
        if tuple(map(int, value.split("."))) < MIN_OLLAMA_VERSION:
            raise ValueError("must be at least 0.13.4, because Codex refuses older versions")
        return value

    @pydantic.field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        wrong = [one for one in listed(value) if one != "*" and not _ORIGIN.match(one)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not an origin: write scheme://host or scheme://host:port, or * for all")
        return value

    @pydantic.field_validator("anthropic_models")
    @classmethod
    def _families(cls, value: str | None) -> str | None:
        for one in listed(value):
            family, _, model = one.partition("=")
            if family.strip() not in CLAUDE_FAMILIES or not model.strip():
                raise ValueError(
                    f"{one!r} is not FAMILY=MODEL with one of the families {', '.join(CLAUDE_FAMILIES)}; "
                    "write for example opus=gpt-6.2-sol,haiku=gpt-6-luna"
                )
        return value

    @pydantic.field_validator("redis_url")
    @classmethod
    def _redis(cls, value: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        if value is not None:
            RedisAddress.parse(value.get_secret_value())
            for option, path in tls_files(value.get_secret_value()).items():
                if not os.access(path, os.R_OK):
                    raise ValueError(f"the file of {option} cannot be read")
        return value

    @pydantic.model_validator(mode="after")
    def _sealed(self) -> Settings:
        if self.redis_url is not None and self.encryption_keys is None and self.encryption_keys_file is None:
            raise ValueError(
                "GPTMOCK_ENCRYPTION_KEYS: required with GPTMOCK_REDIS_URL, because tokens are stored encrypted only; "
                "create a key with: openssl rand -base64 32"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _reachable(self) -> Settings:
        if self.upstream_transport != "http" and self.upstream_proxy is not None:
            raise ValueError("GPTMOCK_UPSTREAM_TRANSPORT: must be http with GPTMOCK_UPSTREAM_PROXY")
        return self

    @pydantic.model_validator(mode="after")
    def _paired(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("CERT", "KEY") if self.tls_key is None else ("KEY", "CERT")
            raise ValueError(f"GPTMOCK_TLS_{missing}: required with GPTMOCK_TLS_{given}")
        return self

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can connect to the server."""
        # With a Unix socket the host is not used.
        return getattr(self, "unix_socket", None) is None and not is_loopback(self.host)

    @property
    def requires_key(self) -> bool:
        """Whether requests without a valid client key are refused."""
        return self.api_key is not None or (self.is_exposed and not self.allow_unauthenticated)

    @property
    def allowed_host_list(self) -> tuple[str, ...]:
        """The host names that the operator added; empty for none."""
        return listed(self.allowed_hosts)

    @property
    def trusted_proxy_list(self) -> tuple[str, ...]:
        """The proxies that the operator trusts; empty for none."""
        return listed(self.trusted_proxies)

    @property
    def pool_labels(self) -> tuple[str, ...]:
        """The pool that the operator named; empty for none."""
        return listed(self.account_pool)

    @property
    def claude_models(self) -> dict[str, str]:
        """Family of Claude models to the model that the operator chose for it."""
        pairs = (one.partition("=") for one in listed(self.anthropic_models))
        return {family.strip(): model.strip() for family, _, model in pairs}

    @property
    def cors_origin_list(self) -> tuple[str, ...]:
        """The origins that the operator named; empty for none."""
        return listed(self.cors_origins)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """``metrics_bind`` as host and port."""
        return None if self.metrics_bind is None else address_of(self.metrics_bind)

    @property
    def worker_count(self) -> int:
        """``auto`` as a number: the cores that the cgroup allows, at most 4."""
        return min(MAX_AUTO_WORKERS, usable_cores()) if self.workers == "auto" else self.workers
