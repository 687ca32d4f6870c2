"""The certificate of the server, loaded again when its files change. Connections that are open keep theirs."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import TypeAlias

log = logging.getLogger("gptmock.server")

LOOK_SECONDS = 1.0
_State: TypeAlias = tuple[tuple[int, int, int], ...]


class UnusableCertificate(Exception):
    """The files are missing, malformed, or no pair; the message says which and why."""


class Certificate:
    """
    A certificate and its key, in PEM files.

    Args:
        chain: the certificate, and those between it and the authority.
        key: its private key, without a passphrase.

    Raises:
        UnusableCertificate: they cannot be used.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self._seen = self._state()
        self.context = _context(chain, key)

    async def follow(self) -> None:
        """Look at the files now and then; new handshakes use what is in them. A pair that is half written waits."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            state = await asyncio.to_thread(self._state)
            if state != self._seen:
                self._seen = state
                await asyncio.to_thread(self._load_again)

    def _load_again(self) -> None:
        try:
            # First elsewhere: a pair that does not match would spoil the context in use.
            _context(self._chain, self._key)
            self.context.load_cert_chain(self._chain, self._key, password=_no_passphrase)
        except (UnusableCertificate, OSError, ValueError) as error:
            log.error("tls.reload_failed", extra={"reason": str(error)})  # noqa: TRY400 - the reason is enough
        else:
            log.info("tls.reloaded", extra={"file": str(self._chain)})

    def _state(self) -> _State:
        return tuple(_state_of(path) for path in (self._chain, self._key))


def _state_of(path: Path) -> tuple[int, int, int]:
    try:
        about = path.stat()
    except OSError:
        return 0, 0, 0
    return about.st_mtime_ns, about.st_ino, about.st_size


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    for path, name in ((chain, "certificate"), (key, "key")):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UnusableCertificate(f"the {name} {path} cannot be read: {error.strerror}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key, password=_no_passphrase)
    except ssl.SSLError as error:
        what = (
            "do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "are no certificate and key in PEM"
        )
        raise UnusableCertificate(f"{chain} and {key} {what}") from error
    except ValueError as error:
        raise UnusableCertificate(f"the key {key} has a passphrase, which cannot be asked for") from error
    return context


def _no_passphrase() -> str:
    raise ValueError("a passphrase is needed")
