from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gptmock.errors import StoreUnavailable
from gptmock.stores.escrow import FileEscrow
from gptmock.stores.seal import Sealer, SealingKey
from tests.stores.logins import ADA, BOB, NEW, OLD, name_of, tokens

PUTTER = """
import asyncio, os, sys
from pathlib import Path
from gptmock.stores.escrow import FileEscrow
from gptmock.stores.seal import Sealer
from tests.stores.logins import OLD, tokens

asyncio.run(FileEscrow(Path(sys.argv[1]), Sealer([OLD])).put(tokens("left", version=7)))
os._exit(9)
"""


def escrow_in(home: Path, *keys: SealingKey) -> FileEscrow:
    return FileEscrow(home, Sealer(keys or (OLD,)))


def kept_in(home: Path) -> list[Path]:
    folder = home / "escrow"
    return sorted(folder.iterdir()) if folder.exists() else []


async def test_what_is_put_is_found_by_every_process_of_the_machine(tmp_path: Path):
    assert await escrow_in(tmp_path).find(ADA.id) is None
    await escrow_in(tmp_path).put(tokens("1", version=5))
    assert await escrow_in(tmp_path).find(ADA.id) == tokens("1", version=5)
    assert await escrow_in(tmp_path).find(BOB.id) is None


async def test_what_a_killed_process_has_put_is_found(tmp_path: Path):
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", PUTTER, str(tmp_path)], check=False)
    assert killed.returncode == 9
    found = await escrow_in(tmp_path).find(ADA.id)
    assert found is not None
    assert name_of(found) == "left"


async def test_the_newest_is_found_and_newer_ones_are_not_dropped(tmp_path: Path):
    escrow = escrow_in(tmp_path)
    for version in (9, 10, 8):
        await escrow.put(tokens(str(version), version=version))
    await escrow.put(tokens("bob", BOB, version=1))
    assert await escrow.find(ADA.id) == tokens("10", version=10)
    await escrow.drop(ADA.id, up_to_version=9)
    assert await escrow.find(ADA.id) == tokens("10", version=10)
    await escrow.drop(ADA.id, up_to_version=10)
    assert await escrow.find(ADA.id) is None
    assert await escrow.find(BOB.id) == tokens("bob", BOB, version=1)
    await escrow.drop(ADA.id, up_to_version=10)


async def test_what_rests_is_sealed_and_private(tmp_path: Path):
    await escrow_in(tmp_path / "home").put(tokens("1", version=5))
    (path,) = kept_in(tmp_path / "home")
    assert b"planted" not in path.read_bytes()
    assert b"ada@" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "moved", "renumbered", "foreign"])
async def test_what_does_not_open_is_passed_by_and_left(tmp_path: Path, damage: str):
    escrow = escrow_in(tmp_path)
    await escrow.put(tokens("1", version=5))
    if damage == "foreign":
        await escrow_in(tmp_path, NEW).put(tokens("2", version=6))
        damaged = tmp_path / "escrow" / f"{ADA.id}.6"
    else:
        await escrow.put(tokens("2", BOB if damage == "moved" else ADA, version=6))
        damaged = tmp_path / "escrow" / f"{ADA.id}.6"
        if damage == "moved":
            (tmp_path / "escrow" / f"{BOB.id}.6").rename(damaged)
        data = damaged.read_bytes()
        changed = {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:40], "empty": b""}
        renumbered = (7).to_bytes(8, "big") + data[8:]
        damaged.write_bytes(renumbered if damage == "renumbered" else changed.get(damage, data))
    assert await escrow.find(ADA.id) == tokens("1", version=5)
    assert damaged.exists()


async def test_files_of_others_are_no_obstacle(tmp_path: Path):
    escrow = escrow_in(tmp_path)
    await escrow.put(tokens("1", version=5))
    for name in (f"{ADA.id}.x", f"{ADA.id}.", f".{ADA.id}.6.half"):
        (tmp_path / "escrow" / name).write_bytes(b"something")
    (tmp_path / "escrow" / f"{ADA.id}.9").mkdir()
    assert await escrow.find(ADA.id) == tokens("1", version=5)
    await escrow.drop(ADA.id, up_to_version=9)
    assert await escrow.find(ADA.id) is None


async def test_a_ring_reads_what_its_older_key_has_sealed(tmp_path: Path):
    await escrow_in(tmp_path, OLD).put(tokens("1", version=5))
    assert await escrow_in(tmp_path, NEW, OLD).find(ADA.id) == tokens("1", version=5)
    assert await escrow_in(tmp_path, NEW).find(ADA.id) is None


async def test_what_an_older_key_has_sealed_is_sealed_anew(tmp_path: Path):
    await escrow_in(tmp_path, OLD).put(tokens("1", version=5))
    await escrow_in(tmp_path, OLD).put(tokens("bob", BOB, version=6))
    await escrow_in(tmp_path, NEW).put(tokens("2", version=7))
    assert await escrow_in(tmp_path, NEW).reseal() == 0, "nothing opens that it could seal"
    assert await escrow_in(tmp_path, NEW, OLD).reseal() == 2
    assert await escrow_in(tmp_path, NEW, OLD).reseal() == 0
    assert await escrow_in(tmp_path, NEW).find(BOB.id) == tokens("bob", BOB, version=6)
    assert len(kept_in(tmp_path)) == 3
    assert {path.stat().st_mode & 0o777 for path in kept_in(tmp_path)} == {0o600}
    await escrow_in(tmp_path, NEW).drop(ADA.id, up_to_version=6)
    assert await escrow_in(tmp_path, NEW).find(ADA.id) == tokens("2", version=7)


async def test_there_may_be_nothing_to_seal_anew(tmp_path: Path):
    assert await escrow_in(tmp_path / "none").reseal() == 0
    (tmp_path / "escrow").mkdir()
    for name in ("x.5", f"{ADA.id}.y"):
        (tmp_path / "escrow" / name).write_bytes(b"something")
    (tmp_path / "escrow" / f"{ADA.id}.9").mkdir()
    assert await escrow_in(tmp_path, NEW, OLD).reseal() == 0


async def test_what_was_dropped_meanwhile_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    await escrow_in(tmp_path, OLD).put(tokens("1", version=5))
    (path,) = kept_in(tmp_path)
    sealing = os.fsync

    def dropped(descriptor: int) -> None:
        path.unlink(missing_ok=True)
        sealing(descriptor)

    monkeypatch.setattr(os, "fsync", dropped)
    assert await escrow_in(tmp_path, NEW, OLD).reseal() == 0
    assert kept_in(tmp_path) == []


async def test_the_same_version_again_replaces(tmp_path: Path):
    escrow = escrow_in(tmp_path)
    await escrow.put(tokens("1", version=5))
    await escrow.put(replace(tokens("2"), version=5))
    found = await escrow.find(ADA.id)
    assert found is not None
    assert name_of(found) == "2"
    assert len(kept_in(tmp_path)) == 1


async def test_a_home_that_cannot_be_written_is_said_and_harms_nobody(tmp_path: Path):
    (tmp_path / "file").write_text("")
    escrow = escrow_in(tmp_path / "file")
    with pytest.raises(StoreUnavailable, match="escrow could not be written") as caught:
        await escrow.put(tokens("1", version=5))
    assert str(tmp_path) not in caught.value.message
    assert await escrow.find(ADA.id) is None
    await escrow.drop(ADA.id, up_to_version=9)
