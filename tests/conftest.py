"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.playbook")

# The machines that run this are of any speed; how long an example takes is no finding.
settings.register_profile("gptmock", deadline=None)
settings.load_profile("gptmock")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-goldens", action="store_true", help="write tests/goldens anew; review the diff")
