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

from gptmock.server.temporary_folder import LOCK_FILE, PREFIX, clear_left_folders

OWNER = """
import multiprocessing, multiprocessing.util, sys
from gptmock.server.temporary_folder import use_own_folder

if __name__ == "__main__":
    print(use_own_folder(), multiprocessing.util.get_temp_dir(), flush=True)
    if sys.argv[1] == "child":
        with multiprocessing.get_context(sys.argv[2]).Manager() as manager:
            print(manager.address, flush=True)
            sys.stdin.readline()
    else:
        sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory with a short path, since socket paths are limited to about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="gm-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@contextmanager
def owner(temporary: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a folder of its own, and the folder."""
    script = temporary / "owner.py"
    script.write_text(OWNER)
    with subprocess.Popen(
        [sys.executable, str(script), *(arguments or ("alone",))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        folder, used = process.stdout.readline().split()
        assert folder == used
        yield process, Path(folder)
        process.kill()


def test_a_living_owners_folder_stays(temporary: Path):
    with owner(temporary) as (_, folder):
        assert folder.parent == temporary
        assert clear_left_folders() == []
        assert folder.is_dir()


def test_a_killed_owners_folder_goes_and_no_others(temporary: Path):
    with owner(temporary) as (killed, left), owner(temporary) as (_, living):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        assert clear_left_folders() == [left]
        assert (left.exists(), living.is_dir()) == (False, True)


def test_who_ends_by_itself_takes_its_folder_along(temporary: Path):
    with owner(temporary) as (process, folder):
        assert folder.is_dir()
        process.communicate("\n")
        assert process.returncode == 0
        assert not folder.exists()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_that_it_starts_have_their_sockets_there(temporary: Path, method: str):
    with owner(temporary, "child", method) as (process, folder):
        assert process.stdout is not None
        assert Path(process.stdout.readline().strip()).parent == folder
        process.communicate("\n")
        assert process.returncode == 0
        assert not folder.exists()


def test_what_is_not_surely_a_left_folder_is_left_alone(temporary: Path):
    unlocked = temporary / f"{PREFIX}unlocked"
    unlocked.mkdir()
    file = temporary / f"{PREFIX}file"
    file.touch()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK_FILE).touch()
    linked = temporary / f"{PREFIX}linked"
    linked.symlink_to(elsewhere)
    trap = temporary / f"{PREFIX}trap"
    trap.mkdir()
    (trap / LOCK_FILE).symlink_to(file)
    other = temporary / "pymp-planted"
    other.mkdir()
    assert clear_left_folders() == []
    for path in (unlocked, file, linked, trap, other, elsewhere / LOCK_FILE):
        assert path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(temporary: Path):
    theirs = temporary / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / LOCK_FILE).touch()
    os.chown(theirs, 12345, 12345)
    assert clear_left_folders() == []
    assert theirs.is_dir()


def test_a_directory_too_long_for_sockets_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    long = temporary / ("d" * 80)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with owner(temporary, "child", "spawn") as (process, folder):
        assert folder.parent == Path("/tmp")  # noqa: S108 - the short directory of the program
        assert process.stdout is not None
        assert process.stdout.readline().startswith(str(folder))
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)
    assert not folder.exists()
