"""The anthropic library, newest (httpx2); pydantic-ai's environment has it."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("anthropic_checks.py"))
def test_anthropic(client_of, check):
    client_of("pydantic_ai", "anthropic_checks.py").run(check)
