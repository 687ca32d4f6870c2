import pytest
from pydantic import Field

from gptmock.dialects.bodies import MAX_DEPTH, Body, decode_body, missing, path, validate
from gptmock.errors import BadRequest


class Inner(Body):
    count: int
    either: str | list[int] | None = None


class Outer(Body):
    name: str = ""
    flag: bool | None = None
    inner: Inner | None = None
    many: list[Inner] | None = None
    aliased_: str | None = Field(None, alias="schema")


def refused(body):
    with pytest.raises(BadRequest) as caught:
        decode_body(body, Outer)
    return caught.value


def test_a_body_is_read():
    assert decode_body(b'{"name":"x","unknown":1,"flag":null,"schema":"s"}', Outer) == Outer(name="x", schema="s")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"name":5}', "name"),
        (b'{"flag":"true"}', "flag"),
        (b'{"flag":1}', "flag"),
        (b'{"inner":5}', "inner"),
        (b'{"inner":{"count":"1"}}', "inner.count"),
        (b'{"inner":{"count":1.0}}', "inner.count"),
        (b'{"many":[{"count":1},{"count":null}]}', "many[1].count"),
        (b'{"inner":{"count":1,"either":{}}}', "inner.either"),
        (b'{"inner":{"count":1,"either":[1,"x"]}}', "inner.either[1]"),
        (b'{"schema":5}', "schema"),
    ],
)
def test_a_wrong_type_is_named_by_its_place_and_nothing_is_coerced(body, param):
    error = refused(body)
    assert (error.param, error.code) == (param, "invalid_value")
    assert error.message.startswith(f"Invalid value for '{param}': ")


def test_a_missing_field_is_named():
    error = refused(b'{"inner":{}}')
    assert (error.param, error.code) == ("inner.count", "missing_required_parameter")
    assert error.message == missing("inner.count").message == "Missing required parameter: 'inner.count'."


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_nesting_up_to_the_limit_is_read(depth):
    body = b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert decode_body(body, Outer) == Outer()


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2000, 100_000])
def test_nesting_beyond_the_limit_is_refused(depth):
    body = b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert "nested more than 200 levels deep" in refused(body).message


def test_many_brackets_side_by_side_are_not_deep():
    assert decode_body(b'{"x":[' + b",".join([b"[{}]"] * 5000) + b"]}", Outer) == Outer()


def test_a_part_is_checked_within_its_place():
    with pytest.raises(BadRequest) as caught:
        validate({"count": "x"}, Inner, within="tools[2].function")
    assert caught.value.param == "tools[2].function.count"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (("messages", 0, "role"), "messages[0].role"),
        (("content", "list[Part]", 1, "ImageUrl", "url"), "content[1].url"),
        (("stop", "str"), "stop"),
        (("reasoningEffort",), "reasoningEffort"),
        ((), ""),
    ],
)
def test_a_location_as_a_path(location, expected):
    assert path(location) == expected
    assert path(location, within="a") == ("a." + expected if expected else "a")
