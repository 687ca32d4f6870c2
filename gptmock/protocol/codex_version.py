"""
The version of the Codex protocol: the one this program was tested with, and those of other clients that it adopts.
Pure; knows no store and no request.

A protocol version is the release of Codex that speaks it. The backend neither lists nor serves a model whose
``minimal_client_version`` is higher than the version it is asked with.
"""

from __future__ import annotations

import re

OWN_VERSION = "0.171.0"
"""The newest release of Codex that this program was tested with: the lowest version that it asks with by itself."""
MAX_NEWER_MINORS = 200
"""
How far the minor number of an adopted version may be above that of ``OWN_VERSION``. Codex publishes about six minor
versions a month, so this is more than two years; a program that old has to be updated anyway.
"""
_RELEASE = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
"""No pre-release, no build, no leading zeros, at most four digits each."""


def release_numbers(version: str) -> tuple[int, int, int] | None:
    """``0.171.0`` as numbers; ``None`` for everything that is not exactly three small numbers."""
    found = _RELEASE.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def is_plausible(version: str) -> bool:
    """
    Whether a version that a client claims may be adopted: a release with the major number of ``OWN_VERSION``, and at
    most ``MAX_NEWER_MINORS`` minor versions newer. An older one is plausible too.
    """
    numbers, own = release_numbers(version), release_numbers(OWN_VERSION)
    return numbers is not None and own is not None and numbers[0] == own[0] and numbers[1] <= own[1] + MAX_NEWER_MINORS


def is_newer(version: str, other: str) -> bool:
    """Whether a release is newer than another; what is no release is older than all."""
    return (release_numbers(version) or ()) > (release_numbers(other) or ())
