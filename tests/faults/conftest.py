from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.state import Place, a_redis
from tests.harness import SimulatorProcess, simulator_process, write_login


@pytest.fixture(scope="session")
def one_simulator() -> Iterator[SimulatorProcess]:
    with simulator_process() as running:
        yield running


@pytest.fixture
def simulator(one_simulator: SimulatorProcess) -> SimulatorProcess:
    """One process for all tests, as new for each."""
    one_simulator.reset()
    return one_simulator


@pytest.fixture
def home(tmp_path: Path, simulator: SimulatorProcess) -> Path:
    """Holds a good login."""
    write_login(tmp_path, simulator.new_login())
    return tmp_path


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where state rests: a file of the home, or a server of its own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    if request.param == "sqlite":
        yield Place("sqlite", home)
        return
    with a_redis() as redis:
        yield Place("redis", home, redis)


@pytest.fixture
def redis_place(tmp_path: Path) -> Iterator[Place]:
    """For what can only happen to a server."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with a_redis() as redis:
        yield Place("redis", home, redis)
