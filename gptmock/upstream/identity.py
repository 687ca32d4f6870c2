"""Who we say we are, and for whom: the headers that every call to the Codex backend has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from gptmock import __version__
from gptmock.accounts import Credential


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who we say we are: ourselves, unless the operator says otherwise."""

    originator: str = "gptmock"
    codex_version: str = "0.171.0"
    """The protocol version asked for; a model's floor is its ``minimal_client_version``."""

    @property
    def user_agent(self) -> str:
        """``originator/version (system; machine)``, with our own version under our own name."""
        version = __version__ if self.originator == "gptmock" else self.codex_version
        return f"{self.originator}/{version} ({platform.system()} {platform.release()}; {platform.machine()})"

    @property
    def headers(self) -> dict[str, str]:
        """What names the program; a version that is too old hides models."""
        return {"originator": self.originator, "user-agent": self.user_agent, "version": self.codex_version}


def account_headers(credential: Credential) -> dict[str, str]:
    """What names the account, and proves it."""
    headers = {
        "authorization": f"Bearer {credential.access_token.reveal()}",
        "chatgpt-account-id": credential.account.workspace_id,
    }
    if credential.account.is_fedramp:
        headers["x-openai-fedramp"] = "true"
    return headers
