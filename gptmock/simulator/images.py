"""
The routes ``/codex/images/generations`` and ``/codex/images/edits``: bodies checked strictly, images of the size that
the backend would make. A scene in the prompt (``scene:NAME``), or a queued one, is played as far as it applies: a
refusal is answered, a pause delays the image, a break breaks the connection, anything else makes an image.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiohttp import web

from gptmock.simulator.call import Call
from gptmock.simulator.intake import INTAKE
from gptmock.simulator.jwt import Caller
from gptmock.simulator.pictures import DEFAULT_SIZE, SIZE, is_picture, made_size, picture
from gptmock.simulator.player import play
from gptmock.simulator.refusals import (
    Refusal,
    api_error,
    detail,
    invalid_type,
    invalid_value,
    missing_parameter,
    model_not_supported,
    too_long,
    unknown_parameter,
)
from gptmock.simulator.scene_refusals import usage_limit_for
from gptmock.simulator.scenes import ChosenScene, RefusalScene, UnknownSceneError, unknown_scene
from gptmock.simulator.state import SimulatorState
from gptmock.simulator.steps import Abort, Cut, Json, Pause, Raw, Step

IMAGES_PATH = "/backend-api/codex/images"
MAX_IMAGES = 5
MAX_IMAGE_CHARACTERS = 50 * 1024 * 1024 * 4 // 3
MAX_PROMPT_CHARACTERS = 32_000
_FIELDS = frozenset({"prompt", "model", "background", "n", "quality", "size"})
_WORDS = {"background": ("transparent", "opaque", "auto"), "quality": ("low", "medium", "high", "auto")}
_INVALID = "The image data you provided does not represent a valid image. Please check your input and try again."
_FREE = "free"


class Images:
    """
    Handlers of both routes.

    Args:
        state: of the simulator.
        caller: checks the access token of a request.
        scene: the scene for a call.
        refused: the response of a refusal.
    """

    def __init__(
        self,
        state: SimulatorState,
        caller: Callable[[web.Request], Any],
        scene: Callable[[Call, Any], ChosenScene],
        refused: Callable[[Refusal], web.Response],
    ) -> None:
        self._state = state
        self._caller = caller
        self._scene = scene
        self._refused = refused

    def routes(self) -> list[web.RouteDef]:
        """Both routes."""
        return [web.post(f"{IMAGES_PATH}/generations", self.generate), web.post(f"{IMAGES_PATH}/edits", self.edit)]

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Make images of a prompt."""
        return await self._answer(request, edits=False)

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Change images."""
        return await self._answer(request, edits=True)

    async def _answer(self, request: web.Request, *, edits: bool) -> web.StreamResponse:
        if not self._state.options.image_endpoint:
            return self._refused(detail("Not Found", status=404))
        self._state.image_call_count += 1
        caller = self._caller(request)
        if isinstance(caller, Refusal):
            return self._refused(caller)
        problem = request[INTAKE].problem or _first_refusal(request, edits=edits) or self._denied(caller)
        if problem is not None:
            return self._refused(problem)
        body = request[INTAKE].fields
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": body["prompt"]}]}
        call = Call(body={"input": [message]}, model=body["model"], seed=secrets.token_hex(16))
        try:
            chosen = self._scene(call, caller)
        except UnknownSceneError as error:
            return self._refused(unknown_scene(error))
        if isinstance(chosen.scene, RefusalScene):
            return self._refused(chosen.scene.refuse(call))
        headers = {"x-oai-request-id": f"req_{secrets.token_hex(16)}"}
        steps = _steps(chosen, body, call)
        return await play(request, steps, state=self._state, scene=chosen.scene.name, headers=headers)

    def _denied(self, caller: Caller) -> Refusal | None:
        if caller.identity.plan == _FREE:
            return detail("Image generation is not available on the free plan.", status=403)
        if seconds := self._state.limited_seconds(caller.identity.account_id):
            return usage_limit_for(Call(body={}, model="", created_at=int(time.time())), int(seconds) + 1)
        return None


def without_image_tool(body: Json, plan: str) -> Json:
    """The body as the backend takes it: a free plan's image tool is dropped silently."""
    tools = body.get("tools")
    if plan != _FREE or not isinstance(tools, list):
        return body
    kept = {**body, "tools": [tool for tool in tools if tool.get("type") != "image_generation"]}
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "image_generation":
        kept.pop("tool_choice")
    return kept


def _steps(chosen: ChosenScene, body: Json, call: Call) -> Iterator[Step]:
    """The pauses and breaks of a scene, with the answer in the place of its events."""
    assert not isinstance(chosen.scene, RefusalScene)  # noqa: S101 - answered before
    document = msgspec.json.encode(_document(body, call))
    parameter = chosen.parameter if chosen.scene.parameter == "seconds" else ""
    call = Call(body=call.body, model=call.model, parameter=parameter, seed=call.seed)
    if chosen.scene.ending == "cut":
        yield Raw(document[: len(document) // 2])
        yield Cut(b"") if chosen.scene.name != "abort-mid" else Abort()
        return
    if parameter:
        yield from (step for step in chosen.scene.play(call) if isinstance(step, Pause))
    yield Raw(document)


def _document(body: Json, call: Call) -> Json:
    size = body.get("size")
    width, height = made_size(None if size in (None, "auto") else size)
    images = [picture(f"{width}x{height}", seed=f"{call.seed}{number}") for number in range(body.get("n") or 1)]
    quality, background = body.get("quality") or "auto", body.get("background") or "auto"
    return {
        "created": call.created_at,
        "data": [{"b64_json": image} for image in images],
        "background": "opaque" if background == "auto" else background,
        "quality": "medium" if quality == "auto" else quality,
        "size": f"{width}x{height}",
    }


def _first_refusal(request: web.Request, *, edits: bool) -> Refusal | None:
    if request.content_type != "application/json":
        return detail(f"Unsupported content type: {request.content_type}", status=415)
    body = request[INTAKE].document
    if not isinstance(body, dict):
        return detail("Invalid JSON")
    return next(_refusals(body, edits=edits), None)


def _refusals(body: Json, *, edits: bool) -> Iterator[Refusal]:
    for name in body:
        if name not in _FIELDS and not (edits and name == "images"):
            yield unknown_parameter(name)
    yield from _prompt_refusals(body.get("prompt"))
    model, count, size = (body.get(name) for name in ("model", "n", "size"))
    if not isinstance(model, str) or not model.startswith("gpt-image-"):
        yield model_not_supported(model)
    if count is not None and (type(count) is not int or not 1 <= count <= 10):
        yield invalid_type("n", "an integer from 1 to 10", count)
    if size is not None and size != "auto" and (not isinstance(size, str) or SIZE.fullmatch(size) is None):
        yield invalid_value("size", size, ("auto", DEFAULT_SIZE))
    for name, words in _WORDS.items():
        if body.get(name) is not None and body[name] not in words:
            yield invalid_value(name, body[name], words)
    if edits:
        yield from _image_refusals(body.get("images"))


def _prompt_refusals(prompt: object) -> Iterator[Refusal]:
    if prompt is None or prompt == "":
        yield missing_parameter("prompt")
    if not isinstance(prompt, str):
        yield invalid_type("prompt", "a string", prompt)
    elif len(prompt) > MAX_PROMPT_CHARACTERS:
        yield too_long("prompt", prompt, MAX_PROMPT_CHARACTERS)


def _image_refusals(images: object) -> Iterator[Refusal]:
    if not isinstance(images, list) or not images:
        yield missing_parameter("images")
    elif len(images) > MAX_IMAGES:
        yield api_error(f"Too many images: at most {MAX_IMAGES} are taken.", code="invalid_value", param="images")
    else:
        for number, image in enumerate(images):
            path = f"images[{number}].image_url"
            if not isinstance(image, dict) or set(image) != {"image_url"}:
                yield missing_parameter(path)
            elif len(image["image_url"]) > MAX_IMAGE_CHARACTERS or not is_picture(image["image_url"]):
                yield api_error(_INVALID, code="invalid_image", param=path)
