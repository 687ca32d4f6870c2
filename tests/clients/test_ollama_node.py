"""The ollama library for JavaScript."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("ollama_node_checks.mjs"))
def test_ollama_node(client_of, check):
    client_of("node", "ollama_node_checks.mjs").run(check)
