"""LiteLLM as a client of every route."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("litellm_checks.py"))
def test_litellm(client_of, check):
    client_of("openai2", "litellm_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("litellm_anthropic_checks.py"))
def test_litellm_at_messages(client_of, check):
    client_of("openai2", "litellm_anthropic_checks.py").run(check)
