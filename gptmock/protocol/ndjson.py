"""
Newline-delimited JSON (NDJSON): one object per line. Must not know the content of the objects.

No line may be empty: ollama-python parses every line, and Zed stops reading at an empty one. So there is no generic
heartbeat; a dialect sends a normal object without text instead.
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
