from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
