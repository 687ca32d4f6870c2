"""
The conformance checks of the client contracts, and which tests show each: ``tests/CHECKS.md``, written by

    python -m tests.checks --write

Read from the source and not from a run, since the clients' own libraries are not installed here. A test says what it
shows with ``@pytest.mark.check(1, 2)`` at a function, a class or a parameter, or with ``pytestmark`` at a module; a
check of ``tests/clients/scripts`` begins its docstring with its numbers.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS / "CHECKS.md"
_NUMBERS = re.compile(r"\d+(?:(?:, | and )\d+)*")
_NODE_CHECK = re.compile(r"^/\*\* (?P<doc>[^*]*) \*/\nexport async function (?P<name>check\w+)\(", re.MULTILINE)
_NODE_FUNCTION = re.compile(r"^export async function (check\w+)\(", re.MULTILINE)

TITLES: Mapping[int, str] = {
    1: "chat, collected: a text, its finish reason, its id",
    2: "chat, streamed: the deltas are the text, `[DONE]` is last",
    3: "chat, streamed: one role, one finish reason, one id",
    4: "chat: what the backend refuses stays here",
    5: "chat: a tool call",
    6: "chat: the stream helper adds up two calls",
    7: "chat, streamed: each call says once who it is",
    8: "chat: a tool loop of two turns",
    9: "chat: text stands before the calls of its message",
    10: "chat: system becomes `instructions`",
    11: "chat: system in the middle becomes a developer item",
    12: "chat, streamed: usage in the last chunk",
    13: "chat, streamed: no usage unless asked for",
    14: "chat: usage and its details",
    15: "responses: output rebuilt where the final event is empty",
    16: "responses: a string as input, strict types out",
    17: "responses: the stream helper",
    18: "responses, streamed: sequence numbers and members",
    19: "ollama chat: lines, one `done`",
    20: "ollama chat: arguments are objects",
    21: "ollama chat: tool results without ids",
    22: "ollama list and show",
    23: "`GET /` and `HEAD /`",
    24: "`GET /api/version`",
    25: "`GET /v1/models`",
    26: "the upstream's `detail` becomes an OpenAI error",
    27: "a usage limit: 429, and nobody asks twice",
    28: "the upstream's 401 is not the client's",
    29: "a wrong client key",
    30: "chat: a failure in the middle of a stream",
    31: "chat: a cut stream is never a clean end",
    32: "chat: half an answer is a 502",
    33: "a failure before the first event is a status",
    34: "ollama: a cut stream ends with an error line",
    35: "responses: `error`, then `response.failed`",
    36: "a client that leaves takes its upstream call along",
    37: "any split of the bytes, any separator in the text",
    38: "an answer without deltas",
    39: "an answer that is told twice comes once",
    40: "stopped at a limit",
    41: "structured output: parsed",
    42: "`json_object` and the word that the backend wants",
    43: "ollama: `format`",
    44: "a named tool choice",
    45: "any tool choice",
    46: "every form of tool choice",
    47: "`strict` and missing parameters of tools",
    48: "parallel calls",
    49: "no tools, and tools byte by byte",
    50: "functions of the legacy kind",
    51: "images",
    52: "files",
    53: "audio is refused",
    54: "`n`",
    55: "a refusal",
    56: "thinking as `reasoning_content`",
    57: "thinking in tags, and hidden",
    58: "ollama: `think`",
    59: "annotations of a web search",
    60: "LangChain: nothing is doubled",
    61: "LangChain: a model named codex",
    62: "openai-agents: a tool, by responses",
    63: "openai-agents: a tool, by chat",
    64: "pydantic-ai: a model by chat",
    65: "responses: events of the vendor do not come first",
    66: "responses: every item has an id",
    67: "responses: the created response; contiguous indexes",
    68: "responses: a part is added before its text",
    69: "responses: finished arguments carry the name",
    70: "responses: easy messages",
    71: "responses: reasoning items in the input",
    72: "responses: encrypted reasoning is asked for",
    73: "responses: the echo is the client's own request",
    74: "responses: what is refused, and what is echoed",
    75: "responses: an unknown `previous_response_id`",
    76: "responses: two turns by `previous_response_id`",
    77: "responses: the same across two servers",
    78: "responses: a tool loop by `previous_response_id`",
    79: "responses: another tenant's id",
    80: "responses: get, list, delete; `store: false`",
    81: "responses: `item_reference`",
    82: "an unknown model",
    83: "an unknown route, a wrong method",
    84: "bad input",
    85: "`x-request-id`",
    86: "overload and bursts",
    87: "web pages stay outside",
    88: "embeddings are refused once",
    89: "a silent upstream",
    90: "headers of streams",
    91: "CORS",
    92: "compressed and large bodies",
    93: "paths: without `/v1`, doubled and trailing slashes",
    94: "names of models in `show`",
    95: "ollama: times and counts",
    96: "langchain-ollama: tools",
    97: "ollama: load and unload",
    98: "ollama: generate",
    99: "ollama: pull, and what manages models",
    100: "completions: one prompt and many",
    101: "completions: echo, suffix and the rest",
    102: "LangChain's `OpenAI`: a batch",
    103: "long names and ids of tools",
    104: "orphans of tools",
    105: "custom tools",
    106: "effort of reasoning",
    107: "service tier",
    108: "the cache key",
    109: "nothing empty, nothing strange in a chunk",
    110: "the content filter",
    111: "arguments cut at a limit",
    112: "many at once",
    113: "models in the shape of Codex",
    114: "headers of a shared account",
    115: "cancel, compact, input tokens",
    116: "`x-gptmock-ignored` and strict parameters",
    117: "messages: the stream",
    118: "messages: two turns",
    119: "messages: errors",
    120: "no prefix of a stream is a success",
    200: "Claude Code answers a prompt",
    201: "Claude Code reads a file and goes on",
    202: "messages: an image in a tool result",
    203: "messages: parallel calls, results in any order",
    204: "messages: web search, with links",
    205: "Claude Code: sub-agents have conversations of their own",
    206: "messages: structured output",
    207: "messages: thinking comes back as the same encrypted content",
    208: "Claude Code: 429, then success",
    209: "Claude Code: `login_required` is shown after one request",
    210: "messages: a prompt that is too long says both numbers",
    211: "Claude Code: a cut, then `stream: false`",
    212: "anthropic for Python",
    213: "@anthropic-ai/sdk",
    214: "langchain-anthropic",
    215: "@ai-sdk/anthropic",
    216: "pydantic-ai: a model by messages",
    217: "litellm: a model by messages",
    218: "messages: no attribution upstream, one cache key for an agent",
    219: "messages: a string and a list give the same bytes",
    220: "messages: every block",
    221: "messages: results of calls",
    222: "messages: foreign signatures are left out",
    223: "messages: every tool choice",
    224: "messages: effort",
    225: "messages: stop sequences over deltas",
    226: "messages: a refusal",
    227: "messages: stopped at a limit",
    228: "messages: interleaved items",
    229: "messages: one stop for each block",
    230: "messages: ping in silence",
    231: "messages: usage adds up",
    232: "messages: names of Claude models",
    233: "messages: keys",
    234: "messages: server tools are refused by name",
    235: "counts are near the recorded numbers",
    236: "messages: documents",
    237: "messages: the laws hold",
    238: "messages: bad bodies cost no upstream call",
    240: "WebSocket: Codex, two turns with a tool call",
    241: "WebSocket: lanes",
    242: "WebSocket: a response of the connection is continued",
    243: "WebSocket: a stored response is continued",
    244: "WebSocket: an unknown response",
    245: "WebSocket: what is no turn",
    246: "WebSocket: a client that goes",
    247: "WebSocket: a server that stops",
    248: "WebSocket: an old connection",
    249: "WebSocket: compressed messages",
    250: "WebSocket: a key revoked while connected",
    251: "WebSocket: 500 idle connections",
    252: "WebSocket: origins",
    253: "upstream: the second turn sends only what is new",
    254: "upstream: a connection lost before and after the first event",
    255: "upstream: a handshake that fails is no answer",
    256: "upstream: ages, idle times and counts of connections",
    257: "upstream: the same frames over HTTP and WebSocket",
    260: "images: openai for Python and Node",
    261: "images: `n`",
    262: "images: bad, cut and oversized ones cost nothing",
    263: "images: by the hosted tool",
    264: "images in answers of chat, Responses and Ollama",
    270: "signed-in Codex: `openai_base_url`, a turn, compaction",
    271: "signed-in Codex: paths of the backend that are not here",
    272: "signed-in Codex: nothing of theirs goes up, nothing of ours comes down",
    280: "transcription: the shapes of the answer, openai for Python",
    281: "transcription: what cannot be transcribed costs nothing",
    300: "`HEAD /api/hello`",
    301: "messages: deferred tools",
    302: "messages: tools added and removed in the middle",
    303: "messages: the prefix stays the same over ten turns",
    304: "messages: `clear_at`",
    305: "Claude Code: 401 and 403 are not repeated",
    306: "messages: unknown betas and keys",
    307: "messages: what the upstream refuses is a status",
    308: "messages: a 400 costs no upstream call",
    309: "25 counts at once",
    310: "Claude Code: discovery of models",
    311: "`launch claude` sets the window",
    312: "messages: an empty summary is signed",
    313: "messages: every event and block is known to the AI SDK",
    314: "messages: a long turn without a stream",
    315: "messages: server tools in the history",
    316: "messages: `mcp_servers`",
    317: "messages: endpoints that are not here",
    318: "messages: the model's name is the one asked for",
    320: "WebSocket: an error has a status",
    321: "WebSocket: Codex shows 429 and 503 at once",
    322: "WebSocket: a warm-up is no turn",
    323: "WebSocket: steering is refused",
    324: "WebSocket: the SDKs",
    325: "WebSocket: silence",
    326: "WebSocket and HTTP tell the same",
    327: "WebSocket: nothing of the transport goes upstream",
    328: "WebSocket: opencode",
    330: "upstream: a message of 16 MiB goes by HTTP",
    331: "upstream: what does not continue the response is sent whole",
    332: "upstream: 401, 403 and 429 at the handshake are answers",
    333: "upstream: an unknown previous response",
    334: "upstream: request bodies in zstd",
    335: "upstream: three failures, then HTTP for ten minutes",
    336: "upstream: a connection serves one conversation of one account",
    340: "images: a plan without them",
    341: "images: what cannot be honoured costs nothing",
    342: "a stored response with a large image",
    343: "images: heartbeats while one is made",
    350: "signed-in Codex: 403 with the lines to configure, and no call to its issuer",
    351: "signed-in Codex: a key beside its own login",
    352: "signed-in Codex: `chatgpt_base_url` over https",
    353: "signed-in Codex: `accounts/check`",
    354: "signed-in Codex: `wham/usage`",
    355: "signed-in Codex: a model that our catalogue lacks",
    356: "service tiers come from the catalogue",
    357: "`x-gptmock-ignored` names what a request type knows and nobody here honours",
    358: "Codex: silence of the upstream does not end a turn",
    360: "transcription: the provider's bot protection",
    361: "`input_tokens`",
    362: "counts of texts in five scripts, with and without the extra",
    363: "a worker that never counts loads no table",
}
"""The checks by number: client contracts, section 8, and next doors, section G."""


def script_checks(script: Path) -> dict[str, tuple[int, ...]]:
    """
    The checks of a script for Python or Node, with the numbers at the beginning of their docstrings.

    Raises:
        ValueError: a check names no number.
    """
    source = script.read_text(encoding="utf-8")
    if script.suffix == ".mjs":
        said = {match["name"]: match["doc"] for match in _NODE_CHECK.finditer(source)}
        said = {name: said.get(name, "") for name in _NODE_FUNCTION.findall(source)}
    else:
        functions = [node for node in ast.parse(source).body if isinstance(node, _FUNCTION)]
        said = {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("check_")}
    return {name: _numbers(f"{script.name}::{name}", doc) for name, doc in said.items()}


def module_checks(module: Path) -> dict[str, tuple[int, ...]]:
    """
    The tests of a module by name, with the numbers of their marks; a test without marks is left out.

    Raises:
        ValueError: a mark has something else than numbers.
    """
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    everywhere = [node.value for node in assigned if ast.unparse(node.targets[0]) == "pytestmark"]
    return {name: numbers for name, marks in _tests(tree, everywhere) if (numbers := _marked(module, marks))}


def all_checks() -> dict[int, list[str]]:
    """The tests that show each check, by number; the scripts of clients among them."""
    shown: defaultdict[int, list[str]] = defaultdict(list)
    scripts = TESTS / "clients" / "scripts"
    read = {module: module_checks(module) for module in sorted(TESTS.rglob("test_*.py"))}
    read |= {script: script_checks(script) for script in sorted([*scripts.glob("*.py"), *scripts.glob("*.mjs")])}
    for file, found in read.items():
        for name, numbers in found.items():
            for number in numbers:
                shown[number].append(f"{file.relative_to(TESTS)}::{name}")
    return dict(shown)


def table(shown: Mapping[int, Sequence[str]]) -> str:
    """The table as it stands in ``CHECKS.md``."""
    lines = [
        "# Conformance checks",
        "",
        "Which test shows which check of the client contracts. Written by `python -m tests.checks --write`; a test",
        "fails when it is out of date, or when a check has no test.",
        "",
        "| check | what | tests |",
        "|---|---|---|",
    ]
    for number, title in TITLES.items():
        tests = [f"`{name}`" for name in shown.get(number, ())]
        lines.append(f"| {number} | {title} | {'<br>'.join(tests)} |")
    return "\n".join(lines) + "\n"


_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def _tests(body: ast.Module | ast.ClassDef, marks: list[ast.expr]) -> Iterator[tuple[str, list[ast.expr]]]:
    """What pytest collects here: names, with all decorators that hold for them."""
    for node in body.body:
        if isinstance(node, _FUNCTION) and node.name.startswith("test_"):
            yield node.name, [*marks, *node.decorator_list]
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for name, inner in _tests(node, [*marks, *node.decorator_list]):
                yield f"{node.name}::{name}", inner


def _marked(module: Path, marks: Iterable[ast.expr]) -> tuple[int, ...]:
    numbers: dict[int, None] = {}
    calls = [node for mark in marks for node in ast.walk(mark) if isinstance(node, ast.Call)]
    for call in calls:
        if ast.unparse(call.func) != "pytest.mark.check":
            continue
        for argument in call.args:
            number = argument.value if isinstance(argument, ast.Constant) else None
            if type(number) is not int or number not in TITLES:
                raise ValueError(f"{module}:{call.lineno}: no number of a check: {ast.unparse(argument)}")
            numbers[number] = None
    return tuple(numbers)


def _numbers(name: str, doc: str) -> tuple[int, ...]:
    found = _NUMBERS.match(doc)
    numbers = tuple(int(number) for number in re.findall(r"\d+", found[0])) if found else ()
    if not numbers or not set(numbers) <= TITLES.keys():
        raise ValueError(f"{name}: its docstring does not begin with the numbers of the checks that it shows: {doc!r}")
    return numbers


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    TABLE.write_text(table(all_checks()), encoding="utf-8")
