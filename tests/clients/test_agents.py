"""openai-agents, by chat and by responses."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("agents_checks.py"))
def test_agents(client_of, check):
    client_of("openai2", "agents_checks.py").run(check)
