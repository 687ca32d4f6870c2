"""
What a release needs to know of its version; used by .github/workflows/release.yml. Standard library only.

    python deploy/release.py check 2026.11.0            exits 1 if package, chart or changelog have another version
    python deploy/release.py notes 2026.11.0            prints the changelog of that version
    python deploy/release.py chart 2026.11.0 IMAGE      writes version and image into the chart, to package it
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHART = ROOT / "helm" / "gptmock"
_VERSION = re.compile(r"\d{4}\.\d{1,2}\.\d+")


class NotReleasable(Exception):
    """The version is not what the files say; the message tells where."""


def check(version: str) -> None:
    """
    Compare all versions with that of the tag.

    Raises:
        NotReleasable: one differs, or the changelog has nothing on it.
    """
    if not _VERSION.fullmatch(version):
        raise NotReleasable(f"{version}: a version is YEAR.MONTH.NUMBER")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package = re.search(r'__version__ = "(.+?)"', (ROOT / "gptmock" / "__init__.py").read_text("utf-8"))
    chart = re.search(r'appVersion: "(.+?)"', (CHART / "Chart.yaml").read_text("utf-8"))
    said = {
        "pyproject.toml": project["version"],
        "gptmock/__init__.py": package[1] if package else "",
        "Chart.yaml (appVersion)": chart[1] if chart else "",
    }
    for where, found in said.items():
        if found != version:
            raise NotReleasable(f"{where} says {found}, the tag says {version}")
    notes(version)


def notes(version: str) -> str:
    """
    The section of the changelog on a version, without its heading.

    Raises:
        NotReleasable: there is none, or nothing is in it.
    """
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    for section in sections[1:]:
        heading, _, text = section.partition("\n")
        if heading.split(" ")[0].strip("[]") == version and text.strip():
            return text.strip() + "\n"
    raise NotReleasable(f"CHANGELOG.md has no section '## {version}', or it is empty")


def chart(version: str, image: str) -> None:
    """Write the address of the image into the chart's values, and the version as SemVer into the chart."""
    values, described = CHART / "values.yaml", CHART / "Chart.yaml"
    text, count = re.subn(r"(?m)^  repository: gptmock$", f"  repository: {image}", values.read_text("utf-8"))
    if count != 1:
        raise NotReleasable("values.yaml: image.repository is not where it was")
    values.write_text(text, "utf-8")
    text, count = re.subn(r"(?m)^version: .+$", f"version: {version}", described.read_text("utf-8"))
    if count != 1:
        raise NotReleasable("Chart.yaml: version is not where it was")
    described.write_text(text, "utf-8")


def main(words: list[str]) -> int:
    """Do what the first word says."""
    try:
        match words:
            case ["check", version]:
                check(version)
            case ["notes", version]:
                sys.stdout.write(notes(version))
            case ["chart", version, image]:
                chart(version, image)
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except NotReleasable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
