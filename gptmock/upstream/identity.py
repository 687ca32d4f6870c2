"""Request headers of every call to the Codex backend: client identity and account credential."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from gptmock import __version__
from gptmock.accounts import Credential


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """How gptmock identifies itself to the backend; the operator can override both values."""

    originator: str = "gptmock"
    codex_version: str = "0.171.0"
    """Value of the ``version`` header; a model is refused below its ``minimal_client_version``."""

    @property
    def user_agent(self) -> str:
        """``originator/version (system; machine)``; gptmock's own version if ``originator`` is ``gptmock``."""
        version = __version__ if self.originator == "gptmock" else self.codex_version
        return f"{self.originator}/{version} ({platform.system()} {platform.release()}; {platform.machine()})"

    @property
    def headers(self) -> dict[str, str]:
        """The identity headers; the backend hides models from a ``version`` that is too old."""
        return {"originator": self.originator, "user-agent": self.user_agent, "version": self.codex_version}


def account_headers(credential: Credential) -> dict[str, str]:
    """The headers that carry the access token and the workspace id."""
    headers = {
        "authorization": f"Bearer {credential.access_token.reveal()}",
        "chatgpt-account-id": credential.account.workspace_id,
    }
    if credential.account.is_fedramp:
        headers["x-openai-fedramp"] = "true"
    return headers
