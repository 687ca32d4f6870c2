"""Finds the server that a client is to use: its address, its models, and whether it requires a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from gptmock.catalog import ModelCatalog, ModelSpec
from gptmock.cli.errors import CommandFailed
from gptmock.cli.ports import reachable_host
from gptmock.client_setups.setup import KEY_VARIABLE, ServedModel, Target
from gptmock.dialects.claude_models import families
from gptmock.settings import Settings

ASK_SECONDS = 10.0
UNKNOWN_WINDOW = 272_000
"""Tokens, of a model that neither the server nor the built-in list has; the smallest of the living models."""


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server and what it lists; ``is_running`` is false for one that would have to be started."""

    url: str
    catalog: ModelCatalog
    needs_key: bool
    is_running: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready, in its own words."""

    @property
    def models(self) -> Sequence[ServedModel]:
        """The models to choose from, the preferred one first."""
        return [ServedModel(spec.slug, spec.context_window) for spec in self.catalog.living]


def absent_server(settings: Settings) -> FoundServer:
    """What a server would be that is started at the configured address."""
    scheme = "http" if settings.tls_cert is None else "https"
    url = f"{scheme}://{reachable_host(settings.host)}:{settings.port}{settings.base_path or ''}"
    return FoundServer(url, ModelCatalog(), settings.requires_key, is_running=False)


def find_server(settings: Settings) -> FoundServer:
    """
    The server at the configured address, or what one would be that is started there.

    Raises:
        CommandFailed: it refuses the key of ``GPTMOCK_API_KEY``, or requires one.
    """
    absent = absent_server(settings)
    if settings.unix_socket is not None:
        return absent
    try:
        return ask_server(absent.url, settings)
    except (httpx.HTTPError, ValueError, TypeError, KeyError):
        # Nothing answers there, or something else does.
        return absent


def ask_server(url: str, settings: Settings) -> FoundServer:
    """
    Ask a server for its models.

    Raises:
        CommandFailed: as ``find_server``.
        httpx.HTTPError: nothing answers.
        ValueError, TypeError, KeyError: something else answers.
    """
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    # A certificate of one's own for loopback is common, and only its existence is asked here.
    with httpx.Client(trust_env=False, timeout=ASK_SECONDS, verify=False) as client:  # noqa: S501 - this machine
        if client.get(f"{url}/health").raise_for_status().json()["status"] != "ok":
            raise ValueError(url)
        ready = client.get(f"{url}/readyz").json()
        anonymous = client.get(f"{url}/v1/models")
        needs_key = anonymous.status_code in (401, 403)
        key_header = {"authorization": f"Bearer {key}"}
        answer = client.get(f"{url}/v1/models", headers=key_header) if needs_key and key else anonymous
    if answer.status_code in (401, 403):
        what = "refuses the key in" if key else "requires a client key: set"
        raise CommandFailed(f"the server at {url} {what} {KEY_VARIABLE}. A new key: gptmock keys create NAME")
    specs = [
        ModelSpec(
            slug=model["id"],
            efforts=(),
            context_window=int(model["context_length"]),
            priority=place,
            retired=model.get("retired"),
        )
        for place, model in enumerate(answer.raise_for_status().json()["data"])
    ]
    catalog = ModelCatalog(specs) if specs else ModelCatalog()
    return FoundServer(url, catalog, needs_key, is_running=True, reasons=tuple(ready.get("reasons", ())))


def target_of(server: FoundServer, settings: Settings, model: str | None) -> Target:
    """What a client is told: the model by the user, else by ``GPTMOCK_DEFAULT_MODEL``, else the first of the list."""
    name = model or settings.default_model or server.catalog.default.slug
    spec = server.catalog.resolve(name).spec or ModelCatalog().resolve(name).spec
    return Target(
        url=server.url,
        model=ServedModel(name, UNKNOWN_WINDOW if spec is None else spec.context_window),
        small_model=families(server.catalog, settings.claude_models)["haiku"],
        needs_key=server.needs_key,
    )
