"""The servers that are measured, each started in front of the same upstream: ours, the yardsticks, and none at all."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gptmock.clients import KeyTerms
from gptmock.settings_sources import load_settings
from gptmock.shared_state import open_state, prepare
from gptmock.simulator.accounts import TokenRegistry
from gptmock.simulator.options import SimulatorOptions
from tests.benchmarks.cells import Dialect
from tests.harness import server_process, write_login
from tests.ports import free_port
from tests.stores.servers import running

LOGIN_SECONDS = 30 * 86400
START_SECONDS = 60.0
NO_KEY = "ours, no key"
LIMITS = "ours, limits"
_LIMITS = KeyTerms(rpm=1_000_000, tokens_per_day=10**12, tokens_per_week=10**12, concurrency=10_000)
_NGINX_CONFIGURATION = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_buffer_size 1m;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream codex {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://codex; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server."""

    name: str
    port: int
    root: int
    """The process that was started."""
    dialects: frozenset[Dialect]
    headers: tuple[str, ...] = ()
    workers: Callable[[], set[int]]
    """The processes that answer; the others only watch them."""

    def processes(self) -> set[int]:
        """The root and all below it."""
        return tree_of(self.root)


@dataclass(frozen=True, slots=True)
class State:
    """Where ours keeps its state: a home with a login, and what its environment says of it."""

    home: Path
    environment: Mapping[str, str]
    client_key: str
    """Without limits."""
    limited_key: str
    """With limits of every kind, which are not reached."""


def tree_of(root: int) -> set[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The name of a process may hold spaces and brackets.
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@contextmanager
def redis_url() -> Iterator[str | None]:
    """A Redis server of its own, the system's or the one of the development packages; ``None`` without either."""
    for kind in ("redis", "valkey"):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(running(kind))
            except FileNotFoundError:
                continue
            yield server.url
            return
    yield None


async def new_state(home: Path, upstream: int, redis: str | None) -> State:
    """A login that lasts, keys switched on, and one client key in the store."""
    base_url = f"http://127.0.0.1:{upstream}"
    book = TokenRegistry(SimulatorOptions, issuer=base_url)
    write_login(home, book.issue(expires_in=LOGIN_SECONDS).auth_json())
    environment = {
        "GPTMOCK_HOME": str(home),
        "GPTMOCK_UPSTREAM_URL": f"{base_url}/backend-api",
        "GPTMOCK_ISSUER": base_url,
        "GPTMOCK_API_KEY": secrets.token_urlsafe(32),
        # The upstream reads in the request which reply it is to give.
        "GPTMOCK_UPSTREAM_COMPRESSION": "off",
    }
    if redis is not None:
        environment["GPTMOCK_REDIS_URL"] = redis
        environment["GPTMOCK_ENCRYPTION_KEYS"] = base64.b64encode(secrets.token_bytes(32)).decode()
    settings = load_settings({}, environ=environment, directory=home)
    await prepare(settings)
    async with open_state(settings) as state:
        issued = await state.keys.create("benchmark", KeyTerms())
        limited = await state.keys.create("limited", _LIMITS)
    return State(home, environment, issued.text.reveal(), limited.text.reveal())


@contextmanager
def ours(state: State, *, workers: int = 1, name: str = "ours", source: Path | None = None) -> Iterator[Target]:
    """
    The whole program as a user starts it.

    Args:
        state: what it serves from.
        workers: how many.
        name: of the target; ``NO_KEY`` needs no key, ``LIMITS`` is asked with one that has limits.
        source: another checkout of the program, for a comparison.
    """
    upstream_url = state.environment["GPTMOCK_ISSUER"]
    environment = {**state.environment, **({} if source is None else {"PYTHONPATH": str(source)})}
    if name == NO_KEY:
        del environment["GPTMOCK_API_KEY"]
    key = state.limited_key if name == LIMITS else state.client_key
    with server_process(state.home, upstream_url, workers=workers, env=environment) as server:
        port = int(server.base_url.rpartition(":")[2])
        yield Target(
            name=name,
            port=port,
            root=server.process.pid,
            dialects=frozenset({"chat", "responses", "ollama", "collected"}),
            headers=() if name == NO_KEY else (f"authorization: Bearer {key}",),
            workers=server.workers,
        )


@contextmanager
def plain(upstream: int) -> Iterator[Target]:
    """The frozen plain build."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.plain", f"http://127.0.0.1:{upstream}/backend-api", str(port)]
    with _running("plain", command, port, frozenset({"chat", "collected"}), path="/readyz") as target:
        yield target


@contextmanager
def nginx(upstream: int, directory: Path) -> Iterator[Target]:
    """
    nginx, which passes everything on and translates nothing.

    Raises:
        FileNotFoundError: it is not installed.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise FileNotFoundError("nginx")
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX_CONFIGURATION.format(port=port, upstream=upstream))
    command = [program, "-p", str(directory), "-c", str(configuration), "-e", str(directory / "error.log")]
    with _running("nginx", command, port, frozenset({"upstream"}), path="/wham/usage") as target:
        yield target


def direct(upstream: int, pid: int) -> Target:
    """Nothing in between: its cost is that of the upstream itself."""
    return Target(name="direct", port=upstream, root=pid, dialects=frozenset({"upstream"}), workers=lambda: {pid})


@contextmanager
def _running(name: str, command: list[str], port: int, dialects: frozenset[Dialect], *, path: str) -> Iterator[Target]:
    root = Path(__file__).parent.parent.parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SANIC_")}
    with subprocess.Popen(command, cwd=root, env={**environment, "PYTHONPATH": str(root)}) as process:
        try:
            _wait(process, f"http://127.0.0.1:{port}{path}")
            pid = process.pid
            yield Target(name=name, port=port, root=pid, dialects=dialects, workers=lambda: tree_of(pid))
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url, timeout=5.0, trust_env=False)
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody answers at {url}")
