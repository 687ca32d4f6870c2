"""The routes of the Codex backend: model calls, compaction, model list, usage. Checks tokens and model access."""

import asyncio
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from gptmock.simulator import rules
from gptmock.simulator.call import Call
from gptmock.simulator.catalogue import GATED_MODELS, Catalogue, Model, parse_version, weak_etag
from gptmock.simulator.encodings import encoded
from gptmock.simulator.events import Composer
from gptmock.simulator.images import Images, without_image_tool
from gptmock.simulator.intake import INTAKE, Intake, answer, respond
from gptmock.simulator.jwt import Caller
from gptmock.simulator.limits import limit_headers
from gptmock.simulator.player import play
from gptmock.simulator.refusals import (
    Refusal,
    detail,
    model_not_found,
    model_not_supported,
    newer_version_required,
    token_error,
    unauthorized,
)
from gptmock.simulator.scene_refusals import usage_limit_for
from gptmock.simulator.scenes import (
    ChosenScene,
    RefusalScene,
    StreamScene,
    UnknownSceneError,
    find_scene,
    marked_scene,
    unknown_scene,
)
from gptmock.simulator.side_routes import SideRoutes
from gptmock.simulator.state import MODEL_PATH, SimulatorState
from gptmock.simulator.steps import Json

LITE_HEADER = "x-openai-internal-codex-responses-lite"
_AUTOMATIC = "auto"
ETAGS_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A model call that is answered with a stream."""

    call: Call
    scene: StreamScene


class Backend:
    """Handlers of the routes below ``/backend-api``."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._etags: dict[tuple[object, ...], str] = {}

    def routes(self) -> list[web.RouteDef]:
        """The routes of the backend."""
        return [
            web.post(MODEL_PATH, self.responses),
            web.post(f"{MODEL_PATH}/compact", self.compact),
            web.get("/backend-api/codex/models", self.models),
            *SideRoutes(self._state, self.caller, self.refused).routes(),
            *Images(self._state, self.caller, self._scene, self.refused).routes(),
        ]

    # -- the model call -----------------------------------------------------------------------------------------------

    async def responses(self, request: web.Request) -> web.StreamResponse:
        """A model call: a refusal, or the stream of a scene."""
        self._state.model_call_count += 1
        caller = self.caller(request)
        if isinstance(caller, Refusal):
            return self.refused(caller)
        problem = _shape_problem(request, request[INTAKE])
        accepted = problem or self.accept(request[INTAKE].fields, request.headers, caller)
        if isinstance(accepted, Refusal):
            return self.refused(accepted)
        call, scene = accepted.call, accepted.scene
        headers, steps = self.stream_headers(request.headers, caller, call), scene.play(call)
        if codings := scene.codings(call.parameter):
            headers, steps = {**headers, "content-encoding": ", ".join(codings)}, encoded(steps, codings)
        return await play(request, steps, state=self._state, scene=scene.name, headers=headers)

    def accept(
        self, body: Json, headers: Mapping[str, str], caller: Caller, *, lite: bool = False
    ) -> Accepted | Refusal:
        """
        A model call that passes every check, with its scene; else the first refusal.

        Args:
            body: without what belongs to its transport.
            headers: of the request or of the handshake.
            caller: see ``caller``.
            lite: whether the call is of Responses-Lite though no header says so.
        """
        model = self._accepted_model(body, headers, caller, lite=lite)
        if isinstance(model, Refusal):
            return model
        call = self._call(without_image_tool(body, caller.identity.plan), model, caller)
        if limited_seconds := self._state.limited_seconds(caller.identity.account_id):
            return usage_limit_for(call, math.ceil(limited_seconds))
        try:
            chosen = self._scene(call, caller)
        except UnknownSceneError as error:
            return unknown_scene(error)
        call = replace(call, parameter=chosen.parameter)
        if isinstance(chosen.scene, RefusalScene):
            return chosen.scene.refuse(call)
        return Accepted(call=call, scene=chosen.scene)

    async def compact(self, request: web.Request) -> web.Response:
        """The unary compaction call: one compaction item."""
        caller = self.caller(request)
        if isinstance(caller, Refusal):
            return self.refused(caller)
        body = request[INTAKE].fields
        model = self._known_model(body, caller)
        if isinstance(model, Refusal):
            return self.refused(model)
        problem = rules.compact_refusal(body, account_id=caller.identity.account_id)
        if problem is not None:
            return self.refused(problem)
        events = list(Composer(self._call(body, model, caller)).compaction())
        return answer({"id": f"resp_{secrets.token_hex(24)}", "output": [events[-1].payload["item"]]})

    # -- models -------------------------------------------------------------------------------------------------------

    async def models(self, request: web.Request) -> web.Response:
        """The catalogue for this client's version and plan."""
        caller = self.caller(request)
        if isinstance(caller, Refusal):
            return self.refused(caller)
        version = parse_version(request.query.get("client_version"))
        if version is None:
            return self.refused(detail("client_version is required"))
        await asyncio.sleep(self._state.options.models_delay_seconds)
        content = self._listing(version, caller)
        headers = {"etag": weak_etag(content)}
        if self._state.options.not_modified and request.headers.get("if-none-match") == headers["etag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type="application/json", headers=headers)

    # -- checking -----------------------------------------------------------------------------------------------------

    def caller(self, request: web.Request) -> Caller | Refusal:
        """The caller of a request, by its access token and account id."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        account_id = request.headers.get("chatgpt-account-id", "")
        if scheme.lower() != "bearer" or not token or not account_id:
            return unauthorized()
        record = self._state.logins.find(token)
        if record is None:
            return token_error("token_invalidated")
        if record.refused_as:
            return token_error(record.refused_as)
        identity = record.family.identity
        return Caller(identity=identity, access_token=token) if identity.account_id == account_id else unauthorized()

    def _accepted_model(self, body: Json, headers: Mapping[str, str], caller: Caller, *, lite: bool) -> Model | Refusal:
        """The model if the body passes every check, else the first refusal."""
        model = self._known_model(body, caller)
        if isinstance(model, Refusal):
            return model
        lite = lite or headers.get(LITE_HEADER, "").lower() == "true"
        refusal = self._gate(headers, model) or rules.first_refusal(
            body, model=model, lite=lite, account_id=caller.identity.account_id
        )
        return refusal or model

    def _known_model(self, body: Json, caller: Caller) -> Model | Refusal:
        slug = body.get("model")
        return self._catalogue().find(slug, caller.identity.plan) or model_not_supported(slug)

    def _catalogue(self) -> Catalogue:
        """The catalogue as the options change it."""
        options = self._state.options
        return self._state.catalogue.without(options.withdrawn_models).requiring(options.model_versions)

    def _gate(self, headers: Mapping[str, str], model: Model) -> Refusal | None:
        """Refusals by client identity: by ``version`` if sent, by ``originator`` if the option is on."""
        options = self._state.options
        if "version" in headers:
            version = parse_version(headers["version"])
            if version is None or version < model.minimal_version(options.minimal_version):
                return newer_version_required(model.slug)
        known = headers.get("originator", "").lower().startswith("codex")
        if options.gate_originator and model.slug in GATED_MODELS and not known:
            return model_not_found(model.slug)
        return None

    def _scene(self, call: Call, caller: Caller) -> ChosenScene:
        """
        The scene to play: from the queue, else from a marker in the user text, else ``auto``. Scene ``401`` invalidates
        the access token and accepts the next one of the same login.
        """
        if self._state.scenes:
            chosen = find_scene(self._state.scenes.popleft())
            if chosen.scene.name == "401":
                self._state.logins.invalidate_once(caller.access_token)
            return chosen
        chosen = find_scene(marked_scene(call) or _AUTOMATIC)
        if chosen.scene.name == "401" and not self._state.logins.invalidate_once(caller.access_token):
            return find_scene(_AUTOMATIC)
        return chosen

    # -- replying -----------------------------------------------------------------------------------------------------

    def _call(self, body: Json, model: Model, caller: Caller) -> Call:
        return Call(
            body=body,
            model=model.reply_name,
            seed=secrets.token_hex(16),
            account_id=caller.identity.account_id,
            created_at=int(time.time()),
            default_effort=model.default_effort,
            filled_output=self._state.options.filled_output,
            image_noise_bytes=self._state.options.image_noise_bytes,
        )

    def stream_headers(self, headers: Mapping[str, str], caller: Caller, call: Call) -> dict[str, str]:
        """The headers of an accepted call's response."""
        used = self._state.options.used_percent
        limits = limit_headers(now=call.created_at, used_percent=used, plan=caller.identity.plan)
        # A client without a ``version`` header is treated as the newest.
        etag = self._etag(parse_version(headers.get("version")) or (999,), caller)
        return {**_request_id(), **limits, "x-models-etag": etag, "openai-model": call.model}

    def _etag(self, version: tuple[int, ...], caller: Caller) -> str:
        """The entity tag of this client's model list; cached, since every reply carries it."""
        options = self._state.options
        changes = (options.minimal_version, options.withdrawn_models, tuple(options.model_versions.items()))
        key = (version, caller.identity.plan, changes)
        if key not in self._etags:
            if len(self._etags) >= ETAGS_LIMIT:
                self._etags.clear()
            self._etags[key] = weak_etag(self._listing(version, caller))
        return self._etags[key]

    def _listing(self, version: tuple[int, ...], caller: Caller) -> bytes:
        return self._catalogue().listing(version, caller.identity.plan, self._state.options.minimal_version)

    def refused(self, refusal: Refusal) -> web.Response:
        """The response of a refusal."""
        response = respond(refusal)
        response.headers.update(_request_id())
        return response


def _shape_problem(request: web.Request, intake: Intake) -> Refusal | None:
    if intake.problem is not None:
        return intake.problem
    if request.content_type != "application/json":
        return detail(f"Unsupported content type: {request.content_type}", status=415)
    return None if isinstance(intake.document, dict) else detail("Invalid JSON")


def _request_id() -> dict[str, str]:
    request_id = secrets.token_hex(16)
    return {
        "x-oai-request-id": f"req_{request_id}",
        "cf-ray": f"{request_id[:16]}-SIM",
        "cf-cache-status": "DYNAMIC",
        "server": "cloudflare",
        "x-content-type-options": "nosniff",
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "referrer-policy": "strict-origin-when-cross-origin",
    }
