"""
The routes of the backend beside model calls: what Codex asks for its user's account (``wham``), memories, search and
transcription. Each checks the access token; none takes a body of the wrong kind.
"""

import re
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gptmock.simulator.intake import INTAKE, answer
from gptmock.simulator.jwt import Identity
from gptmock.simulator.limits import usage_report
from gptmock.simulator.refusals import Refusal, detail, document, invalid_type, missing_parameter
from gptmock.simulator.state import SimulatorState
from gptmock.simulator.steps import Json

TRANSCRIBE_PATH = "/backend-api/transcribe"
TRANSCRIPT = "Hello from the recording. Zażółć gęślą jaźń."
CHALLENGE_PAGE = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>"
    '<script src="/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1"></script></body></html>'
)
_FORM_FIELD = re.compile(
    rb'content-disposition: form-data; name="(?P<name>[^"]*)"(?P<file>; filename=)?', re.IGNORECASE
)
_WHAM = "/backend-api/wham"


class SideRoutes:
    """
    Handlers of these routes.

    Args:
        state: of the simulator.
        caller: checks the access token of a request.
        refused: the response of a refusal.
    """

    def __init__(
        self,
        state: SimulatorState,
        caller: Callable[[web.Request], Any],
        refused: Callable[[Refusal], web.Response],
    ) -> None:
        self._state = state
        self._caller = caller
        self._refused = refused

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get(f"{_WHAM}/usage", self._told(self._usage)),
            web.get(f"{_WHAM}/accounts/check", self.accounts_check),
            web.get(f"{_WHAM}/settings/user", self._told(lambda _: {"settings": {"training_allowed": False}})),
            web.get(f"{_WHAM}/profiles/me", self._told(_profile)),
            web.get(f"{_WHAM}/rate-limit-reset-credits", self._told(lambda _: {"available_count": 1, "credits": []})),
            web.post("/backend-api/codex/memories/trace_summarize", self.memories),
            web.post("/backend-api/codex/alpha/search", self.search),
            web.post(TRANSCRIBE_PATH, self.transcribe),
        ]

    def _told(self, tell: Callable[[Identity], Json]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            caller = self._caller(request)
            return self._refused(caller) if isinstance(caller, Refusal) else answer(tell(caller.identity))

        return handle

    def _usage(self, identity: Identity) -> Json:
        used = self._state.options.used_percent
        return usage_report(now=int(time.time()), used_percent=used, plan=identity.plan)

    async def accounts_check(self, request: web.Request) -> web.Response:
        """The account's metadata and its backend origin, which is this server."""
        caller = self._caller(request)
        if isinstance(caller, Refusal):
            return self._refused(caller)
        account: Json = {
            "id": caller.identity.account_id,
            "workspace_backend_origin": f"{request.scheme}://{request.host}",
            "account_routing_override": "us",
            "plan_type": caller.identity.plan,
            "structure": "personal",
            "is_deactivated": False,
        }
        return answer({"accounts": [account], "account_ordering": [caller.identity.account_id]})

    async def memories(self, request: web.Request) -> web.Response:
        """One summary for each trace."""
        return self._side(request, "traces")

    async def search(self, request: web.Request) -> web.Response:
        """A result of a search."""
        return self._side(request, "query")

    def _side(self, request: web.Request, required: str) -> web.Response:
        caller = self._caller(request)
        if isinstance(caller, Refusal):
            return self._refused(caller)
        intake = request[INTAKE]
        if intake.problem is not None or not isinstance(intake.document, dict):
            return self._refused(intake.problem or detail("Invalid JSON"))
        if not isinstance(intake.document.get("model"), str):
            return self._refused(missing_parameter("model"))
        if required not in intake.document:
            return self._refused(missing_parameter(required))
        if required == "traces" and not isinstance(intake.document[required], list):
            return self._refused(invalid_type(required, "an array", intake.document[required]))
        return answer({"output": [{required: "noted"}]})

    async def transcribe(self, request: web.Request) -> web.Response:
        """What was said; the page of a challenge, as the option says, before anything of the request is read."""
        if self._state.options.transcribe_challenge:
            page = document(403, {})
            response = self._refused(page)
            response.body, response.content_type = CHALLENGE_PAGE.encode(), "text/html"
            response.headers["cf-mitigated"] = "challenge"
            return response
        caller = self._caller(request)
        if isinstance(caller, Refusal):
            return self._refused(caller)
        if request.content_type != "multipart/form-data":
            return self._refused(detail(f"Unsupported content type: {request.content_type}", status=415))
        parts = {match["name"]: match["file"] for match in _FORM_FIELD.finditer(await request.read())}
        if unknown := sorted(parts.keys() - {b"file", b"prompt"}):
            return self._refused(detail(f"Unknown field: {unknown[0].decode()}", status=422))
        if parts.get(b"file") is None:
            return self._refused(detail("Field required: file", status=422))
        return answer({"text": TRANSCRIPT})


def _profile(identity: Identity) -> Json:
    return {"id": identity.account_id, "email": identity.email, "plan_type": identity.plan}
