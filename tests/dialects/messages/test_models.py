import json
from dataclasses import replace

import pytest

from gptmock.catalog import ModelCatalog, ModelSpec
from gptmock.clients import KeyTerms
from gptmock.dialects import claude_models as models
from gptmock.errors import BadRequest, UnknownModel
from gptmock.settings import CLAUDE_FAMILIES
from tests.playbook import terms


def meant(name, **chosen):
    return models.resolve(name, terms(anthropic_models=chosen)).slug


@pytest.mark.check(232)
@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("claude-opus-5-5", "gpt-6.2-sol"),
        ("claude-sonnet-4-5-20250929", "gpt-6.2-sol"),
        ("claude-haiku-5-5", "gpt-6-luna"),
        ("claude-3-5-haiku-latest", "gpt-6-luna"),
        ("claude-opus-4-8[1m]", "gpt-6.2-sol"),
        ("claude-fable-1", "gpt-6.2-sol"),
        ("claude-unheard-of", "gpt-6.2-sol"),
        ("CLAUDE-OPUS-5", "gpt-6.2-sol"),
        ("claude-gpt-5.5", "gpt-5.5"),
        ("claude-gpt-6.1-sol-high", "gpt-6.1-sol"),
        ("gpt-5.5", "gpt-5.5"),
        ("gpt-nowhere", "gpt-nowhere"),
    ],
)
def test_what_a_name_means(name, slug):
    assert meant(name) == slug


@pytest.mark.check(232)
def test_the_operators_table_decides():
    chosen = {"opus": "gpt-5.5-high", "haiku": "gpt-6.1-terra"}
    assert meant("claude-opus-5-5", **chosen) == "gpt-5.5"
    assert models.resolve("claude-opus-5-5", terms(anthropic_models=chosen)).effort == "high"
    assert meant("claude-haiku-5-5", **chosen) == "gpt-6.1-terra"
    assert meant("claude-sonnet-5-5", **chosen) == "gpt-6.2-sol"
    assert models.families(ModelCatalog(), chosen) == {
        "opus": "gpt-5.5-high",
        "sonnet": "gpt-6.2-sol",
        "haiku": "gpt-6.1-terra",
        "fable": "gpt-6.2-sol",
    }
    assert models.FAMILIES == CLAUDE_FAMILIES


@pytest.mark.check(232)
@pytest.mark.parametrize(
    ("name", "allowed", "slug"),
    [
        ("claude-opus-5-5", "gpt-5.5", "gpt-5.5"),
        ("claude-haiku-5-5", "gpt-5.5", "gpt-5.5"),
        ("claude-haiku-5-5", "gpt-6*", "gpt-6-luna"),
        ("claude-sonnet-5-5", "gpt-5.5", "gpt-5.5"),
        ("claude-sonnet-5-5", "gpt-6.1-*", "gpt-6.1-terra"),
        ("claude-sonnet-5-5", "no-such", "gpt-6.1-terra"),
        ("claude-fable-5-5", "gpt-next-*", "gpt-next-1"),
        ("claude-gpt-6.2-sol", "gpt-5.5", "gpt-6.2-sol"),
    ],
)
def test_a_name_stands_for_a_model_that_the_key_may_use(name, allowed, slug):
    defaults = terms(anthropic_models={"sonnet": "gpt-6.1-terra", "fable": "gpt-next-1"})
    allows = KeyTerms(models=(allowed,)).allows
    assert models.resolve(name, replace(defaults, allows=allows)).slug == slug


def test_without_a_small_model_the_last_one_is_the_smallest():
    specs = [ModelSpec(slug=slug, efforts=("low",), priority=number) for number, slug in enumerate(("b", "a"))]
    assert models.model_for("claude-haiku", ModelCatalog(specs), {}) == "a"


@pytest.mark.check(310)
def test_the_list_has_our_names_and_names_that_claude_code_keeps():
    catalog = ModelCatalog()
    page = json.loads(models.models_page(catalog, {"limit": "1000"}))
    ids = [one["id"] for one in page["data"]]
    slugs = [spec.slug for spec in catalog.listed]
    assert ids == [*slugs, *(f"claude-{slug}" for slug in slugs)]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[0], ids[-1], False)
    for one in page["data"]:
        assert set(one) == {
            "type",
            "id",
            "display_name",
            "created_at",
            "lifecycle",
            "max_input_tokens",
            "max_tokens",
        }
    assert page["data"][0]["max_input_tokens"] == 500_000
    assert {one["lifecycle"] for one in page["data"]} == {"active", "deprecated"}


def test_pages():
    catalog = ModelCatalog()
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = json.loads(models.models_page(catalog, {"limit": "7", **after}))
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = {"after_id": page["last_id"]}
    assert found == [one["id"] for one in json.loads(models.models_page(catalog, {"limit": "1000"}))["data"]]
    before = json.loads(models.models_page(catalog, {"limit": "2", "before_id": found[5]}))
    assert ([one["id"] for one in before["data"]], before["has_more"]) == (found[3:5], True)
    assert len(json.loads(models.models_page(catalog, {}))["data"]) == 20


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"after_id": "x"}, {"before_id": "x"}]
)
def test_a_page_that_does_not_exist(query):
    with pytest.raises(BadRequest):
        models.models_page(ModelCatalog(), query)


def test_one_model():
    assert json.loads(models.model_document(terms(), "claude-opus-5-5"))["id"] == "claude-opus-5-5"
    assert json.loads(models.model_document(terms(), "gpt-5.5"))["display_name"] == "gpt-5.5"
    with pytest.raises(UnknownModel):
        models.model_document(terms(), "gpt-nowhere")
