"""All setups, and the document of them for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gptmock.client_setups.agents import AGENTS
from gptmock.client_setups.others import OTHERS
from gptmock.client_setups.setup import ClientSetup, Target

SETUPS: tuple[ClientSetup, ...] = (*AGENTS, *OTHERS)
_BY_NAME = {setup.name: setup for setup in SETUPS}


def setup_named(name: str) -> ClientSetup | None:
    """The setup of a client, if there is one of this name."""
    return _BY_NAME.get(name.lower())


def setup_document(setup: ClientSetup, target: Target) -> dict[str, Any]:
    """A setup as JSON: ``name``, ``title``, ``launches``, ``configures``, ``install``, ``page`` and ``snippets``."""
    return {
        "name": setup.name,
        "title": setup.title,
        "launches": setup.start is not None,
        "configures": setup.configuration is not None,
        "install": setup.install or None,
        "page": setup.page or None,
        "snippets": [asdict(snippet) for snippet in setup.snippets(target)],
    }
