"""Valid requests to the simulator."""

import ssl
from typing import Any

from gptmock.simulator.accounts import IssuedLogin

RESPONSES = "/backend-api/codex/responses"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
CLOCK = {**WEATHER, "name": "get_time"}


def headers_of(login: IssuedLogin) -> dict[str, str]:
    return {"authorization": f"Bearer {login.access_token}", "chatgpt-account-id": login.account_id}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def body(text: str = "hello", /, **changes: Any) -> dict[str, Any]:
    base = {
        "model": "gpt-5.5",
        "instructions": "Be brief.",
        "input": [user(text)],
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def no_tls() -> ssl.SSLContext:
    """A context without certificates: reading them takes longer than most tests here."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
