"""The openai library, first generation: what most pinned projects still use."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("openai_checks.py"))
def test_openai1(client_of, check):
    client_of("openai1", "openai_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("openai_responses_checks.py"))
def test_responses(client_of, check):
    client_of("openai1", "openai_responses_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("openai_completions_checks.py"))
def test_completions(client_of, check):
    client_of("openai1", "openai_completions_checks.py").run(check)
