"""pydantic-ai, the strictest reader of the four."""

from __future__ import annotations

import pytest

from tests.clients.checks import check_names

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", check_names("pydantic_ai_checks"))
def test_pydantic_ai(client_of, check):
    client_of("pydantic_ai", "pydantic_ai_checks").run(check)
