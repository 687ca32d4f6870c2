"""The openai library, third generation (httpx2)."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("openai_checks.py"))
def test_openai3(client_of, check):
    client_of("openai3", "openai_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("openai_responses_checks.py"))
def test_responses(client_of, check):
    client_of("openai3", "openai_responses_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("openai_completions_checks.py"))
def test_completions(client_of, check):
    client_of("openai3", "openai_completions_checks.py").run(check)


@pytest.mark.parametrize("check", checks_of("openai_socket_checks.py"))
def test_socket(client_of, check):
    client_of("openai3", "openai_socket_checks.py").run(check)
