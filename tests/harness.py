"""
Real servers for tests: the app on a socket in the test's own loop, the console script as a tree of processes, and the
simulator beside either. Names without an underscore are for every test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from sanic import Sanic

from gptmock.dialects.table import DIALECTS, DialectRoute
from gptmock.server.app import create_app
from gptmock.server.client_connection import ClientConnection
from gptmock.server.context import App, ServerOptions, Services
from gptmock.settings_sources import load_settings
from gptmock.shared_state import prepare
from gptmock.simulator.server import Simulator
from gptmock.upstream.codex import UpstreamDeadlines
from gptmock.wiring import open_services, server_options
from tests.ports import free_port
from tests.timing import generous

CONSOLE_SCRIPT = str(Path(sys.executable).with_name("gptmock"))
ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "gptmock")
"""The console script of this very checkout: an installed one may belong to another."""
START_SECONDS = 60.0
STOP_SECONDS = 30.0
CHAT_PATH = "/v1/chat/completions"
MARK = "TEST_PROCESS_MARK"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without certificates: reading them takes a client longer than its first request."""


# --- What is asked and awaited -----------------------------------------------------------


def chat(text: str = "Hello", *, stream: bool = False, model: str = "gpt-5.5", **members: Any) -> dict[str, Any]:
    """A chat request; ``scene:NAME`` in the text chooses the simulator's reply."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **members}


async def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """
    Wait for a condition without guessing how long it takes.

    Raises:
        TimeoutError: it was still false.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """``until`` where no loop runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)


def write_login(home: Path, document: Mapping[str, Any]) -> Path:
    """``auth.json`` with mode 0600; ``document`` comes from ``TokenRegistry.issue().auth_json()`` or ``new_login``."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / "auth.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


def spoil_state(home: Path) -> None:
    """
    The state file is no database any more.

    It is replaced in one step: a file that is missing for a moment is made anew by whatever the server does meanwhile.
    """
    (home / "state.db-wal").unlink(missing_ok=True)
    other = home / "other"
    other.write_bytes(b"no database" * 1000)
    other.replace(home / "state.db")


def plain_environment(**variables: str) -> dict[str, str]:
    """This process's environment without anything that settings or proxies are read from, plus ``variables``."""
    strange = ("GPTMOCK_", "CHATGPT_LOCAL_", "SANIC_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(strange) and not name.lower().endswith("_proxy")
    }
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **variables}


# --- In the test's own loop ----------------------------------------------------------------


@asynccontextmanager
async def serving(
    open_its_services: Callable[[], AbstractAsyncContextManager[Services]],
    options: ServerOptions | None = None,
    *,
    configure: Callable[[App], None] = lambda _: None,
    dialects: Sequence[DialectRoute] = DIALECTS,
) -> AsyncIterator[str]:
    """
    The app on a real socket in the running loop: events arrive one by one, and a client can leave.

    Args:
        open_its_services: as for ``create_app``.
        options: as for ``create_app``.
        configure: changes the app before it starts, e.g. ``app.config.RESPONSE_TIMEOUT``.
        dialects: as for ``create_app``.

    Yields the base URL.
    """
    with many_apps(), socket.socket() as listening:
        app = create_app(open_its_services, options or ServerOptions(), dialects=dialects)
        configure(app)
        _rewrite_for(app)
        listening.bind(("127.0.0.1", 0))
        server = await app.create_server(sock=listening, protocol=ClientConnection, return_asyncio_server=True)
        assert server is not None
        await server.startup()
        await server.before_start()
        await server.after_start()
        await server.start_serving()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            await server.before_stop()
            server.close()
            for connection in list(server.connections):
                connection.abort()
            await asyncio.sleep(0)
            await server.after_stop()
            Sanic.unregister_app(app)


_rewritten: dict[str, frozenset[str]] = {}


def _rewrite_for(app: App) -> None:
    """At each start Sanic rewrites its methods for the signals of the app. Here once for equal ones: it takes long."""
    signals = frozenset(route.name for route in app.signal_router.routes)
    app.config.TOUCHUP = _rewritten.get("signals") != signals
    _rewritten["signals"] = signals


@contextmanager
def many_apps() -> Iterator[None]:
    """Let this process make more than one app; Sanic rewrites its own methods at each start otherwise, once."""
    before = Sanic.test_mode
    Sanic.test_mode = True
    try:
        yield
    finally:
        Sanic.test_mode = before


@asynccontextmanager
async def serving_simulator(
    simulator: Simulator,
    home: Path,
    *,
    options: ServerOptions | None = None,
    deadlines: UpstreamDeadlines | None = None,
    configure: Callable[[App], None] = lambda _: None,
    dialects: Sequence[DialectRoute] = DIALECTS,
    **settings: Any,
) -> AsyncIterator[str]:
    """The whole program, as ``wiring`` makes it, in the running loop, with ``simulator`` behind it. Yields the URL."""
    flags = {"home": str(home), "upstream_url": simulator.upstream_url, "issuer": simulator.issuer_url, **settings}
    loaded = load_settings(flags, environ={}, directory=home)
    # What the command does before its workers start: a login in the home is taken over.
    await prepare(loaded)
    deadlines = deadlines or UpstreamDeadlines()
    opened = partial(open_services, loaded, deadlines)
    async with serving(
        opened, options or server_options(loaded, deadlines), configure=configure, dialects=dialects
    ) as base_url:
        yield base_url


def client(base_url: str, **more: Any) -> httpx.AsyncClient:
    """A client without proxies and with generous patience; many connections at once."""
    limits = httpx.Limits(max_connections=2000, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=base_url, timeout=60.0, trust_env=False, verify=NO_TLS, limits=limits, **more)


def get(url: str, **more: Any) -> httpx.Response:
    """One GET over a connection of its own; see ``NO_TLS``."""
    return httpx.get(url, **{"trust_env": False, "verify": NO_TLS, "timeout": 5.0, **more})


async def until_ready(opened: httpx.AsyncClient, *, seconds: float = 20.0) -> None:
    """
    Wait for 200 on /readyz.

    Raises:
        TimeoutError: it never came.
    """
    async with asyncio.timeout(seconds):
        while (await opened.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.05)


# --- Processes -----------------------------------------------------------------------------


@dataclass
class ServerProcess:
    """A ``gptmock serve`` that runs, with its workers."""

    process: subprocess.Popen[bytes]
    base_url: str
    home: Path
    output: Path
    """Its stdout and stderr."""
    mark: str
    """What all of its processes have in their environment."""

    def text(self) -> str:
        """All that it has written."""
        return self.output.read_text(errors="replace")

    def logs(self, event: str | None = None) -> list[dict[str, Any]]:
        """Its log lines so far, those of one event if one is named; other output is left out."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if event is None or line["event"] == event]

    def tree(self) -> set[int]:
        """Its living processes: the supervisor, its starter, its workers and their helpers."""
        return processes_of(self.mark)

    def workers(self) -> set[int]:
        """The processes that serve: those that hold the listening socket, the supervisor and its starters apart."""
        sockets = _listening_sockets(int(self.base_url.rpartition(":")[2]))
        holders = {pid for pid in self.tree() if sockets.intersection(open_files(pid))}
        return {pid for pid in holders if self.process.pid not in (pid, parent_of(pid))}

    def starter(self) -> int:
        """The process that forks the workers."""
        (pid,) = (pid for pid in self.tree() if parent_of(pid) == self.process.pid)
        return pid

    def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def server_process(
    home: Path,
    simulator_url: str,
    *,
    workers: int = 2,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    wait_ready: bool = True,
    program: Sequence[str] = PROGRAM,
) -> Iterator[ServerProcess]:
    """
    The program as a user starts it, in a session of its own, on a free port; all of it is gone afterwards.

    Args:
        home: ``GPTMOCK_HOME`` and the working directory; holds the login if there is one.
        simulator_url: the base URL of a simulator.
        workers: how many worker processes.
        env: more variables.
        args: more arguments of ``serve``.
        wait_ready: wait for /readyz, else only for the process.
        program: what ``serve`` is an argument of.
    """
    port, mark = free_port(), new_mark()
    variables = {
        MARK: mark,
        "GPTMOCK_HOME": str(home),
        "GPTMOCK_UPSTREAM_URL": f"{simulator_url}/backend-api",
        "GPTMOCK_ISSUER": simulator_url,
        "GPTMOCK_LOG_FORMAT": "json",
    }
    environment = plain_environment(**{**variables, **(env or {})})
    command = [*program, "serve", "--port", str(port), "--workers", str(workers), *args]
    with tempfile.NamedTemporaryFile(prefix="gptmock-test-") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdout=output, stderr=output, start_new_session=True
        )
        server = ServerProcess(process, f"http://127.0.0.1:{port}", home, Path(output.name), mark)
        try:
            if wait_ready:
                wait_until_ready(server)
            yield server
        except BaseException:
            # Shown by pytest when the test has failed.
            print(server.text()[-20_000:])  # noqa: T201
            raise
        finally:
            end_tree(process, mark)


def wait_until_ready(server: ServerProcess, *, seconds: float = START_SECONDS) -> None:
    """Wait for 200 on /readyz; fails with the server's own words."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if get(f"{server.base_url}/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"not ready (exit code {server.process.poll()}): {server.text()}")


async def until_all_serve(server: ServerProcess, workers: int) -> None:
    """
    Wait until every worker has answered: /readyz is 200 as soon as one does.

    Asks with bodies that are refused, so that no upstream is called and no token is spent.
    """
    async with asyncio.timeout(START_SECONDS):
        while len({line["pid"] for line in server.logs("turn")}) < workers:
            # New connections each time: a kept one stays with its worker.
            async with client(server.base_url) as opened:
                await asyncio.gather(*(opened.post(CHAT_PATH, content=b"{") for _ in range(20)))


def end_tree(process: subprocess.Popen[bytes], mark: str) -> None:
    """Stop a process, politely first; nothing that it started is left, in whatever session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS / 3)
    # Helpers of multiprocessing end a moment after the manager.
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not processes_of(mark), seconds=generous(2.0))
    for pid in processes_of(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@dataclass
class SimulatorProcess:
    """A ``gptmock simulator`` that runs, and its control API."""

    process: subprocess.Popen[bytes]
    base_url: str
    control: httpx.Client = field(repr=False)

    def stats(self) -> dict[str, Any]:
        """Model calls, exchanges, open streams, streams that their client left."""
        return dict(self.control.get("/simulator/stats").raise_for_status().json())

    def requests(self, path: str | None = None) -> list[dict[str, Any]]:
        """What arrived, oldest first."""
        answer = self.control.get("/simulator/requests", params={"path": path} if path else {}).raise_for_status()
        return list(answer.json()["requests"])

    def new_login(self, **order: Any) -> dict[str, Any]:
        """A new login's auth.json document; ``expires_in=-5`` has expired already."""
        return dict(self.control.post("/simulator/logins", json=order).raise_for_status().json())

    def options(self, **changes: Any) -> None:
        """Change ``SimulatorOptions`` while it runs."""
        self.control.post("/simulator/options", json=changes).raise_for_status()

    def scenes(self, *names: str) -> None:
        """What the next model calls get."""
        self.control.post("/simulator/scenes", json={"scenes": names}).raise_for_status()

    def token_faults(self, *names: str) -> None:
        """What the next refreshes get."""
        self.control.post("/simulator/token-faults", json={"faults": names}).raise_for_status()

    def limit(self, account_id: str, seconds: float) -> None:
        """This account's usage limit is reached for so long."""
        order = {"account_id": account_id, "seconds": seconds}
        self.control.post("/simulator/limits", json=order).raise_for_status()

    def expire(self) -> None:
        """From now on every living access token is answered with 401."""
        self.control.post("/simulator/expire").raise_for_status()

    def reset(self) -> None:
        """Counts, queues and options as at the start; logins stay."""
        self.control.post("/simulator/reset", json={}).raise_for_status()


@contextmanager
def simulator_process() -> Iterator[SimulatorProcess]:
    """The simulator in a process of its own, on a free port."""
    mark = new_mark()
    process = subprocess.Popen(
        [*PROGRAM, "simulator", "--port", "0"],
        env=plain_environment(**{MARK: mark}),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        url = _line(process).rpartition("issuer at ")[2].strip()
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False, verify=NO_TLS) as control:
            yield SimulatorProcess(process, url, control)
    finally:
        end_tree(process, mark)
        assert process.stdout is not None
        process.stdout.close()


def new_mark() -> str:
    """A value for the variable ``MARK``, by which ``processes_of`` finds a process and all that it starts."""
    return uuid.uuid4().hex


def processes_of(mark: str) -> set[int]:
    """The living processes that inherited this mark, whatever session they are in; zombies have no environment."""
    found, wanted = set(), f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def parent_of(pid: int) -> int:
    """The pid of a process's parent; 0 if the process is gone."""
    with contextlib.suppress(OSError):
        # Behind the name, which may have any characters.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def open_files(pid: int) -> list[str]:
    """What the file descriptors of a process point to, as the kernel names it."""
    names = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(entry.readlink()))
    return names


def _listening_sockets(port: int) -> set[str]:
    """Those that listen at a port, as ``open_files`` names them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and int(line[1].rpartition(":")[2], 16) == port}


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    assert readable, "nothing was written"
    return process.stdout.readline().decode()
