"""The AI SDK of Vercel: what web applications, opencode and Cline are made of."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("ai_sdk_checks.mjs"))
def test_ai_sdk(client_of, check):
    client_of("node", "ai_sdk_checks.mjs").run(check)


@pytest.mark.parametrize("check", checks_of("ai_sdk_responses_checks.mjs"))
def test_ai_sdk_at_responses(client_of, check):
    client_of("node", "ai_sdk_responses_checks.mjs").run(check)
