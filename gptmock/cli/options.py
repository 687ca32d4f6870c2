"""The options of ``serve`` and ``demo``; each names its environment variable. Validates no value."""

from __future__ import annotations

import argparse
from typing import Any

_EFFORTS = "none, minimal, low, medium, high, xhigh, max or ultra"
_STYLES = "think-tags, o3, legacy (= current), reasoning-content (= standard, openai) or hidden"


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Add the options in groups, all with default ``None``, so that environment variables apply."""
    _add_server(parser.add_argument_group("server"))
    _add_models(parser.add_argument_group("models and answers"))
    _add_access(parser.add_argument_group("access and storage"))


def add_listening_options(parser: argparse.ArgumentParser) -> None:
    """Add what a demo does without."""
    group = parser.add_argument_group("other ways to listen")
    add = group.add_argument
    add(
        "--unix-socket",
        metavar="PATH",
        help="listen at a path instead of a port; GPTMOCK_UNIX_SOCKET_MODE (0600) and GPTMOCK_UNIX_SOCKET_OWNER "
        "(USER:GROUP) say who may connect (GPTMOCK_UNIX_SOCKET)",
    )
    add(
        "--metrics-bind",
        metavar="HOST:PORT",
        help="a further listener for /metrics, without a key, and for the probes (GPTMOCK_METRICS_BIND, default none)",
    )
    add("--tls-cert", metavar="FILE", help="serve https with this certificate chain in PEM (GPTMOCK_TLS_CERT)")
    add("--tls-key", metavar="FILE", help="the key of the certificate, in PEM (GPTMOCK_TLS_KEY)")
    add(
        "--pid-file",
        metavar="PATH",
        help="file by which 'gptmock reload' finds this server (GPTMOCK_PID_FILE, default server.pid in GPTMOCK_HOME)",
    )


def _add_server(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--host",
        help="address to listen on; beyond loopback it needs a client key (GPTMOCK_HOST, default 127.0.0.1)",
    )
    add("--port", help="port to listen on (GPTMOCK_PORT, default 8000)")
    add(
        "--workers",
        help="number of worker processes, or 'auto' for one per available core, at most 4 (GPTMOCK_WORKERS, default 1)",
    )
    add("--base-path", metavar="PATH", help="serve everything below this path (GPTMOCK_BASE_PATH, default none)")
    add(
        "--public-url",
        metavar="URL",
        help="https origin of this server, for links of invitations and for a signed-in Codex with chatgpt_base_url "
        "(GPTMOCK_PUBLIC_URL, default the host of each request)",
    )
    _switch(group, "--verbose", "log requests and upstream payloads, but no credentials (GPTMOCK_VERBOSE)")
    add(
        "--log-format",
        metavar="{text,json}",
        help="format of the log (GPTMOCK_LOG_FORMAT, default text in a terminal, else json)",
    )


def _add_models(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--default-model",
        metavar="MODEL",
        help="model for requests without a model (GPTMOCK_DEFAULT_MODEL, default the first of the list)",
    )
    add(
        "--anthropic-models",
        metavar="TABLE",
        help="models that stand for Claude's families, as opus=MODEL,sonnet=MODEL,haiku=MODEL,fable=MODEL "
        "(GPTMOCK_ANTHROPIC_MODELS, default haiku the smallest model, the others the first of the list)",
    )
    add(
        "--reasoning-effort",
        metavar="EFFORT",
        help=f"default effort: {_EFFORTS} (GPTMOCK_REASONING_EFFORT, default medium)",
    )
    add(
        "--reasoning-summary",
        metavar="SUMMARY",
        help="summary of the thinking: auto, concise, detailed or none (GPTMOCK_REASONING_SUMMARY, default auto)",
    )
    add(
        "--reasoning-compat",
        metavar="STYLE",
        help=f"where answers show the thinking: {_STYLES} (GPTMOCK_REASONING_COMPAT, default think-tags)",
    )
    _switch(
        group,
        "--expose-reasoning-models",
        "also list each model once per effort (GPTMOCK_EXPOSE_REASONING_MODELS)",
    )
    _switch(group, "--image-models", "also list the model that makes images (GPTMOCK_IMAGE_MODELS)")
    _switch(
        group,
        "--transcription",
        "serve /v1/audio/transcriptions, which the provider's bot protection often stops (GPTMOCK_TRANSCRIPTION)",
    )
    add(
        "--enable-web-search",
        dest="default_web_search",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="offer web search in requests that do not mention it (GPTMOCK_DEFAULT_WEB_SEARCH, default off)",
    )
    _switch(group, "--fast-mode", "use the priority tier of models that have it (GPTMOCK_FAST_MODE)")
    add("--debug-model", metavar="MODEL", help="use this model for every request (GPTMOCK_DEBUG_MODEL)")


def _add_access(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    _switch(
        group,
        "--allow-unauthenticated",
        "listen beyond loopback without a client key (GPTMOCK_ALLOW_UNAUTHENTICATED)",
    )
    add(
        "--cors-origins",
        metavar="ORIGINS",
        help="web pages that may use the server, such as https://chat.example,app://obsidian.md; * for all "
        "(GPTMOCK_CORS_ORIGINS, default none)",
    )
    add(
        "--redis-url",
        metavar="URL",
        help="keep state in this Redis (redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://); needs "
        "GPTMOCK_ENCRYPTION_KEYS "
        "(GPTMOCK_REDIS_URL, default the embedded store)",
    )


def serve_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The options by the name of their setting; ``None`` for those that were not given."""
    names = (
        "host",
        "port",
        "workers",
        "pid_file",
        "unix_socket",
        "metrics_bind",
        "tls_cert",
        "tls_key",
        "verbose",
        "log_format",
        "reasoning_effort",
        "reasoning_summary",
        "reasoning_compat",
        "expose_reasoning_models",
        "image_models",
        "transcription",
        "default_web_search",
        "fast_mode",
        "debug_model",
        "default_model",
        "anthropic_models",
        "cors_origins",
        "allow_unauthenticated",
        "redis_url",
        "base_path",
        "public_url",
    )
    return {name: getattr(options, name, None) for name in names}


def _switch(group: argparse._ArgumentGroup, flag: str, text: str) -> None:
    group.add_argument(flag, action="store_const", const=True, default=None, help=text)
