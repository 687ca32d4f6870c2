"""JSON Web Tokens with the claims that Codex clients read; the signature is a dummy, since clients check none."""

import base64
import secrets
from dataclasses import dataclass

import msgspec

from gptmock.simulator.steps import Json

AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The owner of tokens: a user in a workspace (``account_id``)."""

    email: str
    account_id: str
    user_id: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The caller, after its access token was accepted."""

    identity: Identity
    access_token: str


def encode_jwt(claims: Json) -> str:
    """Encode claims as a JWT with a dummy signature."""
    head = {"alg": "RS256", "typ": "JWT", "kid": "simulator"}
    return ".".join([_segment(msgspec.json.encode(head)), _segment(msgspec.json.encode(claims)), _segment(b"unsigned")])


def id_claims(who: Identity, *, issuer: str, client_id: str, now: int, expires_at: int) -> Json:
    """The claims of an id token."""
    auth = {
        **_auth(who),
        "groups": [],
        "organizations": [{"id": "org-demo", "is_default": True, "role": "owner", "title": "Personal"}],
        "completed_platform_onboarding": True,
        "is_org_owner": True,
        "chatgpt_subscription_active_start": "2026-01-01T00:00:00+00:00",
        "chatgpt_subscription_active_until": "2027-01-01T00:00:00+00:00",
    }
    base = _registered(issuer, who, now, expires_at)
    return {**base, "aud": [client_id], "email": who.email, "email_verified": True, AUTH_CLAIM: auth}


def access_claims(who: Identity, *, issuer: str, client_id: str, now: int, expires_at: int) -> Json:
    """The claims of an access token."""
    base = _registered(issuer, who, now, expires_at)
    scopes = ["openid", "profile", "email", "offline_access"]
    profile = {"email": who.email, "email_verified": True}
    rest = {"aud": ["https://api.openai.com/v1"], "client_id": client_id, "scp": scopes, PROFILE_CLAIM: profile}
    return {**base, **rest, AUTH_CLAIM: _auth(who)}


def _registered(issuer: str, who: Identity, now: int, expires_at: int) -> Json:
    return {"iss": issuer, "sub": who.user_id, "iat": now, "exp": expires_at, "jti": secrets.token_hex(16)}


def _auth(who: Identity) -> Json:
    return {
        "chatgpt_account_id": who.account_id,
        "chatgpt_plan_type": who.plan,
        "chatgpt_user_id": who.user_id,
        "user_id": who.user_id,
        "chatgpt_account_is_fedramp": False,
    }


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
