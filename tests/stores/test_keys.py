from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.stores.keys import MAX_MILLISECONDS, Keys, checked, milliseconds, successor

KEYS = Keys()
KINDS = [KEYS.record, KEYS.lease, KEYS.counter, KEYS.slots, KEYS.quota, KEYS.log, KEYS.observed]


def tag_of(key: str) -> str:
    """What a Cluster hashes (Redis documentation, "Hash tags")."""
    opened = key.index("{")
    return key[opened + 1 : key.index("}", opened)]


def test_a_name_becomes_the_tag():
    assert KEYS.record("acct:7:tokens") == "gptmock:record:{acct:7:tokens}"


def test_a_tag_of_its_own_is_kept():
    assert KEYS.record("acct:{7}:tokens") == "gptmock:record:acct:{7}:tokens"
    assert KEYS.lease("{7}:tokens") == "gptmock:lease:{7}:tokens"


@pytest.mark.parametrize("name", ["a", "key:{0123abcd}:limits"])
def test_slots_and_quotas_of_a_name_are_on_one_node_of_a_cluster(name: str):
    assert tag_of(KEYS.slots(name)) == tag_of(KEYS.quota(name))


def test_tests_have_keys_of_their_own():
    assert Keys("test1").slots("a") == "test1:slots:{a}"
    assert Keys("test1").probe() == "test1:probe"


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda name: not set(name) & set("{}"))
tagged = st.tuples(names, names, names | st.just("")).map(lambda parts: f"{parts[0]}{{{parts[1]}}}{parts[2]}")


@given(st.lists(names | tagged, unique=True, max_size=8))
def test_different_things_have_different_keys_and_give_their_names_back(given_names: list[str]):
    keys = [kind(name) for kind in KINDS for name in given_names]
    assert len(set(keys)) == len(keys)
    assert [KEYS.name("record", KEYS.record(name)) for name in given_names] == given_names
    assert [KEYS.name("counter", KEYS.counter(name)) for name in given_names] == given_names


@given(names | tagged)
def test_every_key_is_the_programs_own_and_has_one_tag(name: str):
    for kind in KINDS:
        key = kind(name)
        assert key.startswith("gptmock:")
        assert key.count("{") == key.count("}") == 1
        assert tag_of(key)


@pytest.mark.parametrize("name", ["", "x" * 513, "{}", "{a}", "a{}", "a{b}{c}", "a}b{c", "{"])
def test_names_that_would_be_no_such_key(name: str):
    with pytest.raises(ValueError, match="a name in a store"):
        checked(name)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(1, 1000), (0.25, 250), (0.0001, 1), (0.0011, 2), (0, 1), (-7, 1), (1e300, MAX_MILLISECONDS)],
)
def test_times_are_whole_milliseconds(seconds: float, kept: int):
    assert milliseconds(seconds) == kept


def test_versions_go_up():
    assert successor(0, None) == 1
    assert successor(4, 9) == 9
    with pytest.raises(ValueError, match="version 4 does not come after 4"):
        successor(4, 4)
