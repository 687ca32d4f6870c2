from __future__ import annotations

import pytest

from gptmock.protocol.codex_version import (
    MAX_NEWER_MINORS,
    OWN_VERSION,
    is_newer,
    is_plausible,
    release_numbers,
)

OWN = release_numbers(OWN_VERSION)
assert OWN is not None
HIGHEST = f"{OWN[0]}.{OWN[1] + MAX_NEWER_MINORS}.9999"


@pytest.mark.parametrize("version", [OWN_VERSION, "0.0.0", "0.98.0", "0.172.0", "0.172.17", HIGHEST])
def test_plausible_versions(version: str):
    assert is_plausible(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "1.0.0",
        "999.0.0",
        f"{OWN[0]}.{OWN[1] + MAX_NEWER_MINORS + 1}.0",
        "0.172.10000",
        "0.99999999999999999999.0",
        "0.172",
        "0.172.0.1",
        "0.172.0-alpha.1",
        "0.172.0+1",
        "v0.172.0",
        " 0.172.0",
        "0.172.0\n",
        "0.0172.0",
        "-0.172.0",
        "0.1_7.0",
        "0.1\uff172.0",
        "\u0660.172.0",
    ],
)
def test_nonsense(version: str):
    assert not is_plausible(version)


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        ("0.172.0", "0.171.9", True),
        ("0.100.0", "0.99.0", True),
        ("1.0.0", "0.999.0", True),
        ("0.171.0", "0.171.0", False),
        ("0.9.0", "0.10.0", False),
        ("nonsense", "0.0.0", False),
        ("0.0.0", "nonsense", True),
    ],
)
def test_which_is_newer(version: str, other: str, expected: bool):  # noqa: FBT001
    assert is_newer(version, other) is expected
