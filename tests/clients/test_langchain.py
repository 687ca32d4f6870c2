"""LangChain's ChatOpenAI."""

from __future__ import annotations

import pytest

from tests.clients.checks import check_names

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", check_names("langchain_checks"))
def test_langchain(client_of, check):
    client_of("langchain", "langchain_checks").run(check)
