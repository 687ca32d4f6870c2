"""
The token escrow: encrypted, fsynced files on this machine that hold rotated tokens from the issuer's answer until the
store has them. If the process dies in between, the next refresh finds the tokens here. Knows files and encryption.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from gptmock.accounts import TokenSet
from gptmock.errors import SealBroken, StoreUnavailable
from gptmock.stores.auth_file import replace_private, write_private
from gptmock.stores.seal import Sealer
from gptmock.stores.token_bytes import VERSION_BYTES, decode_sealed, encode_sealed

log = logging.getLogger("gptmock.account")

_KIND = "escrow"


class FileEscrow:
    """``Escrow`` in a folder of the home: one file for each account and version."""

    def __init__(self, home: Path, sealer: Sealer) -> None:
        self._folder = home / _KIND
        self._sealer = sealer

    async def put(self, tokens: TokenSet) -> None:
        """See ``Escrow.put``."""
        path = self._folder / f"{tokens.account.id}.{tokens.version}"
        data = encode_sealed(tokens, self._sealer, kind=_KIND)
        try:
            await asyncio.to_thread(write_private, path, data)
        except OSError as error:
            raise StoreUnavailable(f"The escrow could not be written ({error.strerror}).") from error

    async def find(self, account_id: str) -> TokenSet | None:
        """See ``Escrow.find``."""
        return await asyncio.to_thread(self._newest, account_id)

    async def drop(self, account_id: str, *, up_to_version: int) -> None:
        """See ``Escrow.drop``."""
        await asyncio.to_thread(self._remove, account_id, up_to_version)

    async def reseal(self) -> int:
        """Seal anew, by the first key of the ring, what an older one has sealed. Returns how many files were."""
        return await asyncio.to_thread(self._reseal)

    def _reseal(self) -> int:
        count = 0
        for _, path in self._kept("*"):
            account_id = path.stem
            with suppress(SealBroken, OSError):
                # Files that cannot be decrypted or were dropped meanwhile are skipped; ``find`` logs the former.
                data = path.read_bytes()
                if not self._sealer.is_current(data[VERSION_BYTES:]):
                    tokens = decode_sealed(data, account_id, self._sealer, kind=_KIND)
                    replace_private(path, encode_sealed(tokens, self._sealer, kind=_KIND))
                    count += 1
        return count

    def _newest(self, account_id: str) -> TokenSet | None:
        for _, path in sorted(self._kept(account_id), reverse=True):
            try:
                return decode_sealed(path.read_bytes(), account_id, self._sealer, kind=_KIND)
            except FileNotFoundError:
                continue
            except (SealBroken, OSError):
                log.warning("account.escrow_unreadable", extra={"account": account_id})
        return None

    def _remove(self, account_id: str, up_to_version: int) -> None:
        for version, path in self._kept(account_id):
            if version <= up_to_version:
                with suppress(OSError):
                    path.unlink()

    def _kept(self, account_id: str) -> list[tuple[int, Path]]:
        if not self._folder.is_dir():
            return []
        found = []
        for path in self._folder.glob(f"{account_id}.*"):
            with suppress(ValueError):
                found.append((int(path.suffix[1:]), path))
        return found
