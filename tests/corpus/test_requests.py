"""Bad requests against a real server process: one answer for each request, the right one, and no fault of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.corpus.cases import Case, cases, name_of
from tests.corpus.exchange import REFUSED, exchange, heads_of_h11
from tests.harness import ServerProcess, SimulatorProcess, server_process, simulator_process, write_login


@dataclass(frozen=True)
class Pair:
    """A server and the simulator behind it."""

    server: ServerProcess
    simulator: SimulatorProcess

    @property
    def url(self) -> str:
        return self.server.base_url


BODY_LIMIT_BYTES = 12 * 1024 * 1024


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("home")
    with simulator_process() as simulator:
        write_login(home, simulator.new_login())
        limit = {"GPTMOCK_MAX_BODY_BYTES": str(BODY_LIMIT_BYTES)}
        with server_process(home, simulator.base_url, workers=1, env=limit) as server:
            yield Pair(server, simulator)


def _is_expected(status: int, expected: int | list[int]) -> bool:
    return status in (expected if isinstance(expected, list) else [expected])


@pytest.mark.parametrize("case", [*cases("raw_http"), *cases("headers")], ids=name_of)
def test_raw_requests(pair: Pair, case: Case):
    data = case.octets("sends")
    calls = pair.simulator.stats()["model_calls"]
    answers = exchange(pair.url, data)
    statuses = [answer.status for answer in answers]
    expected = case.expected["answers"]
    assert len(statuses) == len(expected), (case.about, statuses)
    assert all(_is_expected(*each) for each in zip(statuses, expected, strict=True)), (case.about, statuses)
    for answer in answers:
        if answer.status >= 400:
            assert answer.has_shape(case.expected.get("shape", "openai")), answer.body
    last = answers[-1]
    if "code" in case.expected:
        assert last.code == case.expected["code"]
    assert last.headers["connection"] == "close"
    # What h11 refuses is refused here; and nothing reaches the upstream from behind a refused request.
    served = [answer for answer in answers if answer.code not in REFUSED and "is refused" not in str(answer.error)]
    assert len(served) <= heads_of_h11(data)
    reached = sum(answer.status == 200 and b"chat.completion" in answer.body for answer in answers)
    assert pair.simulator.stats()["model_calls"] == calls + reached
