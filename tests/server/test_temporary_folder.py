from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptmock.server.temporary_folder import DEMO_PREFIX, LOCK_FILE, SERVER_PREFIX, claimed_folder, clear_left_folders
from tests.harness import wait_until

DEMO = """
import subprocess, sys, time
from gptmock.server.temporary_folder import DEMO_PREFIX, claimed_folder

with claimed_folder(DEMO_PREFIX) as folder:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[folder.lock])
    print(folder.path, child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gm-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@contextmanager
def demo(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """A process that has a folder, the folder, and a process that it has started."""
    script = temporary / "demo.py"
    script.write_text(DEMO)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        folder, child = process.stdout.readline().split()
        try:
            yield process, Path(folder), int(child)
        finally:
            process.kill()
            os.kill(int(child), signal.SIGKILL)


def test_a_killed_demos_folder_goes_when_nobody_holds_its_lock_any_more(temporary: Path):
    with demo(temporary) as (process, folder, _):
        assert clear_left_folders() == [], "it lives"
        process.kill()
        process.wait()
        assert clear_left_folders() == [], "a process that it has started lives"
    wait_until(lambda: clear_left_folders() == [folder], seconds=5)
    assert not folder.exists()


def test_the_next_demo_removes_what_was_left(temporary: Path):
    with demo(temporary) as (_, left, _), claimed_folder(SERVER_PREFIX):
        assert left.is_dir()

    def is_gone() -> bool:
        with claimed_folder(SERVER_PREFIX):
            return not left.exists()

    wait_until(is_gone, seconds=5)


def test_a_demos_folder_goes_with_it(temporary: Path):
    with claimed_folder(DEMO_PREFIX) as folder:
        assert folder.path.parent == temporary
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert clear_left_folders() == []
    assert not folder.path.exists()


def test_what_is_not_surely_a_left_folder_is_left_alone(temporary: Path):
    unlocked = temporary / f"{SERVER_PREFIX}unlocked"
    unlocked.mkdir()
    file = temporary / f"{SERVER_PREFIX}file"
    file.touch()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK_FILE).touch()
    linked = temporary / f"{SERVER_PREFIX}linked"
    linked.symlink_to(elsewhere)
    trap = temporary / f"{SERVER_PREFIX}trap"
    trap.mkdir()
    (trap / LOCK_FILE).symlink_to(file)
    assert clear_left_folders() == []
    for path in (unlocked, file, linked, trap, elsewhere / LOCK_FILE):
        assert path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(temporary: Path):
    theirs = temporary / f"{SERVER_PREFIX}theirs"
    theirs.mkdir()
    (theirs / LOCK_FILE).touch()
    os.chown(theirs, 12345, 12345)
    assert clear_left_folders() == []
    assert theirs.is_dir()
