"""
Reads and writes ``auth.json``, the login file of Codex CLI, ChatMock and GPTMock. Knows no store.

    {"tokens": {"id_token", "access_token", "refresh_token", "account_id"}, "last_refresh": "...Z", ...}
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gptmock.accounts import SIGN_IN_HINT, IssuedTokens, Secret, TokenSet, account_of, expiry_of
from gptmock.errors import NotLoggedIn, StoreUnavailable

FILE_NAME = "auth.json"


def read_login(path: Path) -> TokenSet | None:
    """
    The tokens in a file, with version 0 since no vault holds them yet; ``None`` when there is no file.

    Raises:
        NotLoggedIn: the file holds no ChatGPT login, or its tokens name no account.
        StoreUnavailable: it cannot be read, or is not JSON.
    """
    try:
        document = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path.name} could not be read ({error.strerror or type(error).__name__}).") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"{path.name} is not valid JSON. {SIGN_IN_HINT}") from error
    if not isinstance(document, dict) or not isinstance(document.get("tokens"), dict):
        # An API-key login of Codex looks like this.
        raise NotLoggedIn(f"{path.name} holds no ChatGPT login. {SIGN_IN_HINT}")
    return _tokens(document, path)


def write_login(path: Path, tokens: TokenSet) -> None:
    """
    Write a login in Codex CLI's format, mode 0600.

    Raises:
        OSError: nothing was written.
    """
    moment = tokens.last_refresh
    document = {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {
            "id_token": tokens.id_token.reveal() if tokens.id_token is not None else None,
            "access_token": tokens.access_token.reveal(),
            "refresh_token": tokens.refresh_token.reveal() if tokens.refresh_token is not None else None,
            "account_id": tokens.account.workspace_id,
        },
        "last_refresh": None
        if moment is None
        else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z"),
    }
    write_private(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def write_private(path: Path, data: bytes) -> None:
    """
    Create or replace a file atomically: mode 0600 from its first byte, fsynced before it is renamed to ``path``.

    Raises:
        OSError: nothing was written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(path, data, lambda temporary: temporary.replace(path))


def replace_private(path: Path, data: bytes) -> None:
    """
    As ``write_private``, but only for a file that exists.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: nothing was replaced.
    """

    def swap(temporary: Path) -> None:
        path.stat()
        temporary.replace(path)

    _write(path, data, swap)


def _write(path: Path, data: bytes, put: Callable[[Path], object]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put(Path(temporary))
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # The directory too, so that the rename survives a power cut.
        os.fsync(folder)
    finally:
        os.close(folder)


def _tokens(document: dict[str, Any], path: Path) -> TokenSet:
    members = document["tokens"]
    access, refresh, identity = (_secret(members, name) for name in ("access_token", "refresh_token", "id_token"))
    if access is None:
        raise NotLoggedIn(f"{path.name} holds no ChatGPT login. {SIGN_IN_HINT}")
    known = members.get("account_id")
    account = account_of(
        IssuedTokens(access, refresh, identity), known_workspace=known if isinstance(known, str) and known else None
    )
    if account is None:
        raise NotLoggedIn(f"{path.name} does not say which account it is for. {SIGN_IN_HINT}")
    return TokenSet(
        account=account,
        access_token=access,
        refresh_token=refresh,
        id_token=identity,
        version=0,
        expires_at=expiry_of(access),
        last_refresh=_time(document.get("last_refresh")),
    )


def _secret(members: dict[str, Any], name: str) -> Secret | None:
    value = members.get(name)
    return Secret(value) if isinstance(value, str) and value else None


def _time(value: object) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except ValueError:
        return None
