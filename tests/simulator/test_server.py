import asyncio
import signal
import sys
import time

import httpx
import pytest

from gptmock.simulator.server import Simulator, SimulatorOptions
from tests.simulator.wire import RESPONSES, body, headers_of
from tests.timing import generous

PROGRAM = """
from gptmock.simulator.server import SimulatorOptions, run
run(SimulatorOptions(), ready=lambda url: print(url, flush=True))
"""


async def test_its_urls():
    simulator = Simulator()
    assert simulator.base_url == ""
    async with simulator:
        assert simulator.base_url.startswith("http://127.0.0.1:")
        assert simulator.upstream_url == f"{simulator.base_url}/backend-api"
        assert simulator.issuer_url == simulator.base_url


async def test_it_stops_while_a_stream_is_open():
    simulator = Simulator()
    await simulator.__aenter__()
    headers = headers_of(simulator.state.logins.issue())
    async with (
        httpx.AsyncClient(base_url=simulator.base_url, headers=headers, trust_env=False) as client,
        client.stream("POST", RESPONSES, json=body("scene:stall:60")) as response,
    ):
        await anext(response.aiter_bytes())
        began = time.monotonic()
        await simulator.__aexit__()
        assert time.monotonic() - began < generous(1)
    assert (simulator.state.open_streams, simulator.state.closed_by_client) == (0, 0)


async def test_a_taken_port_is_an_error():
    async with Simulator() as first:
        port = int(first.base_url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"):
            await Simulator(SimulatorOptions(port=port)).__aenter__()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_stops_cleanly_on_a_signal(number):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/health")).status_code == 200
    process.send_signal(number)
    _, errors = await asyncio.wait_for(process.communicate(), 5)
    assert (process.returncode, errors) == (0, b"")
