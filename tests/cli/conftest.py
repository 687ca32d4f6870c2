from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import SimulatorProcess, simulator_process


@pytest.fixture(scope="session")
def played() -> Iterator[SimulatorProcess]:
    """One simulator for all commands; see ``simulator``."""
    with simulator_process() as running:
        yield running


@pytest.fixture
def simulator(played: SimulatorProcess) -> SimulatorProcess:
    """As it was at its start, but for the logins that it knows."""
    played.reset()
    return played


@pytest.fixture
def issuer(simulator: SimulatorProcess) -> dict[str, str]:
    """The variables that lead a command to the simulator."""
    return {"GPTMOCK_ISSUER": simulator.base_url, "GPTMOCK_UPSTREAM_URL": f"{simulator.base_url}/backend-api"}
