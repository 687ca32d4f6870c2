from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from gptmock.catalog import MODELS, ModelCatalog, ModelSpec
from gptmock.dialects.listings import model_document, models_document
from gptmock.errors import UnknownModel
from gptmock.protocol.models import decode_models

BUNDLED = resources.files("gptmock.simulator").joinpath("models.json").read_bytes()
BUILT_IN = ModelCatalog()
LIVE = ModelCatalog(decode_models(BUNDLED), remembered=MODELS, etag='W/"1"')
RETIRED = [spec.slug for spec in MODELS if spec.retired is not None]


def listed(catalog: ModelCatalog, **how: Any) -> dict[str, Any]:
    return dict(json.loads(models_document(catalog, **{"expose_efforts": False, **how})))


def ids(catalog: ModelCatalog, **how: Any) -> list[str]:
    return [one["id"] for one in listed(catalog, **how)["data"]]


@pytest.mark.check(25)
@pytest.mark.parametrize("catalog", [BUILT_IN, LIVE], ids=["built-in", "live"])
def test_each_model_has_what_clients_require(catalog):
    document = listed(catalog)
    assert document.keys() == {"object", "data"}
    for model in document["data"]:
        assert (model["object"], model["owned_by"]) == ("model", "openai")
        assert isinstance(model["id"], str)
        assert isinstance(model["created"], int)
        assert model["context_length"] == model["max_model_len"] == catalog.get(model["id"]).context_window


def test_retired_names_are_listed_only_while_the_live_catalogue_is_unknown():
    assert set(RETIRED) < set(ids(BUILT_IN))
    assert not set(RETIRED) & set(ids(LIVE))
    assert ids(LIVE) == [spec.slug for spec in BUILT_IN.living]


def test_efforts_are_listed_beside_their_model():
    exposed = ids(LIVE, expose_efforts=True)
    assert exposed[:7] == [
        "gpt-6.2-sol",
        *(f"gpt-6.2-sol-{one}" for one in ("low", "medium", "high", "xhigh", "max", "ultra")),
    ]
    assert "gpt-5.5-max" not in exposed
    assert all(LIVE.resolve(name).spec is not None for name in exposed)
    assert "gpt-5.2-high" not in ids(BUILT_IN, expose_efforts=True)


def test_no_effort_is_listed_under_the_name_of_another_model():
    specs = [ModelSpec(slug="gpt-9-max", efforts=("low",)), ModelSpec(slug="gpt-9", efforts=("low", "max"))]
    catalog = ModelCatalog(specs)
    assert ids(catalog, expose_efforts=True) == ["gpt-9-max", "gpt-9-max-low", "gpt-9", "gpt-9-low"]
    assert ids(catalog.limited("gpt-9".__eq__), expose_efforts=True) == ["gpt-9", "gpt-9-low"]


@pytest.mark.check(113)
def test_codex_gets_the_upstreams_own_entries_too():
    entries = {entry["slug"]: entry for entry in json.loads(BUNDLED)["models"]}
    document = listed(LIVE, client_version="0.171.0")
    assert {entry["slug"]: entry for entry in document["models"]} == entries
    assert document["data"] == listed(LIVE)["data"]


@pytest.mark.parametrize(
    ("version", "count"), [("0.171.0", 14), ("0.169.0", 12), ("0.154.9", 10), ("0.98.0", 1), ("dev", 14), ("", 14)]
)
def test_an_older_codex_is_shown_what_it_can_use(version, count):
    assert len(listed(LIVE, client_version=version)["models"]) == count


def test_before_the_first_live_catalogue_codex_is_told_of_no_entry():
    """Generated entries would lack the instructions that Codex reads from them; without entries it uses its own."""
    document = listed(BUILT_IN, client_version="0.150.0")
    assert document["models"] == []
    assert document["data"]


@pytest.mark.check(94)
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpt-5.5", "gpt-5.5"),
        ("GPT-5.5", "gpt-5.5"),
        ("gpt-5.5:latest", "gpt-5.5"),
        ("gpt-5.5:high", "gpt-5.5-high"),
        ("gpt-5.5_High", "gpt-5.5-high"),
        ("gpt-5.5-fast-high", "gpt-5.5-high-fast"),
        ("gpt5.5", "gpt-5.5"),
        ("codex-auto-review", "codex-auto-review"),
        ("gpt-5.6", "gpt-5.6-sol"),
        ("openai/gpt-5.5", "gpt-5.5"),
        ("gpt-5.5(high)", "gpt-5.5-high"),
    ],
)
def test_one_model_by_any_spelling(name, shown):
    model = json.loads(model_document(LIVE, name))
    assert model["id"] == shown
    (same,) = [one for one in listed(LIVE)["data"] if one["id"] == "gpt-5.5"]
    if shown.startswith("gpt-5.5"):
        assert {**model, "id": "gpt-5.5"} == same
    assert LIVE.resolve(shown).slug == LIVE.resolve(name).slug


@pytest.mark.check(82)
@pytest.mark.parametrize("name", ["gpt-9", "gpt-5.2", "codex-mini", "", "a/b", "gpt-9\x1b[31m" + "x" * 5000])
def test_a_model_that_the_account_lacks_is_explained(name):
    with pytest.raises(UnknownModel) as caught:
        model_document(LIVE, name)
    error = caught.value
    assert (error.code, error.param, error.status_hint) == ("model_not_found", "model", 404)
    assert "Models that exist: gpt-6.2-sol, gpt-6.2-astra, " in error.message
    assert len(error.message) < 600
    assert "\x1b" not in error.message


def test_a_retired_model_is_shown_as_such_while_that_is_all_we_know():
    model = json.loads(model_document(BUILT_IN, "gpt-5.2"))
    assert (model["retired"], model["successor"]) == ("2026-06-04", "gpt-5.5")
