from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gptmock.simulator.server import Simulator
from tests.harness import NO_TLS, serving_simulator, write_login
from tests.harness import client as open_client


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream is a plain HTTP server here, and each test opens a transport."""
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: NO_TLS)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, simulator: Simulator) -> Path:
    """A home with a valid login."""
    write_login(tmp_path, simulator.state.logins.issue().auth_json())
    return tmp_path


@pytest.fixture
async def base_url(simulator: Simulator, home: Path) -> AsyncIterator[str]:
    async with serving_simulator(simulator, home) as url:
        yield url


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(base_url) as opened:
        yield opened
