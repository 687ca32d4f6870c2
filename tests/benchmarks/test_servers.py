"""Every load of the benchmark is answered by every server that it is put on, and the figures are plausible."""

from __future__ import annotations

import asyncio
import json
import math
import os
from dataclasses import replace

import pytest

from tests.benchmarks import native, processes, replies, targets
from tests.benchmarks.cells import BESIDE, FULL, LARGE, WAITING
from tests.benchmarks.runner import Runner
from tests.timing import generous

DELTAS = 20


def small(cell):
    deltas = min(cell.deltas, DELTAS)
    return replace(cell, deltas=deltas, connections=2, seconds=0, requests=4, wait_seconds=min(cell.wait_seconds, 0.1))


SMALL = [small(cell) for cell in (*FULL, WAITING)]


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    try:
        programs = native.build()
    except native.NoCompiler as missing:
        pytest.skip(str(missing))
    directory = tmp_path_factory.mktemp("benchmark")
    allowed = os.sched_getaffinity(0)
    known = {(cell.kind, cell.deltas, cell.rate > 0) for cell in (*SMALL, BESIDE)}
    replies.write(directory, sorted(known | {("text", 1, False)}))
    with native.running_upstream(programs, directory) as (upstream, port):
        state = asyncio.run(targets.new_state(directory / "home", port, None))
        with targets.plain(port) as plain, targets.ours(state) as ours:
            servers = {"direct": targets.direct(port, upstream), "plain": plain, "ours": ours}
            yield Runner(programs=programs, directory=directory, upstream=upstream, targets=servers, rounds=1)
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("cell", SMALL, ids=[cell.name for cell in SMALL])
def test_a_load_is_answered(runner, cell):
    for name in set(cell.targets) & set(runner.targets):
        sample = runner.sample(cell, runner.targets[name])
        assert (sample.run.requests, sample.run.failed, sample.run.fault) == (4, 0, "")
        assert sample.run.stamps == (4 * cell.deltas if cell.rate else 0)
        assert 0 < sample.cpu < 1
        assert sample.run.first_frame is not None


@pytest.mark.parametrize("large", LARGE, ids=[large.name for large in LARGE])
def test_a_large_request_is_answered(runner, large):
    large = replace(large, size_bytes=100_000)
    run = runner.large(large, runner.targets["ours"])
    assert (run.requests, run.failed, run.fault) == (1, 0, "")
    assert len(json.dumps(large.body())) == pytest.approx(large.size_bytes, rel=0.01)


def test_the_delays_beside_a_large_request_are_told(runner):
    assert 0 < runner.stall("ours", replace(LARGE[0], size_bytes=100_000)) < generous(1)
    assert runner.stall("ours", replace(LARGE[0], size_bytes=100_000, dialect="upstream")) == math.inf


def test_nginx_passes_on(runner, tmp_path):
    try:
        with targets.nginx(runner.targets["direct"].port, tmp_path) as nginx:
            run = runner.sample(SMALL[0], nginx).run
    except FileNotFoundError:
        pytest.skip("no nginx here: apt-get install nginx-light")
    assert (run.requests, run.failed) == (4, 0)


def test_cpu_time_is_that_of_all_threads_of_a_process():
    before = processes.cpu_seconds([os.getpid()])
    sum(range(3_000_000))
    assert 0 < processes.cpu_seconds([os.getpid()]) - before < 60
    assert processes.cpu_seconds([2**22 + 1]) == 0
