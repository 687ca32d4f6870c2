"""The options of the simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CODEX_CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The public OAuth client id of the Codex CLI; by default the only one that the issuer accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Options of the simulator. All but ``host`` and ``port`` may change while it runs."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port; ``Simulator.base_url`` names it."""
    client_id: str = CODEX_CLIENT_ID
    any_redirect_port: bool = False
    """Accept every port of localhost and 127.0.0.1 in ``redirect_uri``; the real issuer accepts 1455 and 1457 only."""
    token_seconds: int = 864000
    """Lifetime of issued access tokens; zero or less issues expired tokens."""
    refresh_delay_seconds: float = 0.0
    """Delay of the token endpoint between rotating the token and answering."""
    reuse: Literal["strict", "family"] = "strict"
    """Reuse of a spent refresh token is refused; with ``family`` it also revokes all tokens of the login."""
    pace_seconds: float = 0.0
    """Pause between the events of a stream; each event is one write in any case."""
    minimal_version: str = "0.98.0"
    """Lowest accepted ``version`` header for models without ``minimal_client_version``."""
    gate_originator: bool = False
    """Models gated by client identity answer 404 unless ``originator`` begins with ``codex``."""
    filled_output: bool = False
    """``response.completed`` has ``output``, as before April 2026; since then it is empty."""
    image_endpoint: bool = True
    """Whether there are ``/codex/images/generations`` and ``/codex/images/edits``."""
    image_noise_bytes: int = 0
    """Added to each image of the hosted tool, to make it large."""
    withdrawn_models: tuple[str, ...] = ()
    """Models removed from the catalogue: neither listed nor served."""
    model_versions: Mapping[str, str] = field(default_factory=dict)
    """Slug to ``minimal_client_version``, in place of the catalogue's: ``{"gpt-6-sol": "0.172.0"}``."""
    models_delay_seconds: float = 0.0
    """Delay of the model list."""
    not_modified: bool = False
    """The model list honours ``If-None-Match``; the real backend has not been observed to."""
    used_percent: float = 12.0
    """The usage of the first window in rate-limit headers and in the usage document."""
    transcribe_challenge: bool = False
    """``/transcribe`` answers the page of the provider's bot protection."""
    takes_zstd: bool = True
    """Request bodies in zstd are accepted; otherwise they are a 415."""
    websocket_status: int = 101
    """The answer to a WebSocket handshake; any status but 101 refuses it."""
    websocket_limit_bytes: int = 16 * 1024 * 1024
    """A message of this size or more is refused with close code 1009."""
    websocket_seconds: float = 3600.0
    """The life of a WebSocket; after it no turn begins."""
    websocket_remembers: bool = True
    """Otherwise every ``previous_response_id`` is unknown."""
    websocket_answers_pings: bool = True
    websocket_wait_seconds: float = 0.0
    """Delay of the handshake's answer."""


DEFAULT_OPTIONS = SimulatorOptions()
