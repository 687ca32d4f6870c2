"""An older LangChain over OpenAI's APIs: it takes more kinds of silence for success."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("langchain_checks.py"))
def test_langchain_old(client_of, check):
    client_of("openai2", "langchain_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("langchain_other_routes_checks.py"))
def test_langchain_old_at_other_routes(client_of, check):
    client_of("openai2", "langchain_other_routes_checks.py").run(check)
