"""
Reasoning items sealed into the ``signature`` of thinking blocks. Must not know how anything is encrypted.

    signature = "gms1." + base64url(sealed record)
    record = account id, NUL, item id, NUL, "t" + encrypted content, or "b" + encrypted content decoded from base64

The sealed record is bound to the tenant. The encrypted content is base64 itself: decoded where that loses nothing, the
signature is hardly longer than what it carries.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from gptmock.dialects.dialect import Sealing
from gptmock.errors import SealBroken
from gptmock.protocol.request import JsonObject

PREFIX = "gms1."
_KIND = "thinking"
_VERSION = 1
_MIN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class SealedReasoning:
    """A reasoning item as it travels."""

    account_id: str
    """It can be decrypted only with this account."""
    item_id: str
    encrypted_content: str

    def item(self) -> JsonObject:
        """The input item to send upstream; the same bytes for the same signature."""
        named = {"id": self.item_id} if self.item_id else {}
        return {"type": "reasoning", **named, "summary": [], "encrypted_content": self.encrypted_content}


def signature_of(reasoning: SealedReasoning, sealing: Sealing | None, tenant: str) -> str:
    """The signature; empty without a key to seal with."""
    if sealing is None:
        return ""
    plain = b"\0".join(
        (reasoning.account_id.encode(), reasoning.item_id.encode(), _packed(reasoning.encrypted_content))
    )
    sealed = sealing.seal(plain, kind=_KIND, name=tenant, version=_VERSION)
    return PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def opened(signature: str | None, sealing: Sealing | None, tenant: str) -> SealedReasoning | None:
    """The reasoning item in a signature; ``None`` for one that is foreign, damaged, or another tenant's."""
    if sealing is None or signature is None or not signature.startswith(PREFIX):
        return None
    try:
        sealed = _decoded(signature.removeprefix(PREFIX))
        plain = sealing.open(sealed, kind=_KIND, name=tenant, version=_VERSION)
        account_id, item_id, packed = plain.split(b"\0", 2)
        return SealedReasoning(account_id.decode(), item_id.decode(), _unpacked(packed))
    except (SealBroken, ValueError):
        return None


def _packed(text: str) -> bytes:
    if len(text) >= _MIN_CHARACTERS:
        try:
            decoded = _decoded(text)
        except ValueError:
            return b"t" + text.encode()
        if base64.urlsafe_b64encode(decoded).decode() == text:
            return b"b" + decoded
    return b"t" + text.encode()


def _unpacked(packed: bytes) -> str:
    content = packed[1:]
    return base64.urlsafe_b64encode(content).decode() if packed.startswith(b"b") else content.decode()


def _decoded(text: str) -> bytes:
    """
    Bytes of URL-safe base64, with or without padding.

    Raises:
        ValueError: it is something else.
    """
    try:
        data = text.encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError from error
