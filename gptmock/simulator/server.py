"""The simulator's aiohttp server with the routes of the issuer, the backend and the control API."""

import asyncio
import signal
from collections.abc import Callable
from typing import Self

from aiohttp import web

from gptmock.simulator.backend import Backend
from gptmock.simulator.control import Control
from gptmock.simulator.intake import Handler, recorder, respond
from gptmock.simulator.issuer import Issuer
from gptmock.simulator.options import DEFAULT_OPTIONS, SimulatorOptions
from gptmock.simulator.player import drop_content_type
from gptmock.simulator.refusals import detail
from gptmock.simulator.state import SimulatorState
from gptmock.simulator.websocket import Sockets

__all__ = ["Simulator", "SimulatorOptions", "SimulatorState", "run"]

BODY_LIMIT_BYTES = 256 * 1024 * 1024
STOP_SECONDS = 0.1
"""How long a stop waits for open streams."""


class Simulator:
    """
    A simulator of the Codex backend and its issuer, on the running event loop.

    Use it with ``async with``; ``base_url`` is its address, ``state`` what it recorded.
    """

    def __init__(self, options: SimulatorOptions = DEFAULT_OPTIONS) -> None:
        self.state = SimulatorState(options)
        self._runner: web.AppRunner | None = None
        self._base_url = ""

    @property
    def base_url(self) -> str:
        """``http://host:port``; empty before the start."""
        return self._base_url

    @property
    def upstream_url(self) -> str:
        """What ``GPTMOCK_UPSTREAM_URL`` is set to."""
        return f"{self._base_url}/backend-api"

    @property
    def issuer_url(self) -> str:
        """What ``GPTMOCK_ISSUER`` is set to."""
        return self._base_url

    async def __aenter__(self) -> Self:
        options = self.state.options
        # Streams are cancelled when their client disconnects; bodies are decompressed by us, strictly.
        self._runner = web.AppRunner(
            _application(self.state),
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            shutdown_timeout=STOP_SECONDS,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, options.host, options.port, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        self._base_url = f"http://{shown}:{port}"
        self.state.logins.issuer_url = self._base_url
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.state.stopping = True
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def run(options: SimulatorOptions, *, ready: Callable[[str], None]) -> None:
    """
    Serve until SIGINT or SIGTERM; ``ready`` is called with the base URL once it listens.

    Raises:
        OSError: the address cannot be bound.
    """
    asyncio.run(_serve(options, ready))


async def _serve(options: SimulatorOptions, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(options) as simulator:
        ready(simulator.base_url)
        await stop.wait()


def _application(state: SimulatorState) -> web.Application:
    application = web.Application(middlewares=[_gateway_errors, recorder(state)], client_max_size=BODY_LIMIT_BYTES)
    backend = Backend(state)
    for handlers in (Issuer(state), backend, Sockets(state, backend), Control(state)):
        application.add_routes(handlers.routes())
    application.on_response_prepare.append(drop_content_type)
    return application


@web.middleware
async def _gateway_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer unknown routes and methods in the gateway's envelope."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return respond(detail(error.reason, status=error.status))
