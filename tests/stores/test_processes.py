"""Several processes on one store, like the workers of a server."""

from __future__ import annotations

from pathlib import Path

from gptmock.stores.store import Record
from tests.stores.conftest import Place
from tests.stores.processes import run_together

WORKERS = 3


async def test_no_increment_of_any_process_is_lost(shared_place: Place):
    run_together(WORKERS, str(shared_place.address), "increment", "n", 50)
    assert await shared_place.open().read("n") == Record(150, b"150")


def test_a_lease_lets_one_process_in(shared_place: Place, tmp_path: Path):
    file = tmp_path / "number"
    file.write_text("0")
    run_together(WORKERS, str(shared_place.address), "exclude", "l", file, 20)
    assert file.read_text() == "60"


async def test_slots_are_never_exceeded_by_processes(shared_place: Place):
    most = run_together(WORKERS, str(shared_place.address), "visit", "s", 2, 50)
    assert max(map(int, most)) <= 2
    assert await shared_place.open().slots_taken("s") == 0


def test_processes_may_open_a_new_place_together(shared_place: Place):
    run_together(WORKERS, str(shared_place.address), "open")
