"""
Newline-delimited JSON: one object for each line. Must not know what the objects say.

No line may be empty: ollama-python parses each of them, and Zed stops reading. So there is no heartbeat that every
reply could share; a sign of life is a line like any other.
"""

from __future__ import annotations

NDJSON = "application/x-ndjson"


def ndjson_line(data: bytes) -> bytes:
    """
    One object as a line.

    Args:
        data: JSON without line breaks, as encoders write it.
    """
    return data + b"\n"
