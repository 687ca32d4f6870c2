"""The anthropic library, newest (httpx2)."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("anthropic_checks.py"))
def test_anthropic(client_of, check):
    client_of("anthropic", "anthropic_checks.py").run(check)
