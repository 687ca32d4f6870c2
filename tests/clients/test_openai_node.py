"""The openai library for Node."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("openai_node_checks.mjs"))
def test_openai_node(client_of, check):
    client_of("node", "openai_node_checks.mjs").run(check)


@pytest.mark.parametrize("check", checks_of("openai_node_other_routes_checks.mjs"))
def test_openai_node_at_other_routes(client_of, check):
    client_of("node", "openai_node_other_routes_checks.mjs").run(check)


@pytest.mark.parametrize("check", checks_of("openai_node_socket_checks.mjs"))
def test_openai_node_at_the_socket(client_of, check):
    client_of("node", "openai_node_socket_checks.mjs").run(check)
