"""
``gptmock demo``: the server against the built-in simulator; needs no account and no network, and leaves no files.

Starts ``gptmock simulator`` and ``gptmock serve`` as child processes, sends one request, prints it as a curl command
and as Python code, and stops both.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pydantic

from gptmock.catalog import ModelCatalog
from gptmock.cli.child import child_command
from gptmock.cli.errors import CommandFailed
from gptmock.cli.options import add_serve_options, serve_flags
from gptmock.cli.ports import check_port, free_port, reachable_host
from gptmock.cli.settings import given_settings
from gptmock.command_services import demo_folder
from gptmock.settings import Settings

START_SECONDS = 60.0
_QUESTION = "Say hello to the world."
_EPILOG = """example:
  gptmock demo
  gptmock demo --once --port 9000

The demo starts the server and the simulated backend, sends one request, shows
it with its answer, and serves until you press Ctrl-C. It needs no account and
no network, and leaves no files behind.
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--once", action="store_true", help="stop after the first answer")
    add_serve_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start both, ask once, show how; then stay until stopped."""
    with demo_folder() as folder:
        home = folder.path / "home"
        home.mkdir(mode=0o700)
        settings = given_settings({**serve_flags(options), "home": str(home)})
        if options.port:
            check_port(settings.host, settings.port)
        port = free_port(settings.host, settings.port)
        with (
            _simulator(folder.lock) as simulator_url,
            _server(settings, port, simulator_url, folder.lock) as server,
        ):
            base_url = f"http://{reachable_host(settings.host)}:{port}{settings.base_path or ''}"
            with _client() as client:
                _wait_until_ready(client, base_url, server)
                _show(client, base_url, settings)
            if options.once:
                return 0
            print(f"\nStill serving at {base_url}/v1 until you press Ctrl-C.", flush=True)
            signal.pause()
    return 0


@contextmanager
def _simulator(lock: int) -> Iterator[str]:
    with child_command("simulator", "--port", "0", keeps=[lock], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = process.stdout.readline().decode()
        _, found, url = line.strip().rpartition("issuer at ")
        if not found:
            raise CommandFailed("the simulator did not start")
        yield url


_SECRETS = ("api_key", "admin_key")
_NOT_FOR_A_DEMO = (
    "redis_url",
    "encryption_keys",
    "encryption_keys_file",
    "key_pepper",
    "webhook_url",
    "webhook_secret",
    "metrics_bind",
    "otel",
)
"""The operator's own store, keys, receiver and scraper."""


@contextmanager
def _server(settings: Settings, port: int, simulator_url: str, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """``gptmock serve`` with every setting said, so that no variable of the user's own login is read."""
    home = settings.home
    with _client() as client:
        login = client.post(f"{simulator_url}/simulator/logins", json={}).raise_for_status().json()
    auth_file = home / "auth.json"
    auth_file.touch(mode=0o600)
    auth_file.write_text(json.dumps(login))
    environment = {
        f"GPTMOCK_{name.upper()}": _text(value)
        for name, value in settings.model_dump(exclude={*_SECRETS, *_NOT_FOR_A_DEMO}).items()
        if value is not None
    }
    secrets: dict[str, pydantic.SecretStr | None] = {name: getattr(settings, name) for name in _SECRETS}
    environment |= {
        f"GPTMOCK_{name.upper()}": one.get_secret_value() for name, one in secrets.items() if one is not None
    }
    environment |= {
        **{f"GPTMOCK_{name.upper()}": "" for name in _NOT_FOR_A_DEMO},
        "GPTMOCK_HOME": str(home),
        "GPTMOCK_PORT": str(port),
        "GPTMOCK_UPSTREAM_URL": f"{simulator_url}/backend-api",
        "GPTMOCK_ISSUER": simulator_url,
        "GPTMOCK_UPSTREAM_PROXY": "",
        # The simulator's account is nobody's.
        "GPTMOCK_ALLOW_UNAUTHENTICATED": "true",
        # It listens at a port, for everything that is shown.
        **dict.fromkeys(("GPTMOCK_UNIX_SOCKET", "GPTMOCK_TLS_CERT", "GPTMOCK_TLS_KEY", "GPTMOCK_PID_FILE"), ""),
    }
    with child_command("serve", keeps=[lock], environment=environment, directory=home) as process:
        yield process


def _client() -> httpx.Client:
    """All that is asked is on this machine: no proxy of the environment belongs between."""
    return httpx.Client(trust_env=False, timeout=30.0)


def _wait_until_ready(client: httpx.Client, base_url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CommandFailed("the server stopped while it started; its own words are above")
        try:
            if client.get(f"{base_url}/readyz", timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise CommandFailed(f"the server did not become ready within {START_SECONDS:.0f} seconds")


def _show(client: httpx.Client, base_url: str, settings: Settings) -> None:
    """One request, in two forms to copy, and its answer."""
    model = settings.default_model or ModelCatalog().default.slug
    body = {"model": model, "messages": [{"role": "user", "content": _QUESTION}]}
    secret = settings.api_key
    key = "anything" if secret is None else secret.get_secret_value()
    answer = client.post(f"{base_url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    print(_curl(base_url, body, needs_key=secret is not None))
    print(_snippet(base_url, body, needs_key=secret is not None))
    print("\n# The answer:")
    print(json.dumps(answer.json(), indent=2, ensure_ascii=False), flush=True)
    if answer.status_code != 200:
        raise CommandFailed(f"the demo's own request was answered with {answer.status_code}")


def _curl(base_url: str, body: dict[str, Any], *, needs_key: bool) -> str:
    key = ' -H "Authorization: Bearer $GPTMOCK_API_KEY"' if needs_key else ""
    return (
        '# Ask with curl; add "stream": true to see it arrive word by word:\n'
        f"curl -sN {base_url}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{json.dumps(body)}'"
    )


def _snippet(base_url: str, body: dict[str, Any], *, needs_key: bool) -> str:
    key = 'os.environ["GPTMOCK_API_KEY"]' if needs_key else '"anything"'
    imports = "import os\nfrom openai import OpenAI" if needs_key else "from openai import OpenAI"
    return f"""
# Or with the OpenAI SDK:
{imports}

client = OpenAI(base_url="{base_url}/v1", api_key={key})
completion = client.chat.completions.create(model="{body["model"]}", messages={json.dumps(body["messages"])})
print(completion.choices[0].message.content)"""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
