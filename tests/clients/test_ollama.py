"""The ollama library for Python."""

from __future__ import annotations

import pytest

from tests.clients.checks import checks_of

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("check", checks_of("ollama_checks.py"))
def test_ollama(client_of, check):
    client_of("ollama", "ollama_checks.py").run(check)
