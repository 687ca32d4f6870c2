from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, values
from prometheus_client.parser import text_string_to_metric_families

from gptmock.metrics.events import counted, outcome
from gptmock.metrics.instruments import OUTCOMES, Instruments
from gptmock.metrics.worker import Exposition, Reading, open_metrics

TURN = {
    "dialect": "chat",
    "model": "gpt-6-sol",
    "status": 200,
    "ended": "ok",
    "key": "abcdefgh",
    "seconds": 1.5,
    "first_event_seconds": 0.3,
    "input_tokens": 24,
    "cached_tokens": 20,
    "output_tokens": 13,
    "reasoning_tokens": 0,
}


@pytest.fixture(autouse=True)
def _library_as_it_was() -> Iterator[None]:
    value_class, folder = values.ValueClass, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    yield
    values.ValueClass = value_class
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if folder is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


@pytest.mark.parametrize(
    ("status", "ended", "expected"),
    [
        (200, "ok", "ok"),
        (200, "upstream_stream_truncated", "truncated"),
        (502, "upstream_stream_truncated", "truncated"),
        (200, "server_error", "upstream_error"),
        (504, "upstream_timeout", "upstream_error"),
        (499, "client_gone", "client_gone"),
        (200, "client_gone", "client_gone"),
        (429, "usage_limit_reached", "rate_limited"),
        (400, "invalid_json", "client_error"),
        (401, "invalid_api_key", "client_error"),
        (503, "login_required", "unavailable"),
        (500, "internal_error", "internal_error"),
    ],
)
def test_the_outcome_of_a_turn_is_of_a_closed_set(status: int, ended: str, expected: str):
    assert outcome(status, ended) == expected
    assert expected in OUTCOMES


def test_what_is_logged_is_counted_once():
    instruments = Instruments(registry := CollectorRegistry())
    log = logging.getLogger("gptmock.turn")
    log.setLevel(logging.INFO)
    with counted(instruments, {"gpt-6-sol"}.__contains__):
        log.info("turn", extra=TURN)
        log.info("turn", extra={**TURN, "model": "made-up-by-a-client", "key": None, "input_tokens": None})
        log.info("turn.retried", extra={"code": "server_error", "try": 1})
        log.info("turn.request", extra={"inbound": "{}"})
    log.info("turn", extra=TURN)
    value = registry.get_sample_value
    ok = {"dialect": "chat", "outcome": "ok"}
    assert value("gptmock_turns_total", {**ok, "model": "gpt-6-sol"}) == 1
    assert value("gptmock_turns_total", {**ok, "model": "other"}) == 1
    assert value("gptmock_tokens_total", {"model": "gpt-6-sol", "kind": "cached"}) == 20
    assert value("gptmock_key_tokens_total", {"key": "abcdefgh"}) == 37
    assert value("gptmock_time_to_first_token_seconds_sum", {"dialect": "chat"}) == pytest.approx(0.6)
    assert value("gptmock_upstream_retries_total") == 1


WORKER = """
import sys
from pathlib import Path
from gptmock.metrics.worker import open_metrics
metrics = open_metrics(Path(sys.argv[1]))
metrics.instruments.streams.set(int(sys.argv[2]))
metrics.instruments.upstream_retries.inc(int(sys.argv[2]))
print("counted", flush=True)
sys.stdin.read()
"""


def worker(folder: Path, number: int) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "counted\n"
    return started


def test_counters_outlive_a_killed_worker_gauges_do_not_and_no_files_pile_up(tmp_path: Path):
    folder = tmp_path / "metrics"
    own = open_metrics(folder)
    for number in (1, 2, 3):
        other = worker(folder, number)
        value = samples(own.text(()))
        assert value["gptmock_open_streams", ()] == number
        assert value["gptmock_workers", ()] == 2
        other.kill()
        other.communicate()
        value = samples(own.text(()))
        assert value["gptmock_workers", ()] == 1
    value = samples(own.text(()))
    assert value["gptmock_upstream_retries_total", ()] == 6
    assert value["gptmock_worker_starts_total", ()] == 4
    assert sorted({path.stem.rpartition("_")[2] for path in folder.glob("*.db")}) == ["0", "1"]


def test_the_first_worker_is_the_living_one_in_the_lowest_place(tmp_path: Path):
    folder = tmp_path / "metrics"
    before = worker(folder, 1)
    own = open_metrics(folder)
    after = worker(folder, 1)
    assert not own.is_first()
    for other in (before, after):
        other.kill()
        other.communicate()
        assert own.is_first()
    # Who takes the lower place is the first from then on.
    before = worker(folder, 1)
    assert not own.is_first()
    before.kill()
    before.communicate()


async def test_what_the_store_knows_is_read_once_a_second(tmp_path: Path):
    now, reads = 0.0, 0

    async def read() -> list[Reading]:
        nonlocal reads
        reads += 1
        return [Reading("account_state", "State.", {"account": "a", "state": "active"}, reads)]

    exposition = Exposition(open_metrics(tmp_path / "metrics"), read, clock=lambda: now)
    label = (("account", "a"), ("state", "active"))
    assert samples(await exposition())["gptmock_account_state", label] == 1
    assert samples(await exposition())["gptmock_account_state", label] == 1
    now = 1.5
    assert samples(await exposition())["gptmock_account_state", label] == 2


def test_a_worker_whose_folder_cannot_be_written_counts_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "metrics").write_text("a file")
    metrics = open_metrics(tmp_path / "metrics")
    metrics.instruments.upstream_retries.inc()
    assert samples(metrics.text(()))["gptmock_upstream_retries_total", ()] == 1
    assert [record.msg for record in caplog.records] == ["metrics.alone"]


def test_the_number_of_series_is_bounded():
    instruments = Instruments(registry := CollectorRegistry())
    with counted(instruments, {"gpt-6-sol"}.__contains__):
        for number in range(1000):
            logging.getLogger("gptmock.turn").warning(
                "turn", extra={**TURN, "model": f"m{number}", "ended": f"upstream_code_{number}", "key": None}
            )
    series = [sample for family in registry.collect() for sample in family.samples if sample.labels]
    assert len(series) < 200, json.dumps([one.name for one in series])
