"""The openai library, third generation (httpx2)."""

from __future__ import annotations

import pytest

from tests.clients.checks import check_names

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", check_names("openai_checks"))
def test_openai3(client_of, check):
    client_of("openai3", "openai_checks").run(check)
