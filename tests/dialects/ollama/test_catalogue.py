"""The model catalogue for Ollama clients."""

import json
from datetime import UTC, datetime

import pytest

from gptmock.catalog import ModelCatalog, ModelSpec
from gptmock.dialects.ollama import catalogue
from gptmock.errors import BadRequest, UnknownModel

CATALOG = ModelCatalog()
SMALL = ModelCatalog(
    [
        ModelSpec(slug="gpt-9", efforts=("low", "high"), context_window=400_000, priority=1),
        ModelSpec(slug="gpt-9-text", efforts=(), input_modalities=("text",), priority=2),
        ModelSpec(slug="gpt-9-hidden", efforts=(), listed=False),
        ModelSpec(slug="gpt-4", efforts=(), retired="2026-01-01", successor="gpt-9"),
    ]
)


def tags(*, expose_efforts=False):
    return json.loads(catalogue.tags(SMALL, expose_efforts=expose_efforts))["models"]


def named(body):
    return catalogue.decode_model_request(json.dumps(body).encode())


@pytest.mark.check(22)
def test_tags_are_the_living_models_with_every_member():
    first, second = tags()
    assert first == {
        "name": "gpt-9",
        "model": "gpt-9",
        "modified_at": "2025-12-01T00:00:00Z",
        "size": 1,
        "digest": first["digest"],
        "details": {
            "parent_model": "",
            "format": "",
            "family": "gpt",
            "families": ["gpt"],
            "parameter_size": "",
            "quantization_level": "",
            "context_length": 400_000,
        },
        "capabilities": ["completion", "tools", "vision", "thinking", "insert"],
        "remote_model": "gpt-9",
        "remote_host": "https://chatgpt.com",
    }
    assert second["capabilities"] == ["completion", "tools", "insert"]
    assert len(first["digest"]) == 64
    assert first["digest"] != second["digest"]
    assert tags()[0] == first


def test_efforts_are_names_where_the_operator_wants_it():
    assert [model["name"] for model in tags(expose_efforts=True)] == ["gpt-9", "gpt-9-low", "gpt-9-high", "gpt-9-text"]
    assert {model["remote_model"] for model in tags(expose_efforts=True)} == {"gpt-9", "gpt-9-text"}


@pytest.mark.check(95)
def test_the_date_is_utc():
    assert datetime.fromisoformat(tags()[0]["modified_at"]).tzinfo == UTC


def test_nothing_runs_here():
    assert json.loads(catalogue.running()) == {"models": []}


@pytest.mark.check(22)
def test_show_tells_the_real_context_and_what_the_model_can_do():
    shown = json.loads(catalogue.show(SMALL, "gpt-9"))
    assert shown["model_info"] == {
        "general.architecture": "gpt",
        "general.basename": "gpt-9",
        "gpt.context_length": 400_000,
        "gpt.embedding_length": 0,
    }
    assert shown["capabilities"] == ["completion", "tools", "vision", "thinking", "insert"]
    assert shown["details"] == tags()[0]["details"]
    assert (shown["modelfile"], shown["parameters"]) == ("", "")
    assert "tools" in shown["template"].lower()
    assert ".Suffix" in shown["template"]


@pytest.mark.check(94)
@pytest.mark.parametrize("member", ["model", "name"])
@pytest.mark.parametrize("name", ["gpt-9", "GPT-9", "gpt-9:latest", "gpt-9:high", "gpt-9-low", " gpt-9 "])
def test_a_model_is_found_by_either_member_in_any_spelling(member, name):
    shown = json.loads(catalogue.show(SMALL, named({member: name}).name))
    assert shown["model_info"]["gpt.context_length"] == 400_000
    assert shown["model_info"]["general.basename"] == name.strip()


@pytest.mark.check(82)
@pytest.mark.parametrize(("name", "says"), [("nope", "does not exist"), ("gpt-4", "use gpt-9")])
def test_a_model_that_nobody_serves_is_not_found(name, says):
    with pytest.raises(UnknownModel, match=says) as caught:
        catalogue.show(SMALL, name)
    assert (caught.value.model, caught.value.status_hint) == (name, 404)
    assert "gpt-9, gpt-9-text" in caught.value.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "missing request body"),
        (b"{}", "model is required"),
        (b'{"name": ""}', "model is required"),
        (b"{", "JSON"),
        (b'{"name": 5}', "name"),
    ],
)
def test_a_request_about_no_model_is_a_400(body, says):
    with pytest.raises(BadRequest, match=says):
        catalogue.decode_model_request(body)


@pytest.mark.check(99)
@pytest.mark.parametrize("name", ["gpt-9", "gpt-9:latest", "gpt-9-hidden"])
def test_a_model_that_is_there_has_been_pulled(name):
    streamed = catalogue.pull(SMALL, named({"model": name}))
    assert streamed.streamed
    assert [json.loads(line) for line in streamed.body.split(b"\n")[:-1]] == [
        {"status": "pulling manifest"},
        {"status": "success"},
    ]
    collected = catalogue.pull(SMALL, named({"name": name, "stream": False}))
    assert (json.loads(collected.body), collected.streamed) == ({"status": "success"}, False)


@pytest.mark.check(99)
@pytest.mark.parametrize("name", ["llama3", "gpt-4"])
def test_no_other_can_be_pulled(name):
    streamed = catalogue.pull(SMALL, named({"model": name}))
    assert [json.loads(line) for line in streamed.body.split(b"\n")[:-1]] == [
        {"status": "pulling manifest"},
        {"error": "pull model manifest: file does not exist"},
    ]
    with pytest.raises(UnknownModel, match=r"^pull model manifest: file does not exist$"):
        catalogue.pull(SMALL, named({"model": name, "stream": False}))


@pytest.mark.check(88)
def test_there_are_no_embeddings_and_no_zeros_in_their_place():
    error = catalogue.no_embeddings("gpt-9\n")
    assert (error.status_hint, error.message) == (400, '"gpt-9" does not support embeddings')


def test_no_effort_is_listed_under_the_name_of_another_model():
    specs = [ModelSpec(slug="gpt-9-max", efforts=()), ModelSpec(slug="gpt-9", efforts=("low", "max"))]
    for catalog, names in (
        (ModelCatalog(specs), ["gpt-9-max", "gpt-9", "gpt-9-low"]),
        (ModelCatalog(specs).limited("gpt-9".__eq__), ["gpt-9", "gpt-9-low"]),
    ):
        models = json.loads(catalogue.tags(catalog, expose_efforts=True))["models"]
        assert [model["name"] for model in models] == names


def test_the_built_in_catalogue_shows_what_lives():
    names = [model["name"] for model in json.loads(catalogue.tags(CATALOG, expose_efforts=False))["models"]]
    assert names == [spec.slug for spec in CATALOG.living]
    assert "gpt-5" not in names
