"""LangChain over Ollama's API."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("langchain_ollama_checks.py"))
def test_langchain_ollama(client_of, check):
    client_of("langchain", "langchain_ollama_checks.py").run(check)
