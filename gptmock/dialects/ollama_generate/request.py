"""Decodes the body of ``POST /api/generate`` (client contracts 5.6)."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.infill import fill_in_the_middle_items
from gptmock.dialects.ollama.bodies import read_body, required_model
from gptmock.dialects.ollama.line_encoder import RESPONSE
from gptmock.dialects.ollama.parameters import ignored_parameters
from gptmock.dialects.ollama.request import OllamaInput, load_reply, turn_of, user_content
from gptmock.dialects.ollama_generate.types import OllamaGenerateBody
from gptmock.dialects.parameters import Fate, Rule
from gptmock.errors import BadRequest
from gptmock.protocol.request import InputItem, Message

SHAPE = RESPONSE

RULES: tuple[Rule, ...] = (
    Rule("template", Fate.IGNORE, "the model has its own", lambda template: not template),
    Rule("context", Fate.IGNORE, "tokens of other models mean nothing to the upstream", lambda tokens: not tokens),
)


def decode(call: Call, terms: Terms) -> Turn | ReadyReply:
    """
    Decode a generate request: to a ``Turn``, or to a ``ReadyReply`` for a load or unload request.

    Raises:
        BadRequest: with the field at fault in ``param``.
        UnknownModel: the model to load does not exist.
    """
    body = read_body(call.body, OllamaGenerateBody)
    required_model(body.model)
    if body.raw and (body.template or body.system or body.context):
        raise BadRequest("raw mode does not support template, system, or context", param="raw")
    if not body.prompt and not body.suffix:
        return load_reply(terms, body, SHAPE)
    ignored = ignored_parameters(body, RULES, strict=terms.defaults.strict_parameters)
    asked = OllamaInput(body.system or "", _items(body), ignored=ignored)
    return turn_of(call, terms, body, asked, SHAPE)


def _items(body: OllamaGenerateBody) -> list[InputItem]:
    prompt = body.prompt or ""
    images = user_content("", body.images, within="")
    if body.suffix:
        items = fill_in_the_middle_items(prompt, body.suffix)
        return [*items, Message("user", images)] if images else items
    return [Message("user", [*user_content(prompt, None, within=""), *images])]
