"""``gptmock simulator``: runs the fake Codex backend and OAuth issuer without a server."""

from __future__ import annotations

import argparse

from gptmock.cli.ports import check_port
from gptmock.simulator.server import SimulatorOptions
from gptmock.simulator.server import run as run_simulator

DEFAULT_PORT = 8765
_EPILOG = """example:
  gptmock simulator --port 8765
  export GPTMOCK_UPSTREAM_URL=http://127.0.0.1:8765/backend-api
  export GPTMOCK_ISSUER=http://127.0.0.1:8765
  gptmock serve
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options, and what to run."""
    parser.epilog = _EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port to listen on, 0 for any free port (default 8765)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run until stopped."""
    if options.port:
        check_port(options.host, options.port)
    run_simulator(SimulatorOptions(host=options.host, port=options.port), ready=_announce)
    return 0


def _announce(base_url: str) -> None:
    print(
        f"gptmock simulator serves the Codex backend at {base_url}/backend-api and its issuer at {base_url}", flush=True
    )
