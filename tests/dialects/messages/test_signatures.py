import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.dialects.messages.signatures import PREFIX, SealedReasoning, opened, signature_of
from gptmock.stores.seal import Sealer, SealingKey

KEY = SealingKey.from_bytes(bytes(range(32)))
SEALER = Sealer([KEY])


@pytest.mark.check(207)
@given(
    content=st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=200)), padded=st.booleans()
)
def test_what_is_sealed_comes_back(content, padded):
    if isinstance(content, bytes):
        text = base64.urlsafe_b64encode(content).decode()
        content = text if padded else text.rstrip("=")
    sealed = SealedReasoning("account", "rs_1", content)
    assert opened(signature_of(sealed, SEALER, "tenant"), SEALER, "tenant") == sealed


@pytest.mark.check(222)
def test_it_opens_for_its_tenant_and_key_ring_only():
    signature = signature_of(SealedReasoning("a", "rs_1", "gAAAA"), SEALER, "tenant")
    assert opened(signature, SEALER, "another") is None
    assert opened(signature, Sealer([SealingKey.from_bytes(bytes(range(1, 33)))]), "tenant") is None
    assert opened(signature, Sealer([SealingKey.from_bytes(bytes(range(1, 33))), KEY]), "tenant") is not None
    for cut in range(0, len(signature), 7):
        assert opened(signature[:cut], SEALER, "tenant") is None
    assert opened(signature, None, "tenant") is None
    assert signature_of(SealedReasoning("a", "rs_1", "gAAAA"), None, "tenant") == ""


def test_it_is_hardly_longer_than_what_it_carries():
    content = base64.urlsafe_b64encode(b"\x80" + os.urandom(6000)).decode()
    signature = signature_of(SealedReasoning("a" * 16, "rs_" + "b" * 48, content), SEALER, "k" * 8)
    assert signature.startswith(PREFIX)
    assert len(signature) < len(content) * 1.05
    assert content[:40] not in signature
