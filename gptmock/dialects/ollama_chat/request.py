"""Decodes the body of ``POST /api/chat`` (client contracts 5.3)."""

from __future__ import annotations

from gptmock.dialects.dialect import Call, ReadyReply, Terms, Turn
from gptmock.dialects.ollama.bodies import read_body, required_model
from gptmock.dialects.ollama.line_encoder import MESSAGE
from gptmock.dialects.ollama.parameters import ignored_parameters
from gptmock.dialects.ollama.request import OllamaInput, load_reply, turn_of
from gptmock.dialects.ollama_chat.messages import decode_messages
from gptmock.dialects.ollama_chat.types import OllamaChatBody
from gptmock.errors import BadRequest

SHAPE = MESSAGE


def decode(call: Call, terms: Terms) -> Turn | ReadyReply:
    """
    Decode a chat request: to a ``Turn``, or to a ``ReadyReply`` for a load or unload request.

    Raises:
        BadRequest: with the field at fault in ``param``.
        UnknownModel: the model to load does not exist.
    """
    body = read_body(call.body, OllamaChatBody)
    required_model(body.model)
    if not body.messages:
        return load_reply(terms, body, SHAPE)
    ignored = ignored_parameters(body, (), strict=terms.defaults.strict_parameters)
    conversation = decode_messages(body.messages, body.images)
    if not conversation.items:
        raise BadRequest("The messages hold nothing to answer: all of them are empty.", param="messages")
    asked = OllamaInput(conversation.instructions, conversation.items, tuple(body.tools or ()), ignored)
    return turn_of(call, terms, body, asked, SHAPE)
