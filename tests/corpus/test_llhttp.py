"""The same against llhttp, the parser of Node, in its strict mode: a head that is accepted here is accepted there."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gptmock.server.request_head import END, refusal
from tests.corpus.cases import cases
from tests.timing import generous

_SCRIPT = Path(__file__).with_name("llhttp.mjs")
_UNKNOWN_METHODS = (b"head ",)
"""Valid, but llhttp knows a list of methods only."""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_what_is_accepted_is_accepted_by_llhttp():
    inputs = {case.name: case.octets("sends") for case in [*cases("raw_http"), *cases("headers")]}
    done = subprocess.run(
        ["node", _SCRIPT],
        input=json.dumps([base64.b64encode(data).decode() for data in inputs.values()]),
        capture_output=True,
        text=True,
        timeout=generous(20.0),
        check=True,
    )
    heads = dict(zip(inputs, json.loads(done.stdout), strict=True))
    accepted = [
        name
        for name, data in inputs.items()
        if END in data and refusal(data[: data.index(END) + len(END)]) is None and not data.startswith(_UNKNOWN_METHODS)
    ]
    assert len(accepted) > 50
    assert [name for name in accepted if heads[name] == 0] == []
