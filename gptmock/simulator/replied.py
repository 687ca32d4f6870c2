"""The ``response`` object of created, in_progress and terminal events, as recorded in July 2026. Pure."""

from typing import Any

import msgspec

from gptmock.simulator.call import Call
from gptmock.simulator.steps import Json

IMAGE_TOKENS = 1056
"""Of an image of medium quality."""
PROMPT_TOKENS = 11
CACHE_BLOCK_TOKENS = 128
CACHE_FLOOR_TOKENS = 1024


def response_document(call: Call, *, status: str, searches: int = 0, images: int = 0, **changes: Any) -> Json:
    """The complete response object: members of the request are repeated, all others have the backend's defaults."""
    ended = status in {"completed", "incomplete", "failed"}
    body = call.body
    document: Json = {
        "id": call.identify("resp", 0),
        "object": "response",
        "created_at": call.created_at,
        "status": status,
        "background": False,
        "completed_at": call.created_at + 1 if status == "completed" else None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": call.model,
        "moderation": None,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key") or call.digest("cache")[:32],
        "prompt_cache_retention": "24h",
        "reasoning": _reasoning_echo(call),
        "safety_identifier": f"user-{call.digest('user')[:24]}",
        "service_tier": (body.get("service_tier") or "default") if ended else "auto",
        "store": False,
        "temperature": 1.0,
        "text": _text_echo(call),
        "tool_choice": call.tool_choice,
        "tool_usage": _tool_usage(searches, images),
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": 0.98,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }
    return {**document, **changes}


def usage_document(call: Call, *, written: int, thought: int) -> Json:
    """Estimated token counts: a quarter of the characters; long prompts are cached in blocks of 128 tokens."""
    asked = [call.body.get(key) for key in ("instructions", "input", "tools")]
    given = max(1, len(msgspec.json.encode(asked)) // 4)
    cached = given // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS if given >= CACHE_FLOOR_TOKENS else 0
    output = max(1, -(-written // 4))
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": min(output, -(-thought // 4))},
        "total_tokens": given + output,
    }


def _reasoning_echo(call: Call) -> Json:
    given = call.body.get("reasoning") or {}
    summary = "detailed" if call.summary == "auto" else call.summary
    context = given.get("context") or "current_turn"
    return {"context": context, "effort": call.effort, "mode": "standard", "summary": summary}


def _text_echo(call: Call) -> Json:
    """``text``: like the backend, without ``$schema`` and with defaults for absent members."""
    shape = dict(call.text_format)
    if shape["type"] == "json_schema":
        schema = {key: value for key, value in (shape.get("schema") or {}).items() if key != "$schema"}
        shape = {"description": None, "strict": True, **shape, "schema": schema}
    return {"format": shape, "verbosity": (call.body.get("text") or {}).get("verbosity") or "medium"}


def _tool_usage(searches: int, images: int) -> Json:
    given, made = PROMPT_TOKENS * images, IMAGE_TOKENS * images
    image = {
        "input_tokens": given,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": given},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": given + made,
    }
    return {"image_gen": image, "web_search": {"num_requests": searches}}
