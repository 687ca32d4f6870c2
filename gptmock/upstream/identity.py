"""Who we say we are, and for whom: the headers that every call to the Codex backend has."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from gptmock import __version__
from gptmock.accounts import Credential
from gptmock.protocol.codex_version import OWN_VERSION


class ClientIdentity:
    """
    Who we say we are: ourselves, unless the operator says otherwise. One object for all that call the backend, so
    that all of them change the version together.

    Args:
        originator: the name of the program.
        codex_version: the protocol version asked for; a model's floor is its ``minimal_client_version``.
    """

    def __init__(self, originator: str = "gptmock", codex_version: str = OWN_VERSION) -> None:
        self.originator = originator
        self.codex_version = codex_version
        """The protocol version of the next call."""
        self.headers: Mapping[str, str] = self._headers()
        """What names the program; a version that is too old hides models."""

    def use_version(self, codex_version: str) -> None:
        """Ask with another protocol version from the next call on."""
        self.codex_version = codex_version
        self.headers = self._headers()

    def _headers(self) -> dict[str, str]:
        # With our own version under our own name.
        version = __version__ if self.originator == "gptmock" else self.codex_version
        system = f"{platform.system()} {platform.release()}; {platform.machine()}"
        return {
            "originator": self.originator,
            "user-agent": f"{self.originator}/{version} ({system})",
            "version": self.codex_version,
        }


def account_headers(credential: Credential) -> dict[str, str]:
    """What names the account, and proves it."""
    headers = {
        "authorization": f"Bearer {credential.access_token.reveal()}",
        "chatgpt-account-id": credential.account.workspace_id,
    }
    if credential.account.is_fedramp:
        headers["x-openai-fedramp"] = "true"
    return headers
