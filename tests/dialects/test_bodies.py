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


# --- What clients make of text --------------------------------------------------------------


class Anything(Body):
    any: dict[str, object] | None = None
    name: str = ""


def test_half_an_emoji_becomes_the_replacement_character():
    body = rb'{"name":"a\ud83d","any":{"\udE00 key":["\ud83d\ude00",{"\\ud83d":"\ud83d\\"}]}}'
    read = decode_body(body, Anything)
    assert read.name == "a\ufffd"
    assert read.any == {"\ufffd key": ["😀", {"\\ud83d": "\ufffd\\"}]}


@pytest.mark.parametrize("body", [rb'{"name":"\ud83d","count":}', rb'{"name":"\ud83d\x"}', rb'{"name":"\ud83d'])
def test_half_an_emoji_excuses_no_other_mistake(body):
    assert refused(body).message.startswith("The request body is not valid JSON: ")


def test_nesting_is_counted_beside_half_an_emoji_too():
    assert "nested more than" in refused(rb'{"name":"\ud83d","x":' + b"[" * 500 + b"]" * 500 + b"}").message


@pytest.mark.parametrize("body", [b'{"name":"x"}', rb'{"name":"x","\ud83d":1}', b' \n{"name":"x"}'])
def test_a_byte_order_mark_is_skipped(body):
    assert decode_body(b"\xef\xbb\xbf" + body, Outer) == Outer(name="x")


def test_only_one_byte_order_mark_is_skipped():
    assert refused(b"\xef\xbb\xbf" * 2 + b"{}").code == "invalid_json"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32"),
        ("utf-32-be", "UTF-32"),
    ],
)
@pytest.mark.parametrize("text", ['{"name":"x"}', ' \r\n{"name":"\U0001f600"}', "[1]"])
def test_a_body_in_another_unicode_encoding_is_told_so(encoding, name, text):
    error = refused(text.encode(encoding))
    assert error.message == f"The request body is encoded in {name}; send it in UTF-8."
    assert error.code == "invalid_json"


@pytest.mark.parametrize("body", [b"\0\0\0\0", b"\0x", b"\xff\xfe\xff", b"\x1f\x8b\x08\0\0\0\0\0", b"\xff\xfe"])
def test_other_bytes_are_not_taken_for_an_encoding(body):
    assert "encoded in" not in refused(body).message


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_nesting_up_to_the_limit_is_read(depth):
    body = b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert decode_body(body, Outer) == Outer()


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2000, 100_000])
def test_nesting_beyond_the_limit_is_refused(depth):
    body = b'{"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert f"nested more than {MAX_DEPTH} levels deep" in refused(body).message


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
