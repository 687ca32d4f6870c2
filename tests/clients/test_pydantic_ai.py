"""pydantic-ai, the strictest reader of the four."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("pydantic_ai_checks.py"))
def test_pydantic_ai(client_of, check):
    client_of("pydantic_ai", "pydantic_ai_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("pydantic_ai_responses_checks.py"))
def test_pydantic_ai_at_responses(client_of, check):
    client_of("pydantic_ai", "pydantic_ai_responses_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("pydantic_ai_anthropic_checks.py"))
def test_pydantic_ai_at_messages(client_of, check):
    client_of("pydantic_ai", "pydantic_ai_anthropic_checks.py").run(check)
