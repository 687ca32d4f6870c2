"""Programs of the system that some deploy tests start for real; CI installs them (.ci/run)."""

from __future__ import annotations

import shutil

import pytest


def need(program: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    found = shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found
