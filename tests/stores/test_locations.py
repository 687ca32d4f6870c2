from __future__ import annotations

from pathlib import Path

import pytest

from gptmock.errors import WrongPlace
from gptmock.stores.locations import KEY_FILE, STATE_FILE, Place
from gptmock.stores.redis import RedisStore
from gptmock.stores.sqlite import SqliteStore

HOME = Path("/home/ada/.config/gptmock")
URL = "rediss://ada:planted-password@redis.internal:6380/2?ssl_ca_certs=/ca&password=planted-too"


def named(word: str, redis_url: str | None = None) -> Place:
    return Place.named(word, home=HOME, redis_url=redis_url)


def test_words_for_places(tmp_path: Path):
    assert named("embedded") == Place(file=HOME / STATE_FILE)
    assert named("redis", URL) == named(URL) == Place(redis_url=URL)
    assert named("unix:///run/redis.sock").redis_url == "unix:///run/redis.sock"
    assert named(str(tmp_path)) == Place(file=tmp_path / STATE_FILE)
    assert named(str(tmp_path / "other.db")) == Place(file=tmp_path / "other.db")
    assert named("other.db").file == Path.cwd() / "other.db"
    assert named("./redis").file == Path.cwd() / "redis"


@pytest.mark.parametrize(
    "word",
    [
        "",
        "redis",
        "http://ada:planted@redis.internal",
        "redis://ada:planted@redis.internal:99999",
        "redis://ada:pla/nted@redis.internal",
        "redis://ada:planted@[::1",
    ],
)
def test_words_that_are_none_are_not_repeated(word: str):
    with pytest.raises(WrongPlace) as caught:
        named(word)
    assert "pla" not in str(caught.value).replace("place", "")


def test_a_place_is_shown_without_what_is_secret():
    assert named(URL).shown == "rediss://redis.internal:6380/2"
    assert "planted" not in repr(named(URL))
    assert named("embedded").shown == str(HOME / STATE_FILE)


async def test_a_place_is_opened_and_knows_where_its_key_lies(tmp_path: Path):
    file, redis = named(str(tmp_path)), named("redis://127.0.0.1:1/0")
    assert file.key_file == tmp_path / KEY_FILE
    assert redis.key_file is None
    for place, kind in ((file, SqliteStore), (redis, RedisStore)):
        store = place.open()
        assert isinstance(store, kind)
        await store.close()
    assert not (tmp_path / STATE_FILE).exists(), "nothing is asked yet"
