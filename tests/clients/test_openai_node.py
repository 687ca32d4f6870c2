"""The openai library for Node."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("openai_node_checks.mjs"))
def test_openai_node(client_of, check):
    client_of("node", "openai_node_checks.mjs").run(check)


@pytest.mark.parametrize("check", checks_of("openai_node_doors_checks.mjs"))
def test_openai_node_at_other_doors(client_of, check):
    client_of("node", "openai_node_doors_checks.mjs").run(check)
