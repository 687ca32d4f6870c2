"""The openai library, third generation (httpx2)."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("openai_checks.py"))
def test_openai3(client_of, check):
    client_of("openai3", "openai_checks.py").run(check)
