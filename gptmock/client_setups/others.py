"""Programs and libraries that ``gptmock launch --print`` shows and does not start. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gptmock.client_setups.setup import KEY_VARIABLE, ClientSetup, Configuration, Edit, Snippet, Target


def _curl(target: Target) -> Sequence[Snippet]:
    key = f' \\\n  -H "Authorization: Bearer ${KEY_VARIABLE}"' if target.needs_key else ""
    body = json.dumps({"model": target.model.name, "messages": [{"role": "user", "content": "hello world"}]})
    text = (
        f"curl {target.openai_url}/chat/completions{key} \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )
    return [Snippet("shell", "sh", text)]


def _openai_environment(target: Target) -> Sequence[Snippet]:
    """The variables that most programs with an OpenAI SDK read."""
    key = f'"${KEY_VARIABLE}"' if target.needs_key else target.shell_key
    return [Snippet("shell", "sh", f"export OPENAI_BASE_URL={target.openai_url}\nexport OPENAI_API_KEY={key}")]


def _openai_python(target: Target) -> Sequence[Snippet]:
    key = f'os.environ["{KEY_VARIABLE}"]' if target.needs_key else '"none"'
    text = f"""{"import os" + chr(10) + chr(10) if target.needs_key else ""}from openai import OpenAI

client = OpenAI(base_url="{target.openai_url}", api_key={key})
completion = client.chat.completions.create(
    model="{target.model.name}",
    messages=[{{"role": "user", "content": "hello world"}}],
)
print(completion.choices[0].message.content)"""
    return [Snippet("Python, pip install openai", "python", text), *_openai_environment(target)]


def _openai_javascript(target: Target) -> Sequence[Snippet]:
    key = f"process.env.{KEY_VARIABLE}" if target.needs_key else '"none"'
    text = f"""import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{target.openai_url}", apiKey: {key} }});
const completion = await client.chat.completions.create({{
  model: "{target.model.name}",
  messages: [{{ role: "user", content: "hello world" }}],
}});
console.log(completion.choices[0].message.content);"""
    return [Snippet("JavaScript, npm install openai", "javascript", text), *_openai_environment(target)]


def _ollama(target: Target) -> Sequence[Snippet]:
    body = json.dumps({"model": target.model.name, "messages": [{"role": "user", "content": "hello world"}]})
    key = f' \\\n  -H "Authorization: Bearer ${KEY_VARIABLE}"' if target.needs_key else ""
    line = f"curl {target.url}/api/chat{key} \\\n  -d '{body}'"
    return [
        Snippet("shell, before the client starts", "sh", f"export OLLAMA_HOST={target.url}"),
        Snippet("shell", "sh", line),
    ]


def _open_webui(target: Target) -> Sequence[Snippet]:
    key = f'"${KEY_VARIABLE}"' if target.needs_key else target.shell_key
    url = _from_a_container(target.openai_url)
    text = (
        "docker run -d -p 3000:8080 --add-host host.docker.internal:host-gateway \\\n"
        f"  -e OPENAI_API_BASE_URL={url} -e OPENAI_API_KEY={key} \\\n"
        "  -v open-webui:/app/backend/data --name open-webui ghcr.io/open-webui/open-webui:main"
    )
    steps = f"Admin Panel > Settings > Connections > OpenAI API > add\nURL: {url}\nKey: {_typed_key(target)}"
    return [Snippet("shell", "sh", text), Snippet("or in Open WebUI", "text", f"{steps}{_reach(target)}")]


def _continue(target: Target) -> Sequence[Snippet]:
    key = f"${{{{ secrets.{KEY_VARIABLE} }}}}" if target.needs_key else target.shell_key
    text = f"""name: gptmock
version: 0.0.1
schema: v1
models:
  - name: {target.model.name}
    provider: openai
    model: {target.model.name}
    apiBase: {target.openai_url}
    apiKey: {key}
    roles: [chat, edit, apply]
    capabilities: [tool_use, image_input]
    defaultCompletionOptions:
      contextLength: {target.model.context_tokens}"""
    return [Snippet("~/.continue/config.yaml", "yaml", text)]


def _zed_configuration(target: Target) -> Configuration:
    model = {
        "name": target.model.name,
        "display_name": f"{target.model.name} (gptmock)",
        "max_tokens": target.model.context_tokens,
        "capabilities": {"tools": True, "images": True, "parallel_tool_calls": True, "prompt_cache_key": True},
    }
    provider = {"api_url": target.openai_url, "available_models": [model]}
    edits = (
        Edit(("language_models", "openai_compatible", "gptmock"), provider),
        Edit(("agent", "default_model"), {"provider": "gptmock", "model": target.model.name}),
    )
    return Configuration(
        folder=".config/zed", names=("settings.json",), edits=edits, variable="XDG_CONFIG_HOME", below="zed"
    )


def _zed(target: Target) -> Sequence[Snippet]:
    configuration = _zed_configuration(target)
    # Zed reads the key from the variable that it derives from the provider's name.
    key = f'"${KEY_VARIABLE}"' if target.needs_key else target.shell_key
    line = Snippet("shell", "sh", f"{KEY_VARIABLE}={key} zed")
    return [Snippet(configuration.shown_path, "json", configuration.text), line]


def _vscode(target: Target) -> Sequence[Snippet]:
    model = {
        "id": target.model.name,
        "name": f"{target.model.name} (gptmock)",
        "url": f"{target.openai_url}/chat/completions",
        "toolCalling": True,
        "vision": True,
        "maxInputTokens": target.model.context_tokens,
        "maxOutputTokens": 128_000,
    }
    provider = {"name": "gptmock", "vendor": "customendpoint", "apiType": "chat-completions", "models": [model]}
    steps = (
        "Run the command 'Chat: Manage Language Models', choose 'Add Models' and 'Custom Endpoint',\n"
        f"name it gptmock and give it the key {_typed_key(target)}. VS Code opens chatLanguageModels.json;\n"
        "put the entry below into it."
    )
    return [
        Snippet("in VS Code", "text", steps),
        Snippet("chatLanguageModels.json", "json", json.dumps([provider], indent=2)),
    ]


def _jetbrains(target: Target) -> Sequence[Snippet]:
    steps = (
        "Settings > Tools > AI Assistant > Providers & API keys > Third-party AI providers\n"
        f"Provider: OpenAI-compatible\nURL: {target.openai_url}\nAPI key: {_typed_key(target)}\n"
        f"Then choose {target.model.name} in the list of models of the chat."
    )
    return [Snippet("in the JetBrains IDE", "text", steps)]


def _home_assistant(target: Target) -> Sequence[Snippet]:
    steps = (
        "Settings > Devices & services > Add integration > Ollama\n"
        f"URL: {target.url}\n"
        f"Then add a conversation agent with the model {target.model.name}."
    )
    if target.needs_key:
        steps += f"\nAPI key: {_typed_key(target)}"
    return [Snippet("in Home Assistant", "text", steps + _reach(target))]


def _n8n(target: Target) -> Sequence[Snippet]:
    steps = (
        "Credentials > Create credential > OpenAI\n"
        f"API Key: {_typed_key(target)}\nBase URL: {_from_a_container(target.openai_url)}\n"
        f"Then choose the model {target.model.name} by its ID in the node OpenAI Chat Model."
    )
    return [Snippet("in n8n", "text", steps + _reach(target))]


def _typed_key(target: Target) -> str:
    return f"the value of {KEY_VARIABLE}" if target.needs_key else f"{target.shell_key} (any text)"


def _from_a_container(url: str) -> str:
    """Loopback of this machine, as Docker names it inside a container."""
    return url.replace("//127.0.0.1:", "//host.docker.internal:").replace("//localhost:", "//host.docker.internal:")


def _reach(target: Target) -> str:
    if _from_a_container(target.url) == target.url:
        return ""
    return (
        "\n\nA program in a container or on another machine cannot reach a server that listens on loopback:\n"
        "start it with --host and a client key (gptmock keys create NAME), and use this machine's address."
    )


OTHERS = (
    ClientSetup(name="curl", title="curl", snippets=_curl),
    ClientSetup(name="openai-python", title="OpenAI SDK for Python", snippets=_openai_python),
    ClientSetup(name="openai-javascript", title="OpenAI SDK for JavaScript", snippets=_openai_javascript),
    ClientSetup(name="ollama", title="Ollama clients", snippets=_ollama),
    ClientSetup(name="open-webui", title="Open WebUI", snippets=_open_webui, page="https://docs.openwebui.com"),
    ClientSetup(name="continue", title="Continue", snippets=_continue, page="https://docs.continue.dev"),
    ClientSetup(
        name="zed", title="Zed", snippets=_zed, configuration=_zed_configuration, page="https://zed.dev/download"
    ),
    ClientSetup(name="vscode", title="VS Code", snippets=_vscode, page="https://code.visualstudio.com"),
    ClientSetup(name="jetbrains", title="JetBrains IDEs", snippets=_jetbrains, page="https://www.jetbrains.com/ai"),
    ClientSetup(
        name="home-assistant", title="Home Assistant", snippets=_home_assistant, page="https://www.home-assistant.io"
    ),
    ClientSetup(name="n8n", title="n8n", snippets=_n8n, page="https://docs.n8n.io"),
)
"""In the order in which they are shown."""
