"""The openai library, first generation: what most pinned projects still use."""

from __future__ import annotations

import pytest

from tests.clients.checks import check_names

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", check_names("openai_checks"))
def test_openai1(client_of, check):
    client_of("openai1", "openai_checks").run(check)
