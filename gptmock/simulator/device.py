"""Pending authorization codes and device codes. Knows no HTTP and no token."""

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

from gptmock.simulator.jwt import Identity

CODES_LIMIT = 10_000
CODE_SECONDS = 300
DEVICE_SECONDS = 900
DEVICE_REDIRECT_PATH = "/deviceauth/callback"

DeviceStatus = Literal["pending", "approved", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCode:
    """What the exchange of an authorization code must match."""

    challenge: str
    redirect_uri: str
    """The exact URI; for device codes its final path."""
    identity: Identity
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLogin:
    """A device login and its status."""

    device_auth_id: str
    user_code: str
    expires_at: float
    status: DeviceStatus = "pending"
    identity: Identity | None = None


class CodeRegistry:
    """Pending authorization codes and device logins; each code is single-use."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, PendingCode] = OrderedDict()
        self._devices: OrderedDict[str, DeviceLogin] = OrderedDict()

    def new_code(self, *, challenge: str, redirect_uri: str, identity: Identity) -> str:
        """Create an authorization code, valid for five minutes."""
        code = f"ac_{secrets.token_urlsafe(32)}"
        self._codes[code] = PendingCode(
            challenge=challenge,
            redirect_uri=redirect_uri,
            identity=identity,
            expires_at=time.time() + CODE_SECONDS,
        )
        while len(self._codes) > CODES_LIMIT:
            self._codes.popitem(last=False)
        return code

    def take_code(self, code: str) -> PendingCode | None:
        """Redeem a code; ``None`` if it is unknown, used or expired."""
        pending = self._codes.pop(code, None)
        return pending if pending is not None and pending.expires_at > time.time() else None

    def new_device(self) -> DeviceLogin:
        """Begin a device login."""
        letters = "BCDFGHJKLMNPQRSTVWXZ"
        user_code = "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(2))
        login = DeviceLogin(
            device_auth_id=f"deviceauth_{secrets.token_hex(16)}",
            user_code=user_code,
            expires_at=time.time() + DEVICE_SECONDS,
        )
        self._devices[login.device_auth_id] = login
        while len(self._devices) > CODES_LIMIT:
            self._devices.popitem(last=False)
        return login

    def find_device(self, device_auth_id: str, user_code: str) -> DeviceLogin | None:
        """The device login with both values; ``None`` if there is none or it has expired."""
        login = self._devices.get(device_auth_id)
        return login if login and login.user_code == user_code and login.expires_at > time.time() else None

    def decide(self, user_code: str | None, status: DeviceStatus, identity: Identity | None = None) -> int:
        """Approve or deny the pending device with this code, or all pending ones; returns how many."""
        chosen = [
            each
            for each in self._devices.values()
            if each.status == "pending" and (user_code is None or each.user_code == user_code)
        ]
        for each in chosen:
            self._devices[each.device_auth_id] = replace(each, status=status, identity=identity)
        return len(chosen)

    def drop_device(self, device_auth_id: str) -> None:
        """Delete a device login, after its code was issued."""
        self._devices.pop(device_auth_id, None)


def pkce_challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
