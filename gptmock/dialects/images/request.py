"""Decodes the bodies of both routes: one upstream request for each image (next doors C.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gptmock.catalog import IMAGE_MODEL, ModelSpec, ResolvedModel
from gptmock.dialects.bodies import decode_body, validate
from gptmock.dialects.conversation_key import conversation_key
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.forms import Form
from gptmock.dialects.images.parameters import EDIT_RULES, RULES, Picture, count_of, picture_of, wants_url
from gptmock.dialects.images.pictures import form_image_urls, is_image_field, json_image_urls
from gptmock.dialects.images.reply import ImageReply
from gptmock.dialects.images.types import EditBody, ImageBody
from gptmock.dialects.images.wire import ImageOptions
from gptmock.dialects.model_options import reasoning_options
from gptmock.dialects.parameters import Rule, judge, unknown_members
from gptmock.protocol.request import Content, ImageTurn, InputImage, InputItem, InputText, Message, ResponsesRequest

INSTRUCTIONS = (
    "Call the image_generation tool once. Its prompt is the text of the user, unchanged. If there are images, they are "
    "what the text asks to change. Write nothing else."
)
"""For the model that calls the tool; the endpoint for images has none."""
_NUMBERS = frozenset({"n", "partial_images", "output_compression"})
_WORDS = {"true": True, "false": False}


def decode_generation(call: Call, terms: Terms) -> Turn:
    """
    Decode the body of ``/v1/images/generations``.

    Raises:
        BadRequest: with the parameter at fault.
    """
    body = decode_body(call.body, ImageBody)
    ignored = _judged(body, RULES, terms)
    return _turn(call, terms, body, picture_of(body), ignored)


def decode_edit(call: Call, terms: Terms) -> Turn:
    """
    Decode the body of ``/v1/images/edits``, a form or JSON.

    Raises:
        BadRequest: with the parameter at fault; also for an image that is not one.
    """
    form = call.form
    body = decode_body(call.body, EditBody) if form is None else validate(_members(form), EditBody)
    ignored = _judged(body, EDIT_RULES, terms)
    # The cheap checks come first: images may be many megabytes.
    picture = picture_of(body)
    if form is None:
        urls = json_image_urls(body.images)
    else:
        urls = form_image_urls([file for file in form.files if is_image_field(file.name)])
    return _turn(call, terms, body, replace(picture, image_urls=tuple(urls)), ignored)


def _judged(body: ImageBody, rules: tuple[Rule, ...], terms: Terms) -> tuple[str, ...]:
    applying = [rule for rule in rules if not (rule.name == "partial_images" and body.stream)]
    ignored = judge(body, applying, strict=terms.defaults.strict_parameters)
    return (*ignored, *unknown_members(body))


def _members(form: Form) -> dict[str, Any]:
    """The fields of a form as the members of a JSON body; files of other names are members too, to be judged."""
    members: dict[str, Any] = {file.name: file.filename for file in form.files if not is_image_field(file.name)}
    for name, text in form.fields:
        if name in _NUMBERS and text.isdecimal() and text.isascii() and len(text) <= len("100"):
            members[name] = int(text)
        elif name == "stream":
            members[name] = _WORDS.get(text.strip().lower(), text)
        else:
            members[name] = text
    return members


def _turn(call: Call, terms: Terms, body: ImageBody, picture: Picture, ignored: tuple[str, ...]) -> Turn:
    request = _request(call, terms, picture)
    options = ImageOptions(
        prefix="image_edit" if picture.image_urls else "image_generation",
        size=picture.size or "auto",
        quality=picture.quality or "auto",
        background=picture.background or "auto",
        output_format=picture.output_format or "png",
        as_url=wants_url(body),
        shows_partial=picture.partial_images > 0,
        further=(request,) * (count_of(body) - 1),
    )
    return Turn(
        request=request,
        resolved=ResolvedModel(IMAGE_MODEL, None, fast=False, spec=None),
        model=body.model or IMAGE_MODEL,
        stream=bool(body.stream),
        reply=ImageReply(options),
        ignored=ignored,
    )


def _request(call: Call, terms: Terms, picture: Picture) -> ResponsesRequest:
    """The turn by which a model makes the image, and the endpoint's request in it."""
    spec = _drawing_model(terms)
    content: list[Content] = [InputText(picture.prompt), *map(InputImage, picture.image_urls)]
    items: list[InputItem] = [Message("user", content)]
    return ResponsesRequest(
        model=spec.slug,
        instructions=INSTRUCTIONS,
        input=items,
        tools=[picture.tool],
        tool_choice={"type": "image_generation"},
        parallel_tool_calls=False,
        reasoning=reasoning_options("low", "none", spec, shown=False),
        prompt_cache_key=conversation_key(call, None, instructions=INSTRUCTIONS, tools=[picture.tool], items=items),
        image=ImageTurn(picture.endpoint),
    )


def _drawing_model(terms: Terms) -> ModelSpec:
    """The account's first model that knows images."""
    return next((spec for spec in terms.catalog.living if "image" in spec.input_modalities), terms.catalog.default)
