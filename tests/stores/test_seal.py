from __future__ import annotations

import base64
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.errors import SealBroken, UnusableKey
from gptmock.stores.seal import KEY_BYTES, Sealer, SealingKey, parse_keys

OLD, NEW, FOREIGN = (bytes(random.Random(seed).randbytes(KEY_BYTES)) for seed in (1, 2, 3))
PLAIN = b'{"refresh_token": "planted"}'


def sealer(*keys: bytes) -> Sealer:
    return Sealer(SealingKey.from_bytes(key) for key in keys)


@dataclass(frozen=True)
class Place:
    """What a record is bound to."""

    kind: str = "tokens"
    name: str = "acct:7:tokens"
    version: int = 3

    def seal(self, ring: Sealer, plain: bytes = PLAIN) -> bytes:
        return ring.seal(plain, kind=self.kind, name=self.name, version=self.version)

    def open(self, ring: Sealer, sealed: bytes) -> bytes:
        return ring.open(sealed, kind=self.kind, name=self.name, version=self.version)


PLACE = Place()


def flipped(sealed: bytes, bit: int) -> bytes:
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.binary(max_size=4000))
def test_what_was_sealed_opens_in_its_place(plain: bytes):
    ring = sealer(OLD)
    sealed = ring.seal(plain, kind="tokens", name="a", version=1)
    assert ring.open(sealed, kind="tokens", name="a", version=1) == plain


def test_a_seal_shows_nothing_and_is_never_the_same():
    ring = sealer(OLD)
    seals = {PLACE.seal(ring) for _ in range(200)}
    assert len(seals) == 200
    assert len({seal[7:19] for seal in seals}) == 200
    assert not any(b"planted" in seal or b"refresh" in seal for seal in seals)
    assert {len(seal) for seal in seals} == {3 + 4 + 12 + len(PLAIN) + 16}


def test_two_hundred_tampered_records_are_all_found_out():
    """A bit anywhere: in the magic, the key's id, the nonce, the text and the tag."""
    ring = sealer(OLD)
    sealed = PLACE.seal(ring)
    regions = {"magic": (0, 3), "key id": (3, 7), "nonce": (7, 19), "text": (19, len(sealed) - 16)}
    regions["tag"] = (len(sealed) - 16, len(sealed))
    bits = [
        random.Random(number).randrange(start * 8, end * 8) for start, end in regions.values() for number in range(40)
    ]
    assert len(bits) == 200
    found_out = 0
    for bit in bits:
        with pytest.raises(SealBroken):
            PLACE.open(ring, flipped(sealed, bit))
        found_out += 1
    assert found_out == 200
    assert PLACE.open(ring, sealed) == PLAIN


@given(st.data())
def test_no_single_bit_can_be_changed(data: st.DataObject):
    ring = sealer(OLD)
    sealed = PLACE.seal(ring)
    with pytest.raises(SealBroken):
        PLACE.open(ring, flipped(sealed, data.draw(st.integers(0, len(sealed) * 8 - 1))))


@pytest.mark.parametrize("length", [*range(36), 40, 46])
def test_none_can_be_cut_short(length: int):
    ring = sealer(OLD)
    with pytest.raises(SealBroken):
        PLACE.open(ring, PLACE.seal(ring)[:length])


@pytest.mark.parametrize("more", [b"\0", b"more", bytes(16)])
def test_nothing_can_be_added(more: bytes):
    ring = sealer(OLD)
    with pytest.raises(SealBroken):
        PLACE.open(ring, PLACE.seal(ring) + more)


@pytest.mark.parametrize(
    "moved",
    [
        Place(name="acct:8:tokens"),
        Place(kind="client key"),
        Place(version=4),
        Place(version=2),
        Place(version=-3),
        Place(name=""),
        Place(kind="tokens\0acct", name="7:tokens"),
        Place(kind="", name="tokens\0acct:7:tokens"),
        Place(name="acct:7:tokens\0003"),
    ],
    ids=str,
)
def test_one_that_was_moved_does_not_open(moved: Place):
    ring = sealer(OLD)
    sealed = PLACE.seal(ring)
    with pytest.raises(SealBroken, match="was changed or moved by somebody else"):
        moved.open(ring, sealed)


def test_parts_of_two_do_not_make_a_third():
    ring = sealer(OLD)
    one, other = PLACE.seal(ring, b"a" * 20), PLACE.seal(ring, b"b" * 20)
    # Random bytes of both may be equal up to 8; not up to 16.
    for cut in (16, 19, 30, 39):
        with pytest.raises(SealBroken):
            PLACE.open(ring, one[:cut] + other[cut:])


@pytest.mark.parametrize("junk", [b"", b"gm1", b'{"tokens": {}}', b"gm2" + bytes(60), random.Random(4).randbytes(100)])
def test_what_was_never_sealed(junk: bytes):
    with pytest.raises(SealBroken, match=r"^A stored tokens record is not one that this program sealed\.$"):
        PLACE.open(sealer(OLD), junk)


# --- The ring -----------------------------------------------------------------------------------


def test_the_first_key_writes_and_all_read():
    before, both, after = sealer(OLD), sealer(NEW, OLD), sealer(NEW)
    old = PLACE.seal(before)
    assert PLACE.open(both, old) == PLAIN
    assert not both.is_current(old)
    new = PLACE.seal(both, PLACE.open(both, old))
    assert both.is_current(new)
    assert PLACE.open(after, new) == PLAIN
    with pytest.raises(SealBroken):
        PLACE.open(before, new)


def test_a_key_that_is_not_in_the_ring_is_said_so():
    sealed = PLACE.seal(sealer(FOREIGN))
    with pytest.raises(SealBroken, match="not in GPTMOCK_ENCRYPTION_KEYS") as caught:
        PLACE.open(sealer(NEW, OLD), sealed)
    assert caught.value.code == "encryption_key_unknown"


def test_a_foreign_key_under_the_same_id_does_not_open():
    sealed = PLACE.seal(sealer(FOREIGN))
    own = SealingKey.from_bytes(OLD)
    with pytest.raises(SealBroken, match="changed or moved"):
        PLACE.open(sealer(OLD), sealed[:3] + own.id + sealed[7:])


def test_one_key_twice_is_one_key():
    ring = sealer(NEW, OLD, OLD)
    assert ring.is_current(PLACE.seal(sealer(NEW)))
    assert PLACE.open(ring, PLACE.seal(sealer(OLD))) == PLAIN


def test_a_ring_without_keys():
    with pytest.raises(UnusableKey, match="there is no encryption key"):
        Sealer([])


# --- Keys as people write them ------------------------------------------------------------------


def text_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize("separator", [",", "\n", " ", ", \n", ",,"])
def test_keys_are_written_one_after_another(separator: str):
    keys = parse_keys(separator.join(map(text_of, (NEW, OLD))))
    ring = Sealer(keys)
    assert len(keys) == 2
    assert ring.is_current(PLACE.seal(sealer(NEW)))
    assert PLACE.open(ring, PLACE.seal(sealer(OLD))) == PLAIN


def test_either_alphabet_and_no_padding_will_do():
    key = bytes(range(224, 256))
    written = {text_of(key), base64.urlsafe_b64encode(key).decode(), text_of(key).rstrip("=")}
    assert len(written) == 3
    assert len({parse_keys(each)[0].id for each in written}) == 1


@pytest.mark.parametrize("text", ["", " ", ",\n"])
def test_no_keys_are_no_ring(text: str):
    assert parse_keys(text) == ()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("not-base64!", "encryption key 2 is not base64"),
        ("ünïcode", "encryption key 2 is not base64"),
        (text_of(NEW) + "A", "encryption key 2 is not base64"),
        ("c2hvcnQ=", "an encryption key has 5 bytes; it must have 32"),
        (text_of(NEW[:31]), "an encryption key has 31 bytes; it must have 32"),
        (text_of(NEW + b"x"), "an encryption key has 33 bytes; it must have 32"),
        (text_of(bytes(32)), "an encryption key is not random; make one with: openssl rand -base64 32"),
        (text_of(b"abcd" * 8), "an encryption key is not random; make one with: openssl rand -base64 32"),
        (text_of(b"passwor" * 4 + b"pass"), "an encryption key is not random; make one with: openssl rand -base64 32"),
    ],
)
def test_keys_that_must_not_be_used_are_refused_and_not_repeated(key: str, said: str):
    with pytest.raises(UnusableKey) as caught:
        parse_keys(f"{text_of(OLD)},{key}")
    assert str(caught.value) == said
    assert key not in str(caught.value)
    assert text_of(OLD) not in str(caught.value)


def test_a_thousand_random_keys_are_all_random_enough():
    for seed in range(1000):
        SealingKey.from_bytes(random.Random(seed).randbytes(KEY_BYTES))


def test_no_key_is_shown():
    key = SealingKey.from_bytes(NEW)
    for shown in (repr(key), str(key), repr(Sealer([key]))):
        assert "AESGCM" not in shown
        assert NEW.hex() not in shown
        assert text_of(NEW) not in shown
