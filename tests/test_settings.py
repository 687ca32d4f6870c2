from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from gptmock.setting_values import is_loopback
from gptmock.settings import MAX_AUTO_WORKERS, Settings
from gptmock.settings_sources import SettingsError, load_settings, variable_names

# Field, legacy variable, four values from strong to weak, and how each is read.
WORDS = [
    ("reasoning_effort", "CHATGPT_LOCAL_REASONING_EFFORT", ("high", "low", "xhigh", "minimal"), "medium"),
    ("reasoning_summary", "CHATGPT_LOCAL_REASONING_SUMMARY", ("concise", "detailed", "none", "concise"), "auto"),
    (
        "reasoning_compat",
        "CHATGPT_LOCAL_REASONING_COMPAT",
        ("o3", "legacy", "current", "reasoning-content", "standard", "openai", "hidden"),
        "think-tags",
    ),
    ("debug_model", "CHATGPT_LOCAL_DEBUG_MODEL", ("a", "b", "c", "d"), None),
    ("client_id", "CHATGPT_LOCAL_CLIENT_ID", ("a", "b", "c", "d"), "app_EMoamEEZ73f0CkXaXp7hrann"),
]
SWITCHES = {
    "verbose": "CHATGPT_LOCAL_VERBOSE",
    "expose_reasoning_models": "CHATGPT_LOCAL_EXPOSE_REASONING_MODELS",
    "default_web_search": "CHATGPT_LOCAL_ENABLE_WEB_SEARCH",
}


def load(
    directory: Path, flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, dotenv: str = ""
) -> Settings:
    (directory / ".env").write_text(dotenv)
    return load_settings(flags or {}, environ=environ or {}, directory=directory)


def mistakes(directory: Path, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(directory, environ=environ)
    return caught.value.mistakes


# --- Who wins ------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "legacy", "values", "default"), WORDS)
def test_flag_then_own_then_legacy_then_dotenv_then_default(
    tmp_path: Path, field: str, legacy: str, values: tuple[str, str, str, str], default: str | None
):
    own = f"GPTMOCK_{field.upper()}"
    flags, environ, dotenv = {field: values[0]}, {own: values[1], legacy: values[2]}, f"{own}={values[3]}\n"
    assert getattr(load(tmp_path, flags, environ, dotenv), field) == values[0]
    assert getattr(load(tmp_path, {field: None}, environ, dotenv), field) == values[1]
    del environ[own]
    assert getattr(load(tmp_path, {}, environ, dotenv), field) == values[2]
    assert getattr(load(tmp_path, {}, {}, dotenv), field) == values[3]
    assert getattr(load(tmp_path, {}, {}, f"{legacy}={values[3]}\n"), field) == values[3]
    assert getattr(load(tmp_path), field) == default


@pytest.mark.parametrize(("field", "legacy", "values", "default"), WORDS)
def test_empty_counts_as_unset_everywhere(
    tmp_path: Path, field: str, legacy: str, values: tuple[str, str, str, str], default: str | None
):
    own = f"GPTMOCK_{field.upper()}"
    empty = {own: "", legacy: ""}
    assert getattr(load(tmp_path, {field: ""}, {**empty, legacy: values[2]}), field) == values[2]
    assert getattr(load(tmp_path, {field: ""}, empty, f"{own}={values[3]}"), field) == values[3]
    assert getattr(load(tmp_path, {field: ""}, empty, f"{own}=\n{legacy}="), field) == default


@pytest.mark.parametrize(("field", "legacy"), SWITCHES.items())
@pytest.mark.parametrize(("word", "expected"), [("1", True), ("true", True), ("on", True), ("no", False), ("0", False)])
def test_switches_are_read_from_every_source(
    tmp_path: Path,
    field: str,
    legacy: str,
    word: str,
    expected: bool,  # noqa: FBT001
):
    own = f"GPTMOCK_{field.upper()}"
    for environ, dotenv in (({own: word}, ""), ({legacy: word}, ""), ({}, f"{own}={word}")):
        assert getattr(load(tmp_path, {}, environ, dotenv), field) is expected


def test_a_switch_may_be_turned_off_by_its_flag(tmp_path: Path):
    environ = {"GPTMOCK_DEFAULT_WEB_SEARCH": "true"}
    assert load(tmp_path, {"default_web_search": False}, environ).default_web_search is False


def test_every_setting_has_its_variable(tmp_path: Path):
    assert variable_names("home") == ("GPTMOCK_HOME", "CHATGPT_LOCAL_HOME")
    assert variable_names("port") == ("GPTMOCK_PORT",)
    assert load(tmp_path, environ={"CHATGPT_LOCAL_HOME": str(tmp_path / "x")}).home == tmp_path / "x"
    assert load(tmp_path, environ={"GPTMOCK_HOME": "~/y"}).home == Path.home() / "y"


def test_what_is_not_ours_is_not_read(tmp_path: Path):
    environ = {"PORT": "1", "HOST": "0.0.0.0", "SANIC_PORT": "2", "gptmock_port": "3", "OPENAI_API_KEY": "x"}
    assert load(tmp_path, environ=environ) == load(tmp_path)


# --- .env ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["GPTMOCK_UPSTREAM_URL", "GPTMOCK_ISSUER", "CHATGPT_LOCAL_ISSUER"])
def test_a_foreign_directory_cannot_redirect_tokens(tmp_path: Path, name: str):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, dotenv=f"{name}=https://evil.example.test\n")
    assert caught.value.mistakes == (f"{name}: must not be set in .env, only in the environment",)


def test_an_environment_that_says_it_too_does_not_make_it_right(tmp_path: Path):
    with pytest.raises(SettingsError):
        load(tmp_path, {}, {"GPTMOCK_ISSUER": "https://a.example.test"}, "GPTMOCK_ISSUER=https://b.example.test")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"GPTMOCK_PORT=\xff\n"])
def test_a_dotenv_that_cannot_be_read_is_a_mistake_and_no_traceback(tmp_path: Path, content: bytes):
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=r"^\.env: "):
        load_settings({}, environ={}, directory=tmp_path)


@pytest.mark.parametrize("content", ["not a line of anything", "=x", "export GPTMOCK_PORT=9000", "GPTMOCK_PORT='9000'"])
def test_dotenv_lines_are_taken_as_dotenv_takes_them(tmp_path: Path, content: str):
    assert load(tmp_path, dotenv=content).port == (9000 if "9000" in content else 8000)


def test_a_dotenv_does_not_reach_into_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLANTED", "planted")
    assert load(tmp_path, dotenv="GPTMOCK_DEBUG_MODEL=${PLANTED}").debug_model == "${PLANTED}"


# --- Mistakes ------------------------------------------------------------------------------


def test_all_mistakes_are_reported_together_and_each_names_its_variable(tmp_path: Path):
    found = mistakes(
        tmp_path,
        GPTMOCK_PORT="99999",
        GPTMOCK_WORKERS="none",
        GPTMOCK_REASONING_EFFORT="huge",
        CHATGPT_LOCAL_REASONING_COMPAT="odd",
        GPTMOCK_LOG_FORMAT="xml",
        GPTMOCK_VERBOSE="perhaps",
        GPTMOCK_ISSUER="http://evil.example.test",
        GPTMOCK_UPSTREAM_PROXY="socks5://127.0.0.1:1",
        GPTMOCK_CODEX_VERSION="new",
        GPTMOCK_ORIGINATOR="gpt\nmock",
        GPTMOCK_ALLOWED_HOSTS="https://chat.example",
        GPTMOCK_TRUSTED_PROXIES="10.0.0.0/99",
        GPTMOCK_BASE_PATH="gptmock",
        GPTMOCK_PUBLIC_URL="http://codex.example/path",
    )
    named = {
        "GPTMOCK_PORT",
        "GPTMOCK_WORKERS",
        "GPTMOCK_REASONING_EFFORT",
        "GPTMOCK_REASONING_COMPAT",
        "GPTMOCK_LOG_FORMAT",
        "GPTMOCK_VERBOSE",
        "GPTMOCK_ISSUER",
        "GPTMOCK_UPSTREAM_PROXY",
        "GPTMOCK_CODEX_VERSION",
        "GPTMOCK_ORIGINATOR",
        "GPTMOCK_ALLOWED_HOSTS",
        "GPTMOCK_TRUSTED_PROXIES",
        "GPTMOCK_BASE_PATH",
        "GPTMOCK_PUBLIC_URL",
    }
    assert {line.partition(":")[0].partition(" ")[0] for line in found} == named
    text = "\n".join(found)
    assert "CHATGPT_LOCAL_REASONING_COMPAT" in text
    assert all(word in text for word in ("'none'", "'ultra'", "'think-tags'", "'json'", "'auto'"))
    assert "Traceback" not in text


@pytest.mark.parametrize("port", ["-1", "65536", "x", "80.5", "٨"])
def test_a_port_is_a_port(tmp_path: Path, port: str):
    (line,) = mistakes(tmp_path, GPTMOCK_PORT=port)
    assert line.startswith("GPTMOCK_PORT: ")


@pytest.mark.parametrize("workers", ["0", "-1", "65", "many", "1.5"])
def test_workers_are_a_number_or_auto(tmp_path: Path, workers: str):
    assert all(line.startswith("GPTMOCK_WORKERS") for line in mistakes(tmp_path, GPTMOCK_WORKERS=workers))


def test_auto_is_a_number_of_workers_that_this_machine_can_feed(tmp_path: Path):
    settings = load(tmp_path, environ={"GPTMOCK_WORKERS": "auto"})
    assert settings.workers == "auto"
    assert 1 <= settings.worker_count <= MAX_AUTO_WORKERS
    assert load(tmp_path, {"workers": "7"}).worker_count == 7


@pytest.mark.parametrize("name", ["GPTMOCK_UPSTREAM_URL", "GPTMOCK_ISSUER"])
@pytest.mark.parametrize(
    "url",
    [
        "http://example.test",
        "http://10.0.0.1/x",
        "ftp://127.0.0.1",
        "https://",
        "example.test",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "http://[::2]/",
        "http://[bad",
        "javascript:alert(1)",
    ],
)
def test_tokens_go_out_encrypted_or_not_at_all(tmp_path: Path, name: str, url: str):
    (line,) = mistakes(tmp_path, **{name: url})
    assert line == f"{name}: must be an https URL (http only to loopback)"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.test/backend-api/",
        "http://127.0.0.1:1",
        "http://localhost:1/",
        "http://[::1]:1",
        "http://127.9.9.9",
    ],
)
def test_https_anywhere_and_http_to_loopback_are_fine(tmp_path: Path, url: str):
    assert load(tmp_path, environ={"GPTMOCK_ISSUER": url}).issuer == url.rstrip("/")


# --- The route ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test", "2001:db8::1"])
def test_beyond_loopback_a_key_is_required_unless_the_operator_says_otherwise(tmp_path: Path, host: str):
    # Whether there is a key is known once the store is open: tests/cli/test_binding_rule.py.
    for flags, required in (({}, True), ({"allow_unauthenticated": True}, False)):
        settings = load(tmp_path, {"host": host, **flags})
        assert (settings.is_exposed, settings.requires_key) == (True, required)
    settings = load(tmp_path, {"host": host, "allow_unauthenticated": True}, {"GPTMOCK_API_KEY": "sk-x"})
    assert settings.requires_key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_on_loopback_nothing_is_needed(tmp_path: Path, host: str):
    assert is_loopback(host)
    settings = load(tmp_path, environ={"GPTMOCK_HOST": host})
    assert (settings.is_exposed, settings.requires_key) == (False, False)
    assert load(tmp_path, environ={"GPTMOCK_HOST": host, "GPTMOCK_API_KEY": "sk-x"}).requires_key


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("a.example", ("a.example",)),
        (" my_box , 10.0.0.1,[::1],::1 ", ("my_box", "10.0.0.1", "[::1]", "::1")),
    ],
)
def test_hosts_are_names_and_addresses(tmp_path: Path, value: str, expected: tuple[str, ...]):
    assert load(tmp_path, environ={"GPTMOCK_ALLOWED_HOSTS": value}).allowed_host_list == expected


@pytest.mark.parametrize(
    "value", ["*", "*.example", "a.example:80", "http://a", "a b", "a..b", "a/b", "u@a", "ä.example"]
)
def test_what_is_no_host_is_a_mistake(tmp_path: Path, value: str):
    (line,) = mistakes(tmp_path, GPTMOCK_ALLOWED_HOSTS=f"fine.example,{value}")
    assert line.startswith("GPTMOCK_ALLOWED_HOSTS: ")


@pytest.mark.parametrize("value", ["10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::1", "2001:db8::/32, 10.0.0.1,unix"])
def test_proxies_are_addresses_and_networks(tmp_path: Path, value: str):
    listed = load(tmp_path, environ={"GPTMOCK_TRUSTED_PROXIES": value}).trusted_proxy_list
    assert ",".join(listed) == value.replace(" ", "")


@pytest.mark.parametrize("value", ["*", "nginx", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "[::1]", "10.0.0.1 10.0.0.2"])
def test_what_is_no_proxy_is_a_mistake(tmp_path: Path, value: str):
    (line,) = mistakes(tmp_path, GPTMOCK_TRUSTED_PROXIES=f"10.0.0.1,{value}")
    assert line.startswith("GPTMOCK_TRUSTED_PROXIES: ")


@pytest.mark.parametrize(("value", "expected"), [("", None), ("/", None), ("/a", "/a"), ("/a/b.c/", "/a/b.c")])
def test_a_base_path_begins_with_a_slash_and_ends_without(tmp_path: Path, value: str, expected: str | None):
    assert load(tmp_path, environ={"GPTMOCK_BASE_PATH": value}).base_path == expected


@pytest.mark.parametrize(
    "value", ["a", "//a", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/a%20", "/ä", "/a#", "http://x/a"]
)
def test_what_is_no_base_path_is_a_mistake(tmp_path: Path, value: str):
    (line,) = mistakes(tmp_path, GPTMOCK_BASE_PATH=value)
    assert line.startswith("GPTMOCK_BASE_PATH: ")


def test_a_key_is_not_shown_and_travels_to_the_workers(tmp_path: Path):
    settings = load(tmp_path, environ={"GPTMOCK_API_KEY": "sk-planted"})
    assert "sk-planted" not in repr(settings)
    copied = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own bytes
    assert copied == settings
    assert copied.api_key.get_secret_value() == "sk-planted"


# --- State ---------------------------------------------------------------------------------

KEYS = "bm90IGEga2V5LCBidXQgdGhhdCBpcyBzYWlkIGxhdGVy"


@pytest.mark.parametrize("url", ["redis://10.0.0.1", "rediss://:planted@example.test:6380/2", "unix:///run/redis.sock"])
@pytest.mark.parametrize("name", ["GPTMOCK_ENCRYPTION_KEYS", "GPTMOCK_ENCRYPTION_KEYS_FILE"])
def test_redis_needs_a_key_from_the_environment_or_a_file(tmp_path: Path, url: str, name: str):
    (line,) = mistakes(tmp_path, GPTMOCK_REDIS_URL=url)
    assert line.startswith("GPTMOCK_ENCRYPTION_KEYS: ")
    assert "openssl rand -base64 32" in line
    assert "planted" not in line
    (same,) = mistakes(tmp_path, **{"GPTMOCK_REDIS_URL": url, name: ""})
    assert same == line
    settings = load(tmp_path, environ={"GPTMOCK_REDIS_URL": url, name: KEYS})
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
    assert "planted" not in repr(settings)
    assert KEYS not in repr(settings.encryption_keys)


@pytest.mark.parametrize("url", ["http://10.0.0.1", "10.0.0.1:6379", "sqlite:x", "redis"])
def test_what_is_no_redis_is_named(tmp_path: Path, url: str):
    (line,) = mistakes(tmp_path, GPTMOCK_REDIS_URL=url, GPTMOCK_ENCRYPTION_KEYS=KEYS)
    assert line == (
        "GPTMOCK_REDIS_URL: the address of Redis begins with redis://, rediss://, unix://, redis+sentinel:// or "
        "redis+cluster://, and its port is a number"
    )


def test_keys_and_pool_travel_to_the_workers_and_are_not_shown(tmp_path: Path):
    environ = {"GPTMOCK_ENCRYPTION_KEYS": KEYS, "GPTMOCK_ACCOUNT_POOL": " ada@example.test, ,bob "}
    settings = load(tmp_path, environ=environ)
    copied = pickle.loads(pickle.dumps(settings))  # noqa: S301 - our own bytes
    assert copied.encryption_keys.get_secret_value() == KEYS
    assert copied.pool_labels == ("ada@example.test", "bob")
    assert KEYS not in repr(copied)


@pytest.mark.parametrize("pool", ["", " ", ",", " , "])
def test_a_pool_of_nobody_is_no_pool(tmp_path: Path, pool: str):
    assert load(tmp_path, environ={"GPTMOCK_ACCOUNT_POOL": pool}).pool_labels == ()


# --- Stored responses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0h", 0), ("90", 90), ("90s", 90), (" 30m ", 1800), ("24h", 86400), ("7d", 604800), ("30d", 2592000)],
)
def test_how_long_responses_stay_is_written_as_people_say_it(tmp_path: Path, text: str, seconds: int):
    assert load(tmp_path, environ={"GPTMOCK_RESPONSES_TTL": text}).responses_ttl == seconds
    assert load(tmp_path, dotenv=f"GPTMOCK_RESPONSES_TTL={text}\n").responses_ttl == seconds
    assert load(tmp_path).responses_ttl == 24 * 3600


@pytest.mark.parametrize("text", ["-1", "1.5h", "h", "1 h", "1H", "31d", "721h", "٣h", "never", "9999999999s"])
def test_what_is_no_time_to_keep_responses_is_named(tmp_path: Path, text: str):
    (line,) = mistakes(tmp_path, GPTMOCK_RESPONSES_TTL=text)
    assert (
        line == "GPTMOCK_RESPONSES_TTL: must be a duration such as 90s, 30m, 24h or 7d, at most 30d; 0 stores nothing"
    )


# --- Ollama's version -------------------------------------------------------------------------


def test_the_version_that_ollamas_clients_see_is_a_recent_one(tmp_path: Path):
    assert load(tmp_path, environ={"GPTMOCK_OLLAMA_VERSION": "0.13.4"}).ollama_version == "0.13.4"
    assert load(tmp_path, environ={"GPTMOCK_OLLAMA_VERSION": "1.0.0"}).ollama_version == "1.0.0"
    (told,) = mistakes(tmp_path, GPTMOCK_OLLAMA_VERSION="0.12.10")
    assert told == "GPTMOCK_OLLAMA_VERSION: must be at least 0.13.4, because Codex refuses older versions"
    (told,) = mistakes(tmp_path, GPTMOCK_OLLAMA_VERSION="newest")
    assert told.startswith("GPTMOCK_OLLAMA_VERSION: ")


# --- Origins of web pages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("http://localhost:3000", ("http://localhost:3000",)),
        (" https://a.example , app://obsidian.md,", ("https://a.example", "app://obsidian.md")),
        ("http://[::1]:3000,vscode-webview://1abc", ("http://[::1]:3000", "vscode-webview://1abc")),
        ("*", ("*",)),
        ("", ()),
        (",", ()),
    ],
)
def test_origins_are_a_list(tmp_path, value, origins):
    assert load(tmp_path, environ={"GPTMOCK_CORS_ORIGINS": value}).cors_origin_list == origins


@pytest.mark.parametrize(
    "value", ["localhost:3000", "http://a.example/", "http://a.example/x", "null", "a.example", "http://*"]
)
def test_what_no_browser_sends_is_no_origin(tmp_path, value):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, environ={"GPTMOCK_CORS_ORIGINS": f"http://localhost:3000,{value}"})
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("GPTMOCK_CORS_ORIGINS: ")
    assert repr(value) in mistake


# --- Keys in files ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["api_key", "admin_key"])
def test_a_static_key_may_be_in_a_file(tmp_path: Path, name: str):
    variable = f"GPTMOCK_{name.upper()}"
    path = tmp_path / "secret"
    path.write_text("planted-0123456789abcdef\n")
    host = {"GPTMOCK_HOST": "0.0.0.0"} if name == "api_key" else {}
    settings = load(tmp_path, environ={f"{variable}_FILE": str(path), **host})
    assert getattr(settings, name).get_secret_value() == "planted-0123456789abcdef"
    assert "planted" not in repr(settings)
    both = load(tmp_path, environ={f"{variable}_FILE": str(path), variable: "another-0123456789abcdef"})
    assert getattr(both, name).get_secret_value() == "another-0123456789abcdef"
    path.write_text(" \n")
    assert mistakes(tmp_path, **{f"{variable}_FILE": str(path)}) == (f"{variable}_FILE: the file is empty",)
    (line,) = mistakes(tmp_path, **{f"{variable}_FILE": str(tmp_path / "none")})
    assert line == f"{variable}_FILE: the file cannot be read: No such file or directory"


def test_a_short_admin_key_is_refused_and_not_shown(tmp_path: Path):
    (line,) = mistakes(tmp_path, GPTMOCK_ADMIN_KEY="planted")
    assert line.startswith("GPTMOCK_ADMIN_KEY: must have at least 16 characters")
    assert "planted" not in line


# --- Notices ---

SIGNS = "whsec_" + "QUJD" * 10


def test_a_webhook_has_a_secret(tmp_path: Path):
    told = {"GPTMOCK_WEBHOOK_URL": "https://hooks.example.test/T0K3N"}
    settings = load_settings({}, environ={**told, "GPTMOCK_WEBHOOK_SECRET": SIGNS}, directory=tmp_path)
    assert "T0K3N" not in repr(settings)
    for wrong in ("", "QUJD" * 10, "whsec_", "whsec_QUJD", "whsec_!!!!"):
        with pytest.raises(SettingsError) as caught:
            load_settings({}, environ={**told, "GPTMOCK_WEBHOOK_SECRET": wrong}, directory=tmp_path)
        assert caught.value.mistakes[0].startswith("GPTMOCK_WEBHOOK_SECRET: is required with GPTMOCK_WEBHOOK_URL")
    with pytest.raises(SettingsError, match="GPTMOCK_WEBHOOK_URL: must be an http or https URL"):
        load_settings(
            {}, environ={"GPTMOCK_WEBHOOK_URL": "ftp://x", "GPTMOCK_WEBHOOK_SECRET": SIGNS}, directory=tmp_path
        )


def test_usage_is_kept_for_days(tmp_path: Path):
    assert load(tmp_path).usage_retention == 90 * 86400
    assert load(tmp_path, environ={"GPTMOCK_USAGE_RETENTION": "7d"}).usage_retention == 7 * 86400
    for wrong in ("0", "23h", "401d", "x"):
        (line,) = mistakes(tmp_path, GPTMOCK_USAGE_RETENTION=wrong)
        assert line == "GPTMOCK_USAGE_RETENTION: must be a duration from 1d to 400d"


def test_the_url_of_the_store_may_be_in_a_file_for_the_password_in_it(tmp_path: Path):
    (tmp_path / "url").write_text("redis://:hush@redis:6379/0\n")
    files = {"GPTMOCK_REDIS_URL_FILE": str(tmp_path / "url"), "GPTMOCK_ENCRYPTION_KEYS_FILE": "/keys"}
    settings = load(tmp_path, environ=files)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:hush@redis:6379/0"
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("bind", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:9464", ("::1", 9464)), ("localhost:1", ("localhost", 1))],
)
def test_the_listener_for_scrapes_has_an_address(tmp_path: Path, bind: str, address: tuple[str, int]):
    settings = load_settings({}, environ={"GPTMOCK_METRICS_BIND": bind}, directory=tmp_path)
    assert settings.metrics_address == address


@pytest.mark.parametrize(
    "bind", ["9464", ":9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:9464", "a b:1", "x:²"]
)
def test_a_wrong_address_of_it_is_named(tmp_path: Path, bind: str):
    with pytest.raises(SettingsError, match="GPTMOCK_METRICS_BIND: must be an address and a port"):
        load_settings({}, environ={"GPTMOCK_METRICS_BIND": bind}, directory=tmp_path)
