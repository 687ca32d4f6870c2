"""The anthropic library for Node, and the AI SDK's provider for Anthropic."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("anthropic_node_checks.mjs"))
def test_anthropic_node(client_of, check):
    client_of("node", "anthropic_node_checks.mjs").run(check)


@pytest.mark.parametrize("check", checks_of("ai_sdk_anthropic_checks.mjs"))
def test_ai_sdk_anthropic(client_of, check):
    client_of("node", "ai_sdk_anthropic_checks.mjs").run(check)
