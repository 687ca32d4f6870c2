"""Decodes the form of a transcription, and makes the form that the backend takes. Source: next doors E."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gptmock.catalog import ResolvedModel
from gptmock.dialects.bodies import Body
from gptmock.dialects.dialect import Call, Terms, Turn
from gptmock.dialects.forms import Form
from gptmock.dialects.responses.reply import ResponsesReply
from gptmock.dialects.responses.response_object import ResponsesOptions
from gptmock.dialects.transcription.recordings import kind_of
from gptmock.errors import BadRequest, BodyTooLarge
from gptmock.protocol.request import TRANSCRIPTION_PATH, ResponsesRequest, SideCall

MODELS = ("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1")
"""The backend has one model and names none; the first is the one that is counted."""
MAX_FILE_BYTES = 25 * 1024 * 1024
_FORMATS = ("json", "text")
_TAKEN = frozenset({"model", "prompt", "response_format", "stream"})
_REFUSED = frozenset({"timestamp_granularities", "timestamp_granularities[]"})
"""Without effect they would be missing in the answer."""
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), 127])


class TranscriptionBody(Body):
    """What to transcribe; a multipart form alone, whose ``file`` is the recording."""

    model: str | None = None
    prompt: str | None = None
    response_format: str | None = None
    stream: bool | None = None
    language: str | None = None


TRANSCRIPTION_FORM: Mapping[str, Any] = MappingProxyType(
    {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "model": {"type": "string", "enum": [*MODELS]},
            "prompt": {"type": "string"},
            "response_format": {"type": "string", "enum": [*_FORMATS]},
            "stream": {"type": "boolean"},
        },
    }
)
"""The JSON schema of the form (OpenAPI 3.1)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The shape of the answer."""

    response_format: str = "json"
    stream: bool = False


def wanted_of(call: Call) -> Wanted:
    """
    The shape that a request asks for.

    Raises:
        BadRequest: it is no form, or asks for a shape that the backend cannot fill.
    """
    fields = dict(_form_of(call).fields)
    given = fields.get("response_format", "json")
    if given not in _FORMATS:
        raise BadRequest(
            "'response_format' must be json or text: the ChatGPT backend tells the text alone.", param="response_format"
        )
    stream = _FLAGS.get(fields.get("stream", "false").strip().lower())
    if stream is None:
        raise BadRequest("'stream' must be true or false.", param="stream")
    return Wanted(given, stream)


def decode_transcription(call: Call, terms: Terms) -> Turn:
    """
    Decode a request.

    Raises:
        BadRequest: with the field at fault.
        BodyTooLarge: the recording is larger than ``MAX_FILE_BYTES``.
    """
    form = _form_of(call)
    fields = dict(form.fields)
    model = fields.get("model") or MODELS[0]
    if model not in MODELS:
        raise BadRequest(f"'model' must be one of {', '.join(MODELS)}.", param="model", code="model_not_found")
    for name in fields:
        if name in _REFUSED:
            raise BadRequest(f"'{name}' is not available: the ChatGPT backend tells the text alone.", param=name)
    ignored = tuple(name for name in fields if name not in _TAKEN)
    if ignored and terms.defaults.strict_parameters:
        raise BadRequest(f"'{ignored[0]}' has no effect.", param=ignored[0])
    request = ResponsesRequest(
        model=MODELS[0],
        input=[],
        prompt_cache_key=TRANSCRIPTION_PATH,
        side=_backend_form(_recording(form), fields.get("prompt")),
    )
    return Turn(
        request=request,
        resolved=ResolvedModel(MODELS[0], None, fast=False, spec=None),
        model=model,
        stream=False,
        reply=ResponsesReply(ResponsesOptions(model=model)),
        ignored=ignored,
    )


def _form_of(call: Call) -> Form:
    if call.form is None:
        raise BadRequest("Send a multipart form with the recording as 'file'.", param="file", code="invalid_form")
    return call.form


def _recording(form: Form) -> bytes:
    files = [file.data for file in form.files if file.name == "file"]
    if len(files) != 1:
        raise BadRequest("Send one recording, as the file 'file' of the form.", param="file")
    if len(files[0]) > MAX_FILE_BYTES:
        raise BodyTooLarge("A recording may have at most 25 MiB.", param="file")
    return files[0]


def _backend_form(data: bytes, prompt: str | None) -> SideCall:
    kind = kind_of(data)
    if kind is None:
        raise BadRequest(
            "'file' is no recording that can be transcribed: send mp3, mp4, m4a, wav, webm, ogg or flac.",
            param="file",
            code="invalid_audio",
        )
    # A digest of the data does not stand within it. The client's file name stays here.
    boundary = f"gptmock-{hashlib.sha256(data).hexdigest()}".encode()
    head = f'form-data; name="file"; filename="recording.{kind.suffix}"\r\nContent-Type: {kind.content_type}'
    parts = [(head.encode(), data)]
    if prompt:
        parts.append((b'form-data; name="prompt"', prompt.translate(_CONTROLS).encode("utf-8", "replace")))
    body = b"".join(b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (boundary, name, value) for name, value in parts)
    return SideCall(
        path=TRANSCRIPTION_PATH,
        body=b"%b--%b--\r\n" % (body, boundary),
        content_type=f"multipart/form-data; boundary={boundary.decode()}",
    )
