"""LangChain over OpenAI's APIs."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("langchain_checks.py"))
def test_langchain(client_of, check):
    client_of("langchain", "langchain_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("langchain_other_routes_checks.py"))
def test_langchain_at_other_routes(client_of, check):
    client_of("langchain", "langchain_other_routes_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("langchain_anthropic_checks.py"))
def test_langchain_at_messages(client_of, check):
    client_of("langchain", "langchain_anthropic_checks.py").run(check)
