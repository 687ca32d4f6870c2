"""
``auth.json``: the format of Codex CLI, ChatMock and GPTMock, as a token vault. Must not know when tokens are renewed.

    {"tokens": {"id_token", "access_token", "refresh_token", "account_id"}, "last_refresh": "...Z", ...}

Members that are not ours are kept. A refused refresh token is remembered by its fingerprint under ``gptmock``, so that
no worker spends it again; a new login replaces the tokens and thereby the mark.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from gptmock.accounts import SIGN_IN_HINT, IssuedTokens, Secret, TokenSet, account_of, expiry_of
from gptmock.errors import LockBusy, NotLoggedIn, StoreUnavailable

FILE_NAME = "auth.json"
_NOBODY = f"No ChatGPT account is signed in. {SIGN_IN_HINT}"
_OWN_MEMBER = "gptmock"


class AuthFileVault:
    """One account's tokens in one file; reads are answered from memory while the file has not changed."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self._stamp: tuple[int, ...] | None = None
        self._tokens: TokenSet | None = None

    async def load(self) -> TokenSet:
        """See ``TokenVault.load``. One ``stat`` when nothing changed."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            raise NotLoggedIn(_NOBODY) from None
        except OSError as error:
            raise _unavailable("read", error) from error
        # The change time too: tools that copy a file in place set the modification time back.
        stamp = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
        if self._tokens is None or stamp != self._stamp:
            self._tokens = _tokens(self._document())
            self._stamp = stamp
        return self._tokens

    async def save(self, replaced: TokenSet, issued: IssuedTokens, *, now: float) -> TokenSet:
        """See ``TokenVault.save``. On the disk before it returns."""
        document = self._document()
        if _tokens(document).version != replaced.version:
            # Somebody logged in while the refresh ran: the newer login wins.
            return await self.load()
        members: dict[str, Any] = document["tokens"]
        for name, token in (
            ("id_token", issued.id_token),
            ("access_token", issued.access_token),
            ("refresh_token", issued.refresh_token),
        ):
            if token is not None:
                members[name] = token.reveal()
        document["last_refresh"] = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        await self._write(document)
        return await self.load()

    async def reject(self, refused: TokenSet, *, reason: str) -> None:
        """See ``TokenVault.reject``."""
        document = self._document()
        if refused.refresh_token is None or _version(document["tokens"]) != refused.version:
            return
        document[_OWN_MEMBER] = {"refused_refresh_token": refused.refresh_token.fingerprint(), "reason": reason}
        await self._write(document)

    def _document(self) -> dict[str, Any]:
        try:
            document = msgspec.json.decode(self.path.read_bytes())
        except FileNotFoundError:
            raise NotLoggedIn(_NOBODY) from None
        except OSError as error:
            raise _unavailable("read", error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{FILE_NAME} is not valid JSON. {SIGN_IN_HINT}") from error
        if not isinstance(document, dict) or not isinstance(document.get("tokens"), dict):
            # An API-key login of Codex looks like this.
            raise NotLoggedIn(f"{FILE_NAME} holds no ChatGPT login. {SIGN_IN_HINT}")
        return document

    async def _write(self, document: dict[str, Any]) -> None:
        data = msgspec.json.format(msgspec.json.encode(document), indent=2)
        try:
            await asyncio.shield(asyncio.to_thread(write_private, self.path, data))
        except OSError as error:
            raise _unavailable("written", error) from error


class AuthFileLock:
    """
    The refresh lock of one machine, beside the file; the kernel frees it when its holder dies.

    Args:
        home: the folder of ``auth.json``.
        wait_seconds: how long to wait for another holder; longer than one exchange may take.
    """

    def __init__(self, home: Path, *, wait_seconds: float = 30.0) -> None:
        self._path = home / f"{FILE_NAME}.lock"
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """See ``RefreshLock.hold``."""
        lock = FileLock(self._path, timeout=0, thread_local=False, mode=0o600)
        await self._acquire(lock)
        try:
            yield
        finally:
            lock.release()

    async def _acquire(self, lock: FileLock) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_seconds
        pause = 0.01
        while True:
            try:
                lock.acquire()
            except Timeout:
                if loop.time() >= deadline:
                    raise LockBusy(
                        "Another worker is refreshing the login and does not finish.", retry_after_seconds=5.0
                    ) from None
            except OSError as error:
                raise _unavailable("locked", error) from error
            else:
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the waiters
            pause = min(pause * 2, 0.25)


def write_private(path: Path, data: bytes) -> None:
    """
    Replace a file as a whole: mode 0600 from its first byte, on the disk before the name points to it.

    Raises:
        OSError: nothing was replaced.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # The rename itself has to survive a power cut.
        os.fsync(folder)
    finally:
        os.close(folder)


def _tokens(document: dict[str, Any]) -> TokenSet:
    members = document["tokens"]
    access, refresh, identity = (_secret(members, name) for name in ("access_token", "refresh_token", "id_token"))
    if access is None:
        raise NotLoggedIn(_NOBODY)
    known = members.get("account_id")
    account = account_of(
        IssuedTokens(access, refresh, identity), known_workspace=known if isinstance(known, str) and known else None
    )
    if account is None:
        raise NotLoggedIn(f"{FILE_NAME} does not say which account it is for. {SIGN_IN_HINT}")
    mark = document.get(_OWN_MEMBER)
    if isinstance(mark, dict) and refresh is not None and mark.get("refused_refresh_token") == refresh.fingerprint():
        # The access token is used to its end; there is nothing left to renew it with.
        refresh = None
    return TokenSet(
        account=account,
        access_token=access,
        refresh_token=refresh,
        id_token=identity,
        version=_version(members),
        expires_at=expiry_of(access),
        last_refresh=_time(document.get("last_refresh")),
    )


def _version(members: dict[str, Any]) -> str:
    text = "\0".join(str(members.get(name) or "") for name in ("access_token", "refresh_token"))
    return hashlib.sha256(text.encode()).hexdigest()


def _secret(members: dict[str, Any], name: str) -> Secret | None:
    value = members.get(name)
    return Secret(value) if isinstance(value, str) and value else None


def _time(value: object) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except ValueError:
        return None


def _unavailable(done: str, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{FILE_NAME} could not be {done} ({error.strerror or type(error).__name__}).", retry_after_seconds=5.0
    )
