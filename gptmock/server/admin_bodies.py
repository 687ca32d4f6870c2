"""The bodies of admin requests, and the terms of a key that they give. Knows no store."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

import pydantic

from gptmock.catalog import EFFORTS
from gptmock.clients import INVITATION_SECONDS, Given, ReasoningStyle, Role, is_key_name
from gptmock.dialects.bodies import Body
from gptmock.errors import BadRequest
from gptmock.gateway.invitations import MAX_TTL_SECONDS, MIN_TTL_SECONDS

MAX_TEXT = 100
MAX_OVERLAP_SECONDS = 30 * 24 * 3600
Text = Annotated[str, pydantic.Field(max_length=MAX_TEXT)]
Models = Annotated[list[Text], pydantic.Field(max_length=100)]
Limit = Annotated[int, pydantic.Field(ge=1, le=10**15)]


class AdminBody(Body):
    """A body of this API; a member that it does not know is an error, since a misspelled limit would be none."""

    model_config = pydantic.ConfigDict(extra="forbid")


class DefaultsBody(AdminBody):
    """``KeyDefaults``; ``null`` is the server's default."""

    reasoning_style: str | None = None
    reasoning_effort: str | None = None
    web_search: bool | None = None


class UnboundTermsBody(AdminBody):
    """``KeyTerms`` without an account; a member that is left out stays as it is, ``null`` is no limit."""

    role: str | None = None
    owner: Text | None = None
    models: Models | None = None
    rpm: Limit | None = None
    tokens_per_day: Limit | None = None
    tokens_per_week: Limit | None = None
    concurrency: Limit | None = None
    expires_at: str | None = None
    """Of the key; RFC 3339."""
    defaults: DefaultsBody | None = None


class TermsBody(UnboundTermsBody):
    """``KeyTerms``."""

    account: str | None = None
    """The label of the account that the key is bound to."""


class NewKeyBody(TermsBody):
    """A new key."""

    name: str


class InvitationBody(UnboundTermsBody):
    """An invitation: the terms of the key, which is bound to the account of whoever follows the link."""

    name: str
    """Of the key."""
    valid_seconds: Annotated[int, pydantic.Field(ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS)] = int(INVITATION_SECONDS)
    """Of the link."""


class InvitationTokenBody(AdminBody):
    """The token of an invitation: what is behind the ``#`` of its link."""

    token: Annotated[str, pydantic.Field(min_length=1, max_length=200)]


class RotationBody(AdminBody):
    """How long the old text stays valid."""

    overlap_seconds: Annotated[int, pydantic.Field(ge=0, le=MAX_OVERLAP_SECONDS)] = 0


class SignInBody(AdminBody):
    """A client key, to sign in to the page with."""

    key: Annotated[str, pydantic.Field(min_length=1, max_length=500)]


class DeviceLoginBody(AdminBody):
    """A sign-in to an account by device code."""

    label: Annotated[str, pydantic.Field(min_length=1, max_length=MAX_TEXT, pattern=r"^[^,\x00-\x1f\x7f]+$")] | None = (
        None
    )
    """Of the account; its mail address by default."""


def key_name(text: str) -> str:
    """
    The name of a new key.

    Raises:
        BadRequest: it is no name.
    """
    if not is_key_name(text):
        raise BadRequest("A name has 1 to 100 printable characters, and no space around them.", param="name")
    return text


def given_terms(body: TermsBody | InvitationBody) -> Given:
    """
    What was given.

    Raises:
        BadRequest: a value is none of the allowed ones.
    """
    given: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set - {"name", "valid_seconds"}}
    defaults = given.pop("defaults", None)
    if "role" in given:
        given["role"] = _one_of("role", given["role"] or "user", get_args(Role))
    if "owner" in given:
        given["owner"] = _printable("owner", given["owner"] or "").strip()
    if "models" in given:
        given["models"] = tuple(_printable("models", one).strip() for one in given["models"] or ())
        if not all(given["models"]):
            raise BadRequest("'models' must be a list of model names, with * and ? for any characters.", param="models")
    if given.get("expires_at") is not None:
        given["expires_at"] = _expiry(given["expires_at"])
    if defaults is not None:
        given |= {name: getattr(defaults, name) for name in defaults.model_fields_set}
        if (style := given.get("reasoning_style")) is not None:
            _one_of("defaults.reasoning_style", style, get_args(ReasoningStyle))
        if (effort := given.get("reasoning_effort")) is not None:
            _one_of("defaults.reasoning_effort", effort, EFFORTS)
    return given


def _one_of(param: str, word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise BadRequest(f"'{param}' must be one of: {', '.join(words)}.", param=param)
    return word


def _printable(param: str, text: str) -> str:
    if not text.isprintable():
        raise BadRequest(f"'{param}' must have printable characters only.", param=param)
    return text


def _expiry(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            "'expires_at' must be a time such as 2027-01-31T12:00:00Z, or null.", param="expires_at"
        ) from error
    if seconds <= time.time():
        raise BadRequest("'expires_at' is in the past; to end a key now, delete it.", param="expires_at")
    return seconds
