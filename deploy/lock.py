"""
Makes ``deploy/requirements.lock``, what the image installs: the part of ``requirements.lock`` that the server needs,
and ``tokens.lock``, the extra ``tokens``, which the environment of the tests does not have.

    python deploy/lock.py            writes it
    python deploy/lock.py --check    exits 1 if it is not in step

Runs in the environment that ``requirements.lock`` was installed into: the packages there say what they need.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "deploy" / "requirements.lock"
SOURCES = (ROOT / "requirements.lock", ROOT / "deploy" / "tokens.lock")
_ENTRY = re.compile(r"^(?P<name>[a-z0-9._-]+)==[^\n]* \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)
_OLDEST = {"extra": "", "python_version": "3.11", "python_full_version": "3.11.0"}
"""What the oldest Python needs is there for all: the entries have markers of their own."""
_HEAD = "# The part of ../requirements.lock that the server needs, and tokens.lock. Made by deploy/lock.py\n"


def needed() -> set[str]:
    """The names of all packages that gptmock needs here, without itself."""
    found: set[str] = set()
    waiting = ["gptmock"]
    while waiting:
        for text in _requires(waiting.pop()):
            requirement = Requirement(text)
            other = canonicalize_name(requirement.name)
            # Extras are not followed: the server's own requirements name none.
            if other not in found and (not requirement.marker or requirement.marker.evaluate(_OLDEST)):
                found.add(other)
                waiting.append(other)
    return found


def _requires(name: str) -> list[str]:
    if name == "gptmock":
        # As it is now, not as it was when it was installed.
        project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return [*project["dependencies"], *project["optional-dependencies"]["tokens"]]
    try:
        return requires(name) or []
    except PackageNotFoundError:
        # Not installed, as this Python does not need it; what those few need is nothing.
        return []


def document() -> str:
    """What the file should have."""
    entries = {entry["name"]: entry[0] for path in SOURCES for entry in _ENTRY.finditer(path.read_text("utf-8"))}
    names = needed()
    missing = names - entries.keys()
    if missing:
        raise PackageNotFoundError(f"not in requirements.lock or deploy/tokens.lock: {sorted(missing)}")
    return _HEAD + "".join(entries[name] for name in sorted(names))


def main() -> int:
    """Write the file, or say that it is not in step."""
    if sys.argv[1:] == ["--check"]:
        if LOCK.read_text("utf-8") == document():
            return 0
        sys.stderr.write("deploy/requirements.lock: run python deploy/lock.py\n")
        return 1
    LOCK.write_text(document(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
