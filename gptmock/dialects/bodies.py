"""Decodes request bodies: JSON to a pydantic model; an invalid field is a 400 that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import pydantic

from gptmock.errors import BadRequest
from gptmock.protocol.surrogates import without_halves

_Decoded = TypeVar("_Decoded")
_Model = TypeVar("_Model", bound=pydantic.BaseModel)
_Member = TypeVar("_Member")


class _FirstMistake(pydantic.FailFast):
    """Hashable, as members of a union have to be."""

    def __hash__(self) -> int:
        return hash(_FirstMistake)


ListOf: TypeAlias = Annotated[list[_Member], _FirstMistake()]
"""A list that is checked up to its first mistake: a body can have a hundred thousand, and one is told."""
_FIELD = re.compile(r"[a-z][A-Za-z0-9_]*\Z")
_BRANCHES = frozenset({"str", "int", "bool", "float", "dict", "list"})
"""Names of union branches in pydantic's error locations; they are not part of the field's path."""


MAX_DEPTH = 128
"""Nesting depth of objects and arrays; schemas of tools have less than 30. Python's recursion limit is at 1000."""
_BOM = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 64
"""A multiple of four, the longest unit of an encoding."""


class Body(pydantic.BaseModel):
    """A part of a request body: unknown keys are ignored, nothing is coerced, ``null`` means absent."""

    model_config = pydantic.ConfigDict(strict=True, extra="ignore", frozen=True, protected_namespaces=())


class ParameterBody(Body):
    """A whole body, or an object of parameters in it: unknown keys are kept, to be named as ignored."""

    model_config = pydantic.ConfigDict(extra="allow")


def decode_body(body: bytes, model: type[_Model]) -> _Model:
    """
    Read a body, whatever its ``Content-Type`` says.

    Raises:
        BadRequest: it is not JSON, not an object, or a field has a wrong type.
    """
    try:
        value: Any = decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        encoding = _other_encoding(body)
        if encoding is not None:
            raise BadRequest(
                f"The request body is encoded in {encoding}; send it in UTF-8.", code="invalid_json"
            ) from error
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise _too_deep()
    if not isinstance(value, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    return validate(value, model)


def decode_json(
    text: bytes | msgspec.Raw, decode: Callable[[bytes | msgspec.Raw], _Decoded] = msgspec.json.decode
) -> _Decoded:
    """
    Read JSON as clients really send it: half a surrogate pair becomes U+FFFD, a byte-order mark is skipped.

    Args:
        text: UTF-8.
        decode: reads it; called again, with text that is mended, when it fails: only then is there a cost.

    Raises:
        msgspec.DecodeError: it cannot be read all the same.
        UnicodeDecodeError: it is no UTF-8.
    """
    try:
        return decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = without_halves(bytes(text).removeprefix(_BOM))
        if mended == bytes(text):
            raise
        return decode(mended)


def _other_encoding(body: bytes) -> str | None:
    """UTF-16 or UTF-32, if the body is JSON in one of them (RFC 4627, section 3)."""
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return None
    beginning = body[:_SNIFFED_BYTES].decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    return encoding[: len("utf-16")].upper() if beginning.startswith(("{", "[")) else None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep() -> BadRequest:
    return BadRequest(f"The request body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")


def validate(value: dict[str, Any], model: type[_Model], *, within: str = "") -> _Model:
    """
    Check one object of a body; ``within`` is the path to it, as ``tools[2].function``.

    Raises:
        BadRequest: with the field at fault in ``param``.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        raise _bad_request(error, within) from error


def _bad_request(error: pydantic.ValidationError, within: str) -> BadRequest:
    # A union reports one mistake for each branch; the deepest is of the branch that was meant.
    mistake = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
    param = path(mistake["loc"], within=within)
    if mistake["type"] == "missing":
        return BadRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    return BadRequest(f"Invalid value for '{param}': {mistake['msg']}.", param=param)


def path(location: Sequence[int | str], *, within: str = "") -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``."""
    text = within
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _FIELD.match(step) and step not in _BRANCHES:
            text += f".{step}" if text else step
    return text


def missing(param: str) -> BadRequest:
    """The 400 for a field that has to be there."""
    return BadRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def not_one_of(param: str, allowed: Sequence[str]) -> BadRequest:
    """The 400 for a word that is none of those known."""
    return BadRequest(f"Invalid value for '{param}': expected one of {', '.join(allowed)}.", param=param)
