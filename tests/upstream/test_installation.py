from __future__ import annotations

import json
import uuid

import msgspec
import pytest

from gptmock.accounts import Account, Credential, Secret
from gptmock.protocol.request import ResponsesRequest, SideCall
from gptmock.upstream.installation import OwnInstallation, installation_of
from tests.gateway.memory import MemoryUpstream, Script

THEIRS = "canary-installation"
METADATA = {
    "x-codex-installation-id": THEIRS,
    "x-codex-turn-metadata": json.dumps({"installation_id": THEIRS, "turn_id": "t"}),
    "session_id": "s",
}


def credential(name: str) -> Credential:
    return Credential(Account(name), Secret("access"), version=1)


@pytest.mark.check(272)
async def test_each_account_has_an_id_of_its_own_and_the_clients_goes_nowhere():
    seen = []

    class Seeing(MemoryUpstream):
        async def relay(self, request, credential, *, headers=None):
            seen.append((request.to_json(), request.side.body, headers))
            return await super().relay(request, credential, headers=headers)

    upstream = OwnInstallation(Seeing([Script(), Script()]))
    request = ResponsesRequest(
        model="m",
        input=[],
        prompt_cache_key="k",
        more={"client_metadata": METADATA, "other": 1},
        side=SideCall(path="codex/alpha/search", body=msgspec.json.encode({"client_metadata": METADATA, "q": 1})),
    )
    for name in ("a", "b"):
        await upstream.relay(request, credential(name), headers=METADATA)
    assert THEIRS not in str(seen)
    for (body, side, headers), name in zip(seen, ("a", "b"), strict=True):
        own = installation_of(credential(name))
        assert str(uuid.UUID(own)) == own
        for metadata in (json.loads(body)["client_metadata"], json.loads(side)["client_metadata"], headers):
            assert metadata["x-codex-installation-id"] == own
            assert json.loads(metadata["x-codex-turn-metadata"]) == {"installation_id": own, "turn_id": "t"}
            assert metadata["session_id"] == "s"
    assert installation_of(credential("a")) != installation_of(credential("b"))


@pytest.mark.parametrize("metadata", [None, "text", {}, {"x-codex-turn-metadata": "{no json installation_id"}])
async def test_other_metadata_stays(metadata: object):
    sent: list[ResponsesRequest] = []

    class Seeing(MemoryUpstream):
        async def compact(self, request, credential, *, headers=None):
            sent.append(request)
            return await super().compact(request, credential, headers=headers)

    request = ResponsesRequest(model="m", input=[], prompt_cache_key="k", more={"client_metadata": metadata})
    await OwnInstallation(Seeing([Script()])).compact(request, credential("a"))
    assert sent == [request]
