"""What all tests share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from gptmock.stores import redis, sqlite_file
from tests.examples import FACTOR, USUAL, examples
from tests.isolation import RunLock
from tests.scheduling import STAGES, StageScheduling, StageSeconds, ordered, stage_of
from tests.stores.servers import PATIENT_SECONDS
from tests.temporary import rest_in_memory

rest_in_memory()
pytest.register_assert_rewrite("tests.playbook", "tests.responses_client")

# The machines that run this are of any speed; how long an example takes is no finding.
# In CI a commit has one verdict: the same examples each time. Everybody else looks for new ones with each run.
_LOOKING = FACTOR != 1 or not os.environ.get("CI")
settings.register_profile(
    "gptmock",
    deadline=None,
    derandomize=not _LOOKING,
    max_examples=examples(USUAL),
    # Which examples there are depends on the modules that were imported before, and how long they take on the machine.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("gptmock")

# What a script starts by "&" ignores Ctrl-C, and so does all that it starts itself; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-goldens", action="store_true", help="write tests/goldens anew; review the diff")


# --- Processes: a whole run in several, a chosen part in this one ---------------------------------------------------

_LOCK = pytest.StashKey[RunLock]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores, as many tests wait for something; few, as many start processes of their own."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return min(4, (os.cpu_count() or 1) + 1) if whole else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StageScheduling:
    # The order of collection is the order of the stages; xdist's own order is by the number of tests.
    config.option.loadscopereorder = False
    return StageScheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    process = getattr(config, "workerinput", None)
    if process is None:
        config.pluginmanager.register(_StageClock(), "stage-clock")
    else:
        config.stash[_LOCK] = RunLock(_lock_folder(process["testrunuid"]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    distributed = session.config.pluginmanager.get_plugin("dsession")
    if distributed is not None:
        shutil.rmtree(_lock_folder(distributed.nodemanager.testrunuid), ignore_errors=True)


def _lock_folder(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"gptmock-tests-{run}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Outside the time limit of the test, which does not count the wait for other processes."""
    lock = item.config.stash.get(_LOCK, None)
    if lock is None:
        return (yield)
    lock.enter(alone=_alone(item))
    if _alone(item):
        # It measures times: a collection that walks through the objects of all earlier tests takes a second.
        gc.freeze()
    try:
        return (yield)
    finally:
        lock.leave(next_alone=_alone(nextitem))


def _alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session", autouse=True)
def patient_stores() -> Iterator[None]:
    """
    A busy machine must not pass for a store that is away: what the tests' own process opens waits long. Tests of that
    wait construct a store with a time of their own; processes that tests start wait as long as they do for users.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis, "TIMEOUT_SECONDS", PATIENT_SECONDS)
        patch.setattr(sqlite_file, "CALL_TIMEOUT_SECONDS", PATIENT_SECONDS)
        yield


# --- Stages: the core first, then made-up requests, then the real clients and the faults -----------------------------


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is collected lives to the end: no later search for garbage goes through it, which would stall a loop."""
    gc.collect()
    gc.freeze()


def pytest_itemcollected(item: pytest.Item) -> None:
    if not item.nodeid.endswith(item.name):
        # Schemathesis puts the operation into the name alone, and all operations of a test have one id.
        item._id = item.id.with_params(item.name.partition("[")[2].removesuffix("]"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Of tests with one id, pytest-xdist runs one.
    repeated = [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]
    if repeated:
        raise pytest.UsageError(f"several tests have one id: {repeated}")
    for item in items:
        item.user_properties.append(("stage", stage_of(item)))
    items[:] = ordered(items)


class _StageClock:
    """Adds up the seconds of the stages, in the process that receives all reports."""

    def __init__(self) -> None:
        self._seconds = {stage: StageSeconds() for stage in STAGES}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Not its keywords: the folders that it is in are among them. A process that crashed tells no stage.
        self._seconds[str(dict(report.user_properties).get("stage", STAGES[0]))].add(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for stage, seconds in self._seconds.items():
            if seconds.added:
                terminalreporter.write_line(f"stage {stage}: {seconds}")
