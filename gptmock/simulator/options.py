"""What a simulator can be told, as one frozen value; it does nothing by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CODEX_CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""The public client id of the Codex CLI, the only one that the issuer knows unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """How strict, slow and long-lived the stand-in is. All but ``host`` and ``port`` may change while it runs."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port; ``Simulator.base_url`` names it."""
    client_id: str = CODEX_CLIENT_ID
    any_redirect_port: bool = False
    """Accept every port of localhost and 127.0.0.1 in ``redirect_uri``; the real issuer knows 1455 and 1457 only."""
    token_seconds: int = 864000
    """Life of the access tokens it issues; zero or less issues tokens that have already expired."""
    refresh_delay_seconds: float = 0.0
    """How long the token endpoint waits before it answers, after the refresh token was rotated."""
    reuse: Literal["strict", "family"] = "strict"
    """A spent refresh token is refused; with ``family`` the living tokens of its login are revoked too."""
    pace_seconds: float = 0.0
    """Pause between two events of a stream; each event is one write in any case."""
    minimal_version: str = "0.98.0"
    """Floor of the ``version`` header for models whose catalogue entry names none."""
    gate_originator: bool = False
    """Models gated by client identity answer 404 unless ``originator`` begins with ``codex``."""
    filled_output: bool = False
    """``response.completed`` carries the output, as before April 2026; now it is always empty."""
    withdrawn_models: tuple[str, ...] = ()
    """Models that the catalogue has no more: neither listed nor served."""
    model_versions: Mapping[str, str] = field(default_factory=dict)
    """Slug to ``minimal_client_version``, in the place of the one in the catalogue: as ``{"gpt-6-sol": "0.172.0"}``."""
    models_delay_seconds: float = 0.0
    """How long the list of models waits before it answers."""
    not_modified: bool = False
    """The list of models honours ``If-None-Match``; the real one has not been seen to."""
    used_percent: float = 12.0
    """What the rate-limit headers and the usage document report for the first window."""


DEFAULT_OPTIONS = SimulatorOptions()
