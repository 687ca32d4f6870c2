"""``gptmock launch --config`` and ``--restore`` on configurations that people have: everything else stays as it is."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gptmock.client_setups.json_text import UnreadableText, json_value, json_with
from gptmock.client_setups.setup import Edit, Item
from gptmock.client_setups.table import setup_named
from gptmock.client_setups.toml_text import toml_value, toml_with
from tests.cli.inside import run
from tests.cli.test_launch import AGENTS, NOWHERE, SECRET, target

USERS = "sk-ant-a-secret-of-the-user"
CLAUDE = (
    f'{{\n\t"apiKeyHelper": "/bin/my-helper",\n\t"env": {{\n\t\t"MY_TOKEN": "{USERS}"\n\t}},\n\t"hooks": {{}}\n}}\n'
)
CODEX = """# my settings
model = "gpt-5.5"          # a favourite
approval_policy = "on-request"
notes = \"\"\"
nothing here
\"\"\"

# the tools
[mcp_servers.docs]
command = "npx"
args = [
  "-y", "docs",
]

[model_providers.gptmock]
base_url = "http://127.0.0.1:9999/v1"   # an old port
name = "gptmock"
query_params = { a = "b" }

[profiles.fast]
model = "gpt-5.6-luna"
"""
REPLACED = {
    '"gpt-5.5"': '"gpt-6.2-sol"',
    '"http://127.0.0.1:9999/v1"': '"http://127.0.0.1:1/v1"',
    '"opus"': '"custom:gptmock"',
}
"""Values of these files, and what they are afterwards."""
OPENCODE = '{\r\n  "$schema": "https://opencode.ai/config.json",\r\n  "theme": "system"\r\n}'
DROID = """{
  "customModels": [
    {
      "model": "other", "id": "custom:other", "displayName": "Other"
    }
  ],
  "sessionDefaultSettings": {"model": "opus", "reasoningEffort": "high"}
}
"""
OPENCLAW = """{
  // JSON5, as its makers write it
  gateway: { port: 18789, bind: 'loopback' },
  agents: {
    defaults: {
      workspace: "~/.openclaw/workspace", // mine
    },
  },
}
"""
ZED = """// Zed settings
{
  "theme": "One Dark", /* "agent": {} */
  "buffer_font_size": 15,
  "agent": {
    // "default_model": {},
  },
}
"""
FILES = {
    "claude": (".claude/settings.json", CLAUDE),
    "codex": (".codex/config.toml", CODEX),
    "opencode": (".config/opencode/opencode.jsonc", OPENCODE),
    "droid": (".factory/settings.json", DROID),
    "openclaw": (".openclaw/openclaw.json", OPENCLAW),
    "zed": (".config/zed/settings.json", ZED),
}


@dataclass(frozen=True)
class Home:
    """The home of a person, and ``gptmock launch`` in it."""

    path: Path

    def launch(self, *arguments: str, **variables: str) -> Any:
        return run(self.path, "launch", *arguments, **{**NOWHERE, "HOME": str(self.path), **variables})

    def has(self, name: str) -> Path:
        relative, text = FILES[name]
        path = self.path / relative
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode())
        path.chmod(0o640)
        return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Home(tmp_path)


def meaning(path: Path) -> Any:
    text = path.read_bytes().decode()
    return toml_value(text) if path.suffix == ".toml" else json_value(text)


def merged(before: Any, name: str) -> Any:
    """What a configuration should mean afterwards."""
    setup = setup_named(name)
    assert setup is not None
    assert setup.configuration is not None
    for edit in setup.configuration(replaced_target()).edits:
        place = before
        for index, part in enumerate(edit.path[:-1]):
            default: Any = [] if isinstance(edit.path[index + 1], Item) else {}
            place = place.setdefault(part, default)
        last = edit.path[-1]
        if isinstance(last, Item):
            place.append(edit.value)
        else:
            place[last] = edit.value
    return before


def replaced_target() -> Any:
    """That of a server nowhere."""
    given = target()
    return type(given)(url="http://127.0.0.1:1", model=given.model, small_model=given.small_model)


def replaced(line: str) -> str:
    """The line with its new value, and everything else as it is."""
    for before, after in REPLACED.items():
        line = line.replace(before, after)
    return line


def is_kept(line: str, after: str) -> bool:
    """A comma may have come."""
    return line.rstrip() in after


@pytest.mark.parametrize("name", FILES)
def test_everything_else_stays_and_restore_puts_every_byte_back(home: Home, name: str):
    path = home.has(name)
    original, before = path.read_bytes(), meaning(path)
    shown = home.launch(name, "--config", "--yes")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert meaning(path) == merged(before, name)
    after = path.read_bytes().decode()
    for line in original.decode().splitlines():
        assert is_kept(replaced(line), after), line
    assert ("\r\n" in after) is (after.count("\r\n") == after.count("\n") and name == "opencode")
    assert path.stat().st_mode & 0o777 == 0o640
    assert f"--- {path}" in shown.stdout
    assert USERS not in shown.stdout
    assert "\N{REPLACEMENT CHARACTER}" not in shown.stdout

    again = home.launch(name, "--config", "--yes")
    assert "already set up" in again.stdout
    other = home.launch(name, "--config", "--yes", "--model", "gpt-6-luna")
    assert (other.returncode, "gpt-6-luna" in path.read_text()) == (0, True)
    assert home.launch(name, "--restore").returncode == 0
    assert path.read_bytes() == original
    assert path.stat().st_mode & 0o777 == 0o640
    assert home.launch(name, "--restore").returncode == 1


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_did_not_exist_is_made_and_removed_again(home: Home, name: str):
    assert home.launch(name, "--config", "--yes").returncode == 0
    setup = setup_named(name)
    assert setup is not None
    assert setup.configuration is not None
    path = home.path / setup.configuration(target()).shown_path.removeprefix("~/")
    assert path.stat().st_mode & 0o777 == 0o600
    assert meaning(path) == merged({}, name)
    shown = home.launch(name, "--restore")
    assert (shown.returncode, path.exists()) == (0, False)
    assert "did not exist" in shown.stdout


def test_the_key_is_named_and_never_written(home: Home):
    for name in FILES:
        path = home.has(name)
        shown = home.launch(name, "--config", "--yes", GPTMOCK_API_KEY=SECRET)
        assert SECRET not in shown.stdout + path.read_text()
        assert name == "zed" or "GPTMOCK_API_KEY" in path.read_text()


def test_a_file_that_was_changed_since_is_not_overwritten_unasked(home: Home):
    path = home.has("claude")
    home.launch("claude", "--config", "--yes")
    edited = path.read_text().replace('"hooks": {}', '"hooks": {"mine": 1}')
    path.write_text(edited)
    refused = home.launch("claude", "--restore")
    assert (refused.returncode, path.read_text()) == (2, edited)
    assert "--yes" in refused.stderr
    assert home.launch("claude", "--restore", "--yes").returncode == 0
    assert path.read_text() == CLAUDE


@pytest.mark.parametrize("more", [0, 1])
def test_an_edit_between_two_changes_is_not_overwritten_unasked(home: Home, more: int):
    path = home.has("claude")
    home.launch("claude", "--config", "--yes")
    path.write_text(path.read_text().replace('"hooks": {}', '"hooks": {"mine": 1}'))
    for model in ["gpt-6-luna", "gpt-5.5"][: 1 + more]:
        assert home.launch("claude", "--config", "--yes", "--model", model).returncode == 0
    edited = path.read_text()
    assert '"mine": 1' in edited
    refused = home.launch("claude", "--restore")
    assert (refused.returncode, path.read_text()) == (2, edited)
    assert "--yes" in refused.stderr
    assert home.launch("claude", "--restore", "--yes").returncode == 0
    assert path.read_text() == CLAUDE


def test_what_somebody_put_back_by_hand_is_no_edit(home: Home):
    path = home.has("claude")
    for _ in range(2):
        path.write_text(CLAUDE)
        assert home.launch("claude", "--config", "--yes").returncode == 0
    assert home.launch("claude", "--restore").returncode == 0
    assert path.read_text() == CLAUDE


def test_each_file_of_a_client_has_a_backup_of_its_own(home: Home):
    """A variable with another folder names another file."""
    usual, other = home.has("claude"), home.path / "other" / "settings.json"
    other.parent.mkdir()
    other.write_text('{"mine": 2}')
    there = {"CLAUDE_CONFIG_DIR": str(other.parent)}
    for given in ({}, there, {}):
        assert home.launch("claude", "--config", "--yes", **given).returncode == 0
    shown = home.launch("claude", "--restore")
    assert (shown.returncode, usual.read_text()) == (0, CLAUDE)
    assert f"There is a backup of {other}. To restore one of these, set CLAUDE_CONFIG_DIR" in shown.stdout
    assert "ANTHROPIC_BASE_URL" in other.read_text()
    refused = home.launch("claude", "--restore")
    assert refused.returncode == 1
    assert f"there is no backup of {usual}. There is a backup of {other}." in refused.stderr
    again = home.launch("claude", "--restore", **there)
    assert (again.returncode, other.read_text()) == (0, '{"mine": 2}')
    assert "There is a backup" not in again.stdout


def test_a_backup_of_an_earlier_version_is_restored(home: Home):
    """It is in the folder of the client itself, one for all files."""
    for existed in (True, False):
        path = home.path / ".claude" / "settings.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"written": 1}')
        folder = home.path / "launch" / "backups" / "claude"
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        record = {"path": str(path), "existed": existed, "written": digest}
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "backup").write_text(CLAUDE)
        there = home.path / f"other-{existed}"
        assert home.launch("claude", "--config", "--yes", CLAUDE_CONFIG_DIR=str(there)).returncode == 0
        assert home.launch("claude", "--config", "--yes").returncode == 0
        shown = home.launch("claude", "--restore")
        assert (shown.returncode, path.exists()) == (0, existed)
        assert not existed or path.read_text() == CLAUDE
        assert home.launch("claude", "--restore", CLAUDE_CONFIG_DIR=str(there)).returncode == 0
        assert not (there / "settings.json").exists()


def test_a_file_with_another_name_is_restored_after_it_was_removed(home: Home):
    path = home.has("opencode")
    home.launch("opencode", "--config", "--yes")
    path.unlink()
    assert home.launch("opencode", "--restore").returncode == 0
    assert path.read_bytes() == OPENCODE.encode()


def test_without_a_terminal_nothing_is_written_unasked(home: Home):
    path = home.has("codex")
    shown = home.launch("codex", "--config")
    assert (shown.returncode, path.read_text()) == (2, CODEX)
    assert '+model_provider = "gptmock"' in shown.stdout
    assert "--yes" in shown.stderr


def test_a_link_stays_a_link(home: Home):
    path = home.has("claude")
    real = home.path / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    assert home.launch("claude", "--config", "--yes").returncode == 0
    assert path.is_symlink()
    assert "ANTHROPIC_BASE_URL" in real.read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("claude", "{"),
        ("claude", '{"env": []}'),
        ("claude", "[1]"),
        ("claude", '{"a": 1} {}'),
        ("codex", "model ="),
        ("codex", 'model_providers = {gptmock = {name = "x"}}\n'),
        ("codex", 'text = """\n[a]\n"""\nmodel_providers = 1\n'),
    ],
)
def test_what_cannot_be_changed_safely_is_left_alone(home: Home, name: str, text: str):
    path = home.has(name)
    path.write_text(text)
    shown = home.launch(name, "--config", "--yes")
    (line,) = shown.stderr.splitlines()
    assert (shown.returncode, path.read_text()) == (1, text)
    assert f"gptmock launch {name} --print" in line


def test_clients_without_a_file_name_print(home: Home):
    shown = home.launch("n8n", "--config")
    assert shown.returncode == 1
    assert "gptmock launch n8n --print" in shown.stderr
    assert home.launch("--config").returncode == 2
    assert home.launch("claude", "--config", "--print").returncode == 2


def test_the_agents_have_fixtures():
    assert set(AGENTS) <= set(FILES)


# --- The texts themselves ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "a": {\n    "b": 1\n  }\n}'),
        ("{}", '{\n  "a": {\n    "b": 1\n  }\n}'),
        ('{"a": {"c": 2}}', '{"a": {"c": 2, "b": 1}}'),
        ('{"a": {"b": 2, "c": 3}}', '{"a": {"b": 1, "c": 3}}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{"x": [], // list\n}', '{"x": [], // list\n"a": {\n  "b": 1\n}\n}'),
        ('{"a": /* a */ {"b" : 2, // b\n}}', '{"a": /* a */ {"b" : 1, // b\n}}'),
        ("{'a': {c: 0x10,},}", "{'a': {c: 0x10, \"b\": 1},}"),
    ],
)
def test_a_value_in_json(before: str, after: str):
    changed = json_with(before, [Edit(("a", "b"), 1)])
    assert json_value(changed)["a"]["b"] == 1
    if "list" not in before:
        assert changed == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "a = 1\n\n[t.u]\nb = 2\n"),
        ("[t.u]\nc = 3", "a = 1\n\n[t.u]\nc = 3\nb = 2\n"),
        ("# note\n[x]\n", "a = 1\n\n# note\n[x]\n\n[t.u]\nb = 2\n"),
        ("a = 0\nz = 1\n", "a = 1\nz = 1\n\n[t.u]\nb = 2\n"),
        ('a = "x"  # mine\n[t.u]\n  "b"=\'o # o\'\t# keep', 'a = 1  # mine\n[t.u]\n  "b"=2\t# keep'),
        ("a = [\n  '#]', # one\n] # mine\r\n[t.u]\r\nb = {c = [1]}# x\n", "a = 1 # mine\r\n[t.u]\r\nb = 2# x\n"),
        ('a = """\n"#\\"""[t.u]""""# x\n[t.u]\nb=-0.5e3 \n', "a = 1# x\n[t.u]\nb=2 \n"),
        ('[ "t" . u ] # mine\nb = 1\n\n[v]\n', 'a = 1\n\n[ "t" . u ] # mine\nb = 2\n\n[v]\n'),
    ],
)
def test_values_in_toml(before: str, after: str):
    changed = toml_with(before, [Edit(("a",), 1), Edit(("t", "u", "b"), 2)])
    assert changed == after
    document: Mapping[str, Any] = tomllib.loads(changed)
    assert (document["a"], document["t"]["u"]["b"]) == (1, 2)


def test_comments_inside_an_object_in_json_stay():
    before = '{"a": { // one\n  "b": 2, // two\n  "c": {"d": 1} /* three */\n}}'
    changed = json_with(before, [Edit(("a",), {"b": 1, "c": {"d": 1}, "e": 3})])
    assert changed == '{"a": { // one\n  "b": 1, // two\n  "c": {"d": 1}, /* three */\n  "e": 3\n}}'
    assert json_value(json_with(before, [Edit(("a",), {"b": 1})])) == {"a": {"b": 1}}


@pytest.mark.parametrize("text", ["{", "[", '{"a" 1}', '{"a": 1 "b": 2}', "{]", '{"a": }', '"', "@/", "[" * 500])
def test_text_that_is_no_json(text: str):
    with pytest.raises(UnreadableText):
        json_with(text, [Edit(("a",), 1)])


def test_documents_and_edits_agree():
    for name in FILES:
        setup = setup_named(name)
        assert setup is not None
        assert setup.configuration is not None
        configuration = setup.configuration(target())
        if configuration.format == "json":
            assert json.loads(configuration.text) == json_value(json_with("", configuration.edits))
        else:
            assert tomllib.loads(configuration.text) == toml_value(toml_with("", configuration.edits))
