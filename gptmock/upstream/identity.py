"""Request headers of every call to the Codex backend: client identity and account credential."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from gptmock import __version__
from gptmock.accounts import Credential
from gptmock.protocol.codex_version import OWN_VERSION


class ClientIdentity:
    """
    How gptmock identifies itself to the backend; the operator can override both values. All callers of the backend
    share one object, so a new version applies to all of them.

    Args:
        originator: the name of the program.
        codex_version: value of the ``version`` header; a model is refused below its ``minimal_client_version``.
    """

    def __init__(self, originator: str = "gptmock", codex_version: str = OWN_VERSION) -> None:
        self.originator = originator
        self.codex_version = codex_version
        """The protocol version of the next call."""
        self.headers: Mapping[str, str] = self._headers()
        """The identity headers."""

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
    """The headers that carry the access token and the workspace id."""
    headers = {
        "authorization": f"Bearer {credential.access_token.reveal()}",
        "chatgpt-account-id": credential.account.workspace_id,
    }
    if credential.account.is_fedramp:
        headers["x-openai-fedramp"] = "true"
    return headers
