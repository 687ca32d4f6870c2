"""The URLs of Redis: what is accepted, what is refused, and what is shown of them."""

from __future__ import annotations

import pytest

from gptmock.redis_urls import RedisAddress, holds_password

CERTIFICATES = "ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem"


def test_one_endpoint():
    address = RedisAddress.parse("rediss://ada:planted@redis.internal:6380/2?ssl_ca_certs=/ca")
    assert (address.kind, address.tls, address.shown) == ("single", True, "rediss://redis.internal:6380/2")
    assert RedisAddress.parse("unix:///run/redis.sock").shown == "unix:///run/redis.sock"


def test_sentinels():
    address = RedisAddress.parse(f"rediss+sentinel://ada:plan%40ted@s1:1,[::1]:2,s3/team/3?{CERTIFICATES}")
    assert (address.kind, address.tls) == ("sentinel", True)
    assert address.nodes == (("s1", 1), ("::1", 2), ("s3", 26379))
    assert (address.service, address.database) == ("team", 3)
    assert address.shown == "rediss+sentinel://s1:1,[::1]:2,s3:26379/team/3"
    assert dict(address.options)["ssl_certfile"] == "/c.pem"
    assert RedisAddress.parse("redis+sentinel://s1/team").database == 0


def test_a_cluster():
    address = RedisAddress.parse("redis+cluster://:planted@n1:7000,n2")
    assert (address.kind, address.tls, address.nodes) == ("cluster", False, (("n1", 7000), ("n2", 6379)))
    assert address.shown == "redis+cluster://n1:7000,n2:6379"


@pytest.mark.parametrize(
    "url",
    [
        "http://ada:planted@h",
        "redis://ada:planted@h:99999",
        "redis+sentinel://ada:planted@s1:26379",
        "redis+sentinel://ada:planted@s1:26379/team/planted",
        "redis+sentinel://ada:planted@s1:26379/team/0/1",
        "redis+sentinel://ada:planted@s1:planted/team",
        "redis+sentinel://ada:planted@/team",
        "redis+sentinel://ada:pla/nted@s1/team",
        "redis+sentinel://ada:planted@s1,,s2/team",
        "redis+cluster://ada:planted@n1/1",
        "redis+cluster://ada:planted@n1?read_from_replicas=planted",
        "redis+cluster://ada:planted@n1?sentinel_password=planted",
    ],
)
def test_what_is_refused_is_not_repeated(url: str):
    with pytest.raises(ValueError, match="address") as caught:
        RedisAddress.parse(url)
    assert "planted" not in str(caught.value)


def test_secrets_are_in_no_repr():
    url = "redis+sentinel://ada:planted@s1/team?sentinel_password=planted"
    assert "planted" not in repr(RedisAddress.parse(url))
    assert holds_password(url)
    assert holds_password("redis+sentinel://s1/team?sentinel_password=planted")
    assert not holds_password("redis+cluster://n1,n2")
