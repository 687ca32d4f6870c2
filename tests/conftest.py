"""What all tests share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.playbook", "tests.responses_client")

# The machines that run this are of any speed; how long an example takes is no finding.
# In CI a commit has one verdict: the same examples each time. Everybody else looks for new ones with each run.
settings.register_profile("gptmock", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("gptmock")

# What a script starts by "&" ignores Ctrl-C, and so does all that it starts itself; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-goldens", action="store_true", help="write tests/goldens anew; review the diff")


# --- Stages: the core first, then made-up requests, then the real clients, then the faults --------------------------

_STAGES = ("core", "fuzz", "clients", "faults")
_SECONDS = pytest.StashKey[dict[str, float]]()


def _stage(item: pytest.Item) -> str:
    return next((stage for stage in _STAGES[1:] if item.get_closest_marker(stage)), _STAGES[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _STAGES.index(_stage(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    started = time.monotonic()
    try:
        return (yield)
    finally:
        seconds = item.config.stash.setdefault(_SECONDS, dict.fromkeys(_STAGES, 0.0))
        seconds[_stage(item)] += time.monotonic() - started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for stage, seconds in config.stash.get(_SECONDS, {}).items():
        terminalreporter.write_line(f"stage {stage}: {seconds:.0f} s")
