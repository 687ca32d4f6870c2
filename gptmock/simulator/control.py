"""The control API below ``/simulator/``, for tests in another process: reads and changes the state. Shows no token."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from gptmock.simulator.accounts import fingerprint
from gptmock.simulator.intake import INTAKE, answer
from gptmock.simulator.issuer import LOST, TOKEN_FAULTS, new_identity
from gptmock.simulator.options import SimulatorOptions
from gptmock.simulator.scenes import SCENES, StreamScene, UnknownSceneError, find_scene
from gptmock.simulator.state import RecordedRequest, SimulatorState
from gptmock.simulator.steps import Json

_FIXED_OPTIONS = frozenset({"host", "port"})
_SECRET_FIELDS = frozenset(
    {
        "access_token",
        "refresh_token",
        "id_token",
        "token",
        "code",
        "code_verifier",
        "device_auth_id",
        "user_code",
        "subject_token",
    }
)
_SECRET_HEADERS = frozenset({"authorization", "cookie"})


class LoginOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /simulator/logins``; the fields of ``TokenRegistry.issue``."""

    email: str = "demo@example.test"
    account_id: str | None = None
    user_id: str | None = None
    plan: str = "plus"
    expires_in: int | None = None


class DeviceOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /simulator/device/approve`` and ``deny``: the device, and the user who decides."""

    user_code: str | None = None
    email: str = "demo@example.test"
    account_id: str | None = None
    user_id: str | None = None
    plan: str = "plus"


class LimitOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /simulator/limits``: whose usage limit is reached, and for how many seconds; 0 resets it."""

    account_id: str
    seconds: float


class Control:
    """Handlers of the control API."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """The routes of the control API, and ``/health``."""
        return [
            web.get("/health", self.health),
            web.get("/simulator/requests", self.requests),
            web.get("/simulator/stats", self.stats),
            web.get("/simulator/scenes", self.list_scenes),
            web.post("/simulator/scenes", self.queue_scenes),
            web.post("/simulator/token-faults", self.queue_token_faults),
            web.post("/simulator/options", self.change_options),
            web.post("/simulator/logins", self.issue_login),
            web.post("/simulator/limits", self.limit),
            web.post("/simulator/expire", self.expire),
            web.post("/simulator/device/{decision:approve|deny}", self.decide_device),
            web.post("/simulator/reset", self.reset),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Alive."""
        return answer({"status": "ok"})

    async def requests(self, request: web.Request) -> web.Response:
        """The recorded requests, oldest first; ``?path=`` filters, ``?last=`` limits to the latest."""
        path = request.query.get("path")
        chosen = [each for each in self._state.requests if path is None or each.path == path]
        last = request.query.get("last", "")
        chosen = chosen[-int(last) :] if last.isdecimal() and int(last) else chosen
        return answer({"requests": [redacted(each) for each in chosen]})

    async def stats(self, _request: web.Request) -> web.Response:
        """The counts."""
        return answer(self._state.stats())

    async def list_scenes(self, _request: web.Request) -> web.Response:
        """The table of scenes, and the queue."""
        rows = [
            {"name": scene.name, "summary": scene.summary, "stream": isinstance(scene, StreamScene)}
            for scene in SCENES.values()
        ]
        return answer({"scenes": rows, "queued": list(self._state.scenes)})

    async def queue_scenes(self, request: web.Request) -> web.Response:
        """Queue scenes for the next model calls."""
        names = request[INTAKE].fields.get("scenes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return _wrong('scenes must be a list of names, such as {"scenes": ["401", "text"]}')
        try:
            for name in names:
                find_scene(name)
        except UnknownSceneError as error:
            return _wrong(str(error))
        self._state.scenes.extend(names)
        return answer({"queued": list(self._state.scenes)})

    async def queue_token_faults(self, request: web.Request) -> web.Response:
        """Queue faults for the next calls of the token endpoint."""
        names = request[INTAKE].fields.get("faults")
        if not isinstance(names, list) or any(name not in [*TOKEN_FAULTS, LOST] for name in names):
            return _wrong(f"faults must be a list of: {', '.join([*TOKEN_FAULTS, LOST])}")
        self._state.token_faults.extend(names)
        return answer({"queued": list(self._state.token_faults)})

    async def change_options(self, request: web.Request) -> web.Response:
        """Change options while running; returns all options."""
        fields = request[INTAKE].fields
        known = {each.name for each in dataclasses.fields(SimulatorOptions)} - _FIXED_OPTIONS
        unknown = sorted(set(fields) - known)
        if unknown:
            return _wrong(f"unknown options: {', '.join(unknown)}; known are: {', '.join(sorted(known))}")
        before = dataclasses.asdict(self._state.options)
        try:
            self._state.options = msgspec.convert({**before, **fields}, SimulatorOptions)
        except msgspec.ValidationError as error:
            return _wrong(str(error))
        return answer(dataclasses.asdict(self._state.options))

    async def issue_login(self, request: web.Request) -> web.Response:
        """Issue a login; returns its ``auth.json`` document."""
        try:
            order = msgspec.convert(request[INTAKE].fields, LoginOrder)
        except msgspec.ValidationError as error:
            return _wrong(str(error))
        return answer(self._state.logins.issue(**msgspec.structs.asdict(order)).auth_json())

    async def limit(self, request: web.Request) -> web.Response:
        """Refuse an account's model calls with 429 ``usage_limit_reached`` for a time."""
        try:
            order = msgspec.convert(request[INTAKE].fields, LimitOrder)
        except msgspec.ValidationError as error:
            return _wrong(str(error))
        self._state.limits[order.account_id] = time.time() + order.seconds
        return answer({"limited": sorted(self._state.limits)})

    async def expire(self, _request: web.Request) -> web.Response:
        """Expire all valid access tokens."""
        return answer({"expired": self._state.logins.expire_access()})

    async def decide_device(self, request: web.Request) -> web.Response:
        """Approve or deny one device by ``user_code``, or all pending ones; the other fields describe the user."""
        try:
            order = msgspec.convert(request[INTAKE].fields, DeviceOrder)
        except msgspec.ValidationError as error:
            return _wrong(str(error))
        if request.match_info["decision"] == "deny":
            return answer({"decided": self._state.devices.decide(order.user_code, "denied")})
        user = new_identity(email=order.email, account_id=order.account_id, user_id=order.user_id, plan=order.plan)
        return answer({"decided": self._state.devices.decide(order.user_code, "approved", user)})

    async def reset(self, request: web.Request) -> web.Response:
        """Clear records and queues, and restore the options; with ``{"logins": true}`` delete issued tokens too."""
        self._state.reset(forget_logins=bool(request[INTAKE].fields.get("logins")))
        return answer(self._state.stats())


def redacted(record: RecordedRequest) -> Json:
    """A recorded request with secrets replaced by fingerprints, so that they can still be compared."""
    headers = {name: _hidden_header(name, value) for name, value in record.headers.items()}
    return {
        "at": record.at,
        "method": record.method,
        "path": record.path,
        "query": _hidden(record.query),
        "headers": headers,
        "body": record.body if record.path.startswith("/backend-api/") else _hidden(record.body),
    }


def _hidden_header(name: str, value: str) -> str:
    if name not in _SECRET_HEADERS:
        return value
    scheme, _, secret = value.partition(" ")
    return f"{scheme} {fingerprint(secret)}" if secret else fingerprint(value)


def _hidden(fields: Any) -> Any:
    if not isinstance(fields, Mapping):
        return fields
    return {name: fingerprint(str(value)) if name in _SECRET_FIELDS else value for name, value in fields.items()}


def _wrong(message: str) -> web.Response:
    return answer({"error": message}, status=400)
