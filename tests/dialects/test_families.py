import json

import pytest

from gptmock.dialects.families import ANTHROPIC, OLLAMA, OPENAI, family_of, unknown_route, wrong_method
from gptmock.dialects.table import DIALECTS
from gptmock.errors import BadRequest, Unauthorized, UnsupportedEndpoint


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/v1/chat/completions", OPENAI),
        ("/v1/nowhere", OPENAI),
        ("/nowhere", OPENAI),
        ("/", OPENAI),
        ("*", OPENAI),
        ("/apiary", OPENAI),
        ("/v1/api/x", OPENAI),
        ("/api", OLLAMA),
        ("/api/", OLLAMA),
        ("/api/nowhere", OLLAMA),
        ("/api/v1/models", OLLAMA),
        ("/v1/messages", ANTHROPIC),
        ("/messages/nowhere", ANTHROPIC),
        ("/v1/messages/batches", ANTHROPIC),
        ("/v1/complete", ANTHROPIC),
        ("/v1/completions", OPENAI),
        ("/v1/files", OPENAI),
        ("/v1", OPENAI),
    ],
)
def test_the_family_is_a_matter_of_the_prefix(path, family):
    assert family_of(path) is family


@pytest.mark.check(317)
@pytest.mark.parametrize(
    ("path", "thing"),
    [
        ("/v1/messages/batches", "batches"),
        ("/v1/messages/batches/b_1/results", "batches"),
        ("/v1/files", "files"),
        ("/v1/skills", "skills"),
        ("/v1/complete", "text completions"),
    ],
)
def test_what_anthropic_has_and_is_not_here_is_named(path, thing):
    headers = {"anthropic-version"}
    assert family_of(path, headers) is ANTHROPIC
    error = unknown_route("POST", path, headers)
    reply = ANTHROPIC.error(error)
    said = json.loads(reply.body)
    assert (reply.status, said["error"]["type"]) == (404, "not_found_error")
    assert f"not supported here: {thing}" in said["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert family_of("/api/nowhere", headers) is OLLAMA


@pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
def test_a_route_and_the_family_of_its_path_say_errors_alike(route):
    error = BadRequest("M", param="n")
    for path in route.paths:
        assert family_of(path).error(error) == route.dialect.error(error)


def test_ollamas_errors_are_one_string():
    reply = OLLAMA.error(BadRequest("a\u2028b", param="n"))
    assert (reply.status, reply.content_type, reply.body) == (400, "application/json", b'{"error":"a\\u2028b"}')


def test_ollamas_clients_know_one_word_for_a_missing_key():
    reply = OLLAMA.error(Unauthorized("Incorrect API key provided: ***1234."))
    assert (reply.status, json.loads(reply.body)) == (401, {"error": "unauthorized"})
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize(
    "rest",
    [
        "/embeddings",
        "/images/generations",
        "/audio/speech",
        "/files",
        "/files/file-1/content",
        "/moderations",
        "/batches",
        "/assistants",
        "/conversations",
        "/realtime/sessions",
        "/vector_stores",
        "/fine_tuning/jobs",
    ],
)
@pytest.mark.check(88)
def test_what_openai_has_and_a_chatgpt_account_has_not_is_named(prefix, rest):
    error = unknown_route("POST", prefix + rest)
    assert isinstance(error, UnsupportedEndpoint)
    reply = OPENAI.error(error)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (404, "unsupported_endpoint")
    assert reply.headers["x-should-retry"] == "false"
    assert f"POST {prefix}{rest}" in error.message


def test_embeddings_are_to_be_had_elsewhere():
    assert "use another provider" in unknown_route("POST", "/v1/embeddings").message


@pytest.mark.parametrize("path", ["/v1/embedding", "/x/embeddings", "/api/embeddings", "/v1/chat/embeddings", "/", "*"])
def test_any_other_path_is_merely_unknown(path):
    error = unknown_route("GET", path)
    assert error.code == "unknown_url"
    assert error.message == f"Unknown request URL: GET {path}."


def test_a_doubled_prefix_is_explained():
    error = unknown_route("POST", "/v1/v1/chat/completions")
    assert error.code == "unknown_url"
    assert "check the client's base URL" in error.message


def test_a_path_in_an_error_is_short_and_harmless():
    for error in (
        unknown_route("GET", "/\x1b" + "x" * 999),
        wrong_method("GET", "/\x1b" + "x" * 999, allowed=("PUT",)),
    ):
        assert "\x1b" not in error.message
        assert len(error.message) < 300
