from collections.abc import AsyncIterator

import httpx
import pytest

from gptmock.simulator.accounts import IssuedLogin
from gptmock.simulator.server import Simulator
from tests.simulator.wire import headers_of, no_tls


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def login(simulator: Simulator) -> IssuedLogin:
    return simulator.state.logins.issue()


@pytest.fixture
async def client(simulator: Simulator, login: IssuedLogin) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=headers_of(login), verify=no_tls()) as opened:
        yield opened


@pytest.fixture
async def stranger(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, verify=no_tls()) as opened:
        yield opened
