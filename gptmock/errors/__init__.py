"""
The errors that clients may see, classified by cause. Dialects render them.

    GptmockError
    ├── ClientError            the request is at fault
    │   ├── BadRequest             400  a field is missing, of the wrong type, or cannot be honoured
    │   ├── Unauthorized           401  no or wrong client key
    │   │   └── KeyExpired             the right text of a client key that has expired
    │   ├── ForeignLogin           403  a ChatGPT login in the place of a client key
    │   ├── ForeignOrigin          403  a web page of another origin sent the request
    │   ├── Forbidden              403  insufficient_permissions: the role of the client key does not allow it
    │   ├── ModelNotAllowed        403  model_not_allowed: the client key may not use the model
    │   ├── UnknownModel           404  model_not_found
    │   ├── UnknownResponse        404  response_not_found: never stored, expired, or another tenant's
    │   ├── UnknownRoute           404  unknown_url
    │   │   └── UnsupportedEndpoint    404  unsupported_endpoint: an OpenAI endpoint that is not offered here
    │   ├── MethodNotAllowed       405
    │   ├── RequestTooSlow         408  the head or the body did not arrive in time
    │   ├── BodyTooLarge           413
    │   ├── UnknownClientKey       404  no client key of that name or id
    │   ├── UnknownInvitation      404  no open invitation of that token, name or id
    │   ├── NameTaken              409  there is a valid client key of that name
    │   ├── UnsupportedEncoding    415
    │   ├── UnsafeContentType      415  a web page sent something other than JSON
    │   ├── HostNotAllowed         421  the request is for a host name that is not this server's
    │   └── TooManyRequests        429
    ├── AccountError           the account is at fault: the operator has to sign in again, or wait
    │   ├── NotLoggedIn            503  login_required
    │   ├── RefreshRejected        503  login_required: the issuer refused the refresh token for good
    │   ├── RefreshUnavailable     503  auth_unavailable: the issuer cannot be reached now
    │   │   └── RefreshUnanswered      the request was sent, but no response came
    │   ├── LoginRefused           503  login_refused: an interactive sign-in failed
    │   ├── LoginUnavailable       503  login_unavailable: the issuer cannot be reached for a sign-in now
    │   ├── AccountsExhausted      429  usage_limit_reached: every account waits for its reset
    │   ├── ImagesUnavailable      403  image_generation_unavailable: the account's plan makes no images
    │   └── AccountUnusable        503  the workspace is closed or lacks the entitlement
    ├── UpstreamError          the Codex backend
    │   ├── CredentialRefused      503  the upstream's 401; the gateway refreshes and retries once
    │   ├── UpstreamRefused        4xx  the upstream refused the request
    │   ├── UpstreamUnavailable    502  no connection, a 5xx, or overload
    │   ├── UpstreamTimeout        504  a deadline passed
    │   ├── UpstreamBroken         502  the response cannot be decoded, or the stream was truncated
    │   ├── TranscriptionBlocked   503  transcription_blocked: by the provider's bot protection
    │   └── UpstreamFailed         502  the model turn failed inside a 200 stream
    ├── StoreError             the store of shared state
    │   ├── StoreUnavailable       503
    │   │   └── AuthUnknown            503  auth_unavailable: and no login or key was loaded before
    │   ├── SealBroken             503  a record cannot be decrypted: another key, or tampering
    │   └── LockBusy               503
    ├── ServerStopping         503  server_stopping: the server stops or restarts, and could not wait for the answer
    ├── ServerBusy             503  server_busy: this process has as many connections or streams as it can take
    └── InternalError          500  a fault of gptmock
"""

from __future__ import annotations

from gptmock.errors.account import (
    AccountError,
    AccountsExhausted,
    AccountUnusable,
    ImagesUnavailable,
    LoginRefused,
    LoginUnavailable,
    NotLoggedIn,
    RefreshRejected,
    RefreshUnanswered,
    RefreshUnavailable,
)
from gptmock.errors.base import DEFAULT_RETRY_SECONDS, GptmockError, InternalError, ServerBusy, ServerStopping
from gptmock.errors.client import (
    BadRequest,
    BodyTooLarge,
    ClientError,
    Forbidden,
    ForeignLogin,
    ForeignOrigin,
    HostNotAllowed,
    KeyExpired,
    MethodNotAllowed,
    ModelNotAllowed,
    NameTaken,
    RequestTooSlow,
    TooManyRequests,
    Unauthorized,
    UnknownClientKey,
    UnknownInvitation,
    UnknownModel,
    UnknownResponse,
    UnknownRoute,
    UnsafeContentType,
    UnsupportedEncoding,
    UnsupportedEndpoint,
)
from gptmock.errors.store import (
    AuthUnknown,
    LockBusy,
    SealBroken,
    StoreError,
    StoreUnavailable,
    UnusableKey,
    WrongPlace,
)
from gptmock.errors.upstream import (
    CredentialRefused,
    TranscriptionBlocked,
    UpstreamBroken,
    UpstreamError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)

__all__ = [
    "DEFAULT_RETRY_SECONDS",
    "AccountError",
    "AccountUnusable",
    "AccountsExhausted",
    "AuthUnknown",
    "BadRequest",
    "BodyTooLarge",
    "ClientError",
    "CredentialRefused",
    "Forbidden",
    "ForeignLogin",
    "ForeignOrigin",
    "GptmockError",
    "HostNotAllowed",
    "ImagesUnavailable",
    "InternalError",
    "KeyExpired",
    "LockBusy",
    "LoginRefused",
    "LoginUnavailable",
    "MethodNotAllowed",
    "ModelNotAllowed",
    "NameTaken",
    "NotLoggedIn",
    "RefreshRejected",
    "RefreshUnanswered",
    "RefreshUnavailable",
    "RequestTooSlow",
    "SealBroken",
    "ServerBusy",
    "ServerStopping",
    "StoreError",
    "StoreUnavailable",
    "TooManyRequests",
    "TranscriptionBlocked",
    "Unauthorized",
    "UnknownClientKey",
    "UnknownInvitation",
    "UnknownModel",
    "UnknownResponse",
    "UnknownRoute",
    "UnsafeContentType",
    "UnsupportedEncoding",
    "UnsupportedEndpoint",
    "UnusableKey",
    "UpstreamBroken",
    "UpstreamError",
    "UpstreamFailed",
    "UpstreamRefused",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "WrongPlace",
]
