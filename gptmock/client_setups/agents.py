"""Coding agents that ``gptmock launch`` starts: the words, arguments and files of each. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gptmock.client_setups.setup import (
    KEY,
    KEY_VARIABLE,
    NO_KEY,
    ClientSetup,
    Configuration,
    Edit,
    Item,
    SettingsOption,
    Snippet,
    Start,
    Target,
    toml_text,
)

PROVIDER = "gptmock"
"""The name of the provider in the clients' configurations."""
LAUNCH_PROVIDER = "gptmock-launch"
"""For one run of Codex: its arguments are merged with a provider of the same name in the user's configuration."""
OUTPUT_TOKENS = 128_000
"""What the models can answer with at most."""
CLAUDE_SWITCHES = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_GATEWAY",
)
"""Variables that make Claude Code use another provider and ignore ``ANTHROPIC_BASE_URL`` (seen with 2.1.332)."""


def claude_environment(target: Target) -> dict[str, str]:
    """
    The variables of Claude Code, without its credentials.

    The window is told because Claude Code otherwise assumes one of 1,000,000 tokens (next doors A.7).
    """
    return {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_MODEL": target.model.name,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": target.model.name,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": target.model.name,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": target.small_model,
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(target.model.context_tokens),
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }


def _claude_start(target: Target) -> Start:
    """
    Variables, and the same as ``--settings``: the ``env`` of a user's own ``settings.json`` has precedence over
    variables (seen with 2.1.332), and ``--settings`` over both. The key is not among the arguments, which every process
    can read: an empty token there ends one of the user's settings, and the helper reads the key from its variable.
    """
    key = {"ANTHROPIC_AUTH_TOKEN": KEY, KEY_VARIABLE: KEY} if target.needs_key else {"ANTHROPIC_AUTH_TOKEN": NO_KEY}
    shown = {
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_AUTH_TOKEN": "" if target.needs_key else NO_KEY,
        **dict.fromkeys(CLAUDE_SWITCHES, ""),
    }
    helper = {"apiKeyHelper": f"printenv {KEY_VARIABLE}"} if target.needs_key else {}
    return Start(
        environment={**claude_environment(target), **key},
        without=("ANTHROPIC_API_KEY",),
        switches=CLAUDE_SWITCHES,
        settings=SettingsOption("--settings", {"env": {**claude_environment(target), **shown}, **helper}),
    )


def _claude_configuration(target: Target) -> Configuration:
    """
    A key or token of the user's would have precedence over the helper, so these are emptied; so are the switches to
    other providers, which may also be among the variables of a shell.
    """
    told = {**claude_environment(target), **dict.fromkeys(CLAUDE_SWITCHES, "")}
    edits = [Edit(("env", name), value) for name, value in told.items()]
    if target.needs_key:
        edits += [Edit(("env", name), "") for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")]
        edits.append(Edit(("apiKeyHelper",), f"printenv {KEY_VARIABLE}"))
    else:
        edits.append(Edit(("env", "ANTHROPIC_AUTH_TOKEN"), NO_KEY))
    return Configuration(folder=".claude", names=("settings.json",), edits=tuple(edits), variable="CLAUDE_CONFIG_DIR")


def _codex_edits(target: Target, name: str = PROVIDER) -> tuple[Edit, ...]:
    provider = ("model_providers", name)
    edits = (
        Edit(("model",), target.model.name),
        Edit(("model_provider",), name),
        Edit(("model_context_window",), target.model.context_tokens),
        Edit((*provider, "name"), name),
        Edit((*provider, "base_url"), target.openai_url),
        Edit((*provider, "wire_api"), "responses"),
    )
    return (*edits, Edit((*provider, "env_key"), KEY_VARIABLE)) if target.needs_key else edits


def _codex_start(target: Target) -> Start:
    """By ``-c`` only: a value is parsed as TOML, and holds for this run."""
    given = [f"{_dotted(edit)}={json.dumps(edit.value)}" for edit in _codex_edits(target, LAUNCH_PROVIDER)]
    return Start(
        environment={KEY_VARIABLE: KEY} if target.needs_key else {},
        arguments=tuple(word for value in given for word in ("-c", value)),
    )


def _dotted(edit: Edit) -> str:
    return ".".join(part for part in edit.path if isinstance(part, str))


def _codex_configuration(target: Target) -> Configuration:
    return Configuration(
        folder=".codex", names=("config.toml",), edits=_codex_edits(target), format="toml", variable="CODEX_HOME"
    )


def _codex_signed_in(target: Target) -> Sequence[Snippet]:
    """For a Codex that stays signed in with its user's own account; a key travels beside its login (next doors D.1)."""
    edits: tuple[Edit, ...] = (Edit(("openai_base_url",), target.openai_url),)
    if target.needs_key:
        provider = ("model_providers", PROVIDER)
        edits = (
            Edit(("model_provider",), PROVIDER),
            Edit((*provider, "name"), PROVIDER),
            Edit((*provider, "base_url"), target.openai_url),
            Edit((*provider, "wire_api"), "responses"),
            Edit((*provider, "requires_openai_auth"), True),
            Edit((*provider, "env_http_headers", "x-api-key"), KEY_VARIABLE),
        )
    return [Snippet("~/.codex/config.toml, if you stay signed in with your own account", "toml", toml_text(edits))]


def _opencode_edits(target: Target) -> tuple[Edit, ...]:
    options = {"baseURL": target.openai_url, "apiKey": f"{{env:{KEY_VARIABLE}}}" if target.needs_key else NO_KEY}
    model = {
        "name": target.model.name,
        "limit": {"context": target.model.context_tokens, "output": OUTPUT_TOKENS},
        "attachment": True,
        "reasoning": True,
        "tool_call": True,
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": PROVIDER,
        "options": options,
        "models": {target.model.name: model},
    }
    return (
        Edit(("$schema",), "https://opencode.ai/config.json"),
        Edit(("provider", PROVIDER), provider),
        Edit(("model",), f"{PROVIDER}/{target.model.name}"),
    )


def _opencode_configuration(target: Target) -> Configuration:
    return Configuration(
        folder=".config/opencode",
        names=("opencode.json", "opencode.jsonc"),
        edits=_opencode_edits(target),
        variable="XDG_CONFIG_HOME",
        below="opencode",
    )


def _opencode_start(target: Target) -> Start:
    """Its inline configuration is merged over the files, and holds for this run."""
    content = json.dumps(json.loads(_opencode_configuration(target).text))
    return Start(
        environment={"OPENCODE_CONFIG_CONTENT": content, **({KEY_VARIABLE: KEY} if target.needs_key else {})},
    )


def _droid_configuration(target: Target) -> Configuration:
    label = f"{target.model.name} [{PROVIDER}]"
    model = {
        "model": target.model.name,
        "id": f"custom:{PROVIDER}",
        "displayName": label,
        "baseUrl": target.openai_url,
        "apiKey": f"${{{KEY_VARIABLE}}}" if target.needs_key else NO_KEY,
        "provider": "openai",
        "maxOutputTokens": OUTPUT_TOKENS,
    }
    edits = (
        Edit(("customModels", Item("id", f"custom:{PROVIDER}")), model),
        Edit(("sessionDefaultSettings", "model"), f"custom:{PROVIDER}"),
    )
    return Configuration(folder=".factory", names=("settings.json",), edits=edits)


def _openclaw_configuration(target: Target) -> Configuration:
    model = {
        "id": target.model.name,
        "name": target.model.name,
        "reasoning": True,
        "input": ["text", "image"],
        "contextWindow": target.model.context_tokens,
        "maxTokens": OUTPUT_TOKENS,
    }
    provider = {
        "baseUrl": target.openai_url,
        "apiKey": f"${{{KEY_VARIABLE}}}" if target.needs_key else NO_KEY,
        "api": "openai-responses",
        "models": [model],
    }
    edits = (
        Edit(("models", "providers", PROVIDER), provider),
        Edit(("agents", "defaults", "model", "primary"), f"{PROVIDER}/{target.model.name}"),
    )
    return Configuration(folder=".openclaw", names=("openclaw.json",), edits=edits)


def _configured_start(target: Target, *, arguments: tuple[str, ...] = ()) -> Start:
    return Start(
        environment={KEY_VARIABLE: KEY} if target.needs_key else {}, arguments=arguments, needs_configuration=True
    )


def shell_line(command: str, start: Start) -> str:
    """What a person types to start the client in the same way."""
    removed = [word for name in start.without for word in ("-u", name)]
    given = [
        # Double quotes, so that the shell puts the key in.
        f'{name}="{value}"' if value == KEY else f"{name}={shlex.quote(value)}"
        for name, value in start.environment.items()
        if (name, value) != (KEY_VARIABLE, KEY)
    ]
    words = [*removed, *given]
    lead = ["env", *removed, *given] if removed else given
    return (
        " ".join([*lead, command, *map(shlex.quote, start.arguments)])
        if words
        else shlex.join([command, *start.arguments])
    )


_FURTHER: Mapping[str, Callable[[Target], Sequence[Snippet]]] = {"codex": _codex_signed_in}
"""Agents with another way to be set up."""


def _snippets(
    command: str, started: Callable[[Target], Start], configured: Callable[[Target], Configuration], target: Target
) -> Sequence[Snippet]:
    """The texts of an agent, which say what its start and its configuration do."""
    start, configuration = started(target), configured(target)
    written = Snippet(configuration.shown_path, configuration.format, configuration.text)
    line = Snippet("shell", "sh", shell_line(command, start))
    more = _FURTHER[command](target) if command in _FURTHER else ()
    return [*([written, line] if start.needs_configuration else [line, written]), *more]


def _npm(package: str) -> str:
    return f"npm install -g {package}"


_TABLE: tuple[
    tuple[str, str, str, str, Callable[[Target], Start], Callable[[Target], Configuration]],
    ...,
] = (
    (
        "claude",
        "Claude Code",
        _npm("@anthropic-ai/claude-code"),
        "https://code.claude.com/docs/en/quickstart",
        _claude_start,
        _claude_configuration,
    ),
    (
        "codex",
        "Codex CLI",
        _npm("@openai/codex"),
        "https://developers.openai.com/codex/cli",
        _codex_start,
        _codex_configuration,
    ),
    (
        "opencode",
        "OpenCode",
        _npm("opencode-ai"),
        "https://opencode.ai/docs",
        _opencode_start,
        _opencode_configuration,
    ),
    (
        "droid",
        "Droid",
        "curl -fsSL https://app.factory.ai/cli | sh",
        "https://docs.factory.ai",
        _configured_start,
        _droid_configuration,
    ),
    (
        "openclaw",
        "OpenClaw",
        _npm("openclaw"),
        "https://docs.openclaw.ai",
        partial(_configured_start, arguments=("gateway",)),
        _openclaw_configuration,
    ),
)
"""Name, which is also the program, title, how it is installed, page, start and configuration."""

AGENTS = tuple(
    ClientSetup(
        name=name,
        title=title,
        command=name,
        install=install,
        page=page,
        start=start,
        configuration=configuration,
        snippets=partial(_snippets, name, start, configuration),
    )
    for name, title, install, page, start, configuration in _TABLE
)
"""In the order in which they are shown."""
