from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.catalog import EFFORTS, MODELS, ModelCatalog, ModelSpec
from gptmock.errors import UpstreamBroken
from gptmock.protocol.models import decode_models, parse_version

BUNDLED = resources.files("gptmock.simulator").joinpath("models.json").read_bytes()
OBSERVED = Path(__file__).parents[3] / "shared" / "data" / "codex-models-2026-11-27.json"


def document(*entries: Any) -> bytes:
    return json.dumps({"models": entries}).encode()


def decoded(**entry: Any) -> ModelSpec:
    (spec,) = decode_models(document({"slug": "m", **entry}))
    return spec


def facts(spec: ModelSpec) -> tuple[object, ...]:
    return spec.slug, spec.efforts, spec.default_effort, spec.context_window, spec.listed, spec.tiers


def test_the_built_in_rows_are_what_codex_bundles():
    """The fallback has the names, efforts, windows, tiers and order of the live catalogue of November 2026."""
    ours = [facts(spec) for spec in ModelCatalog().models if spec.retired is None]
    assert [facts(spec) for spec in ModelCatalog(decode_models(BUNDLED)).models] == ours
    assert len(ours) == 14


@pytest.mark.skipif(not OBSERVED.exists(), reason="the observed catalogue is not on this machine")
def test_the_observed_catalogue_is_read():
    assert {spec.slug for spec in decode_models(OBSERVED.read_bytes())} == {
        spec.slug for spec in MODELS if spec.retired is None
    }


def test_a_name_is_enough():
    spec = decoded()
    assert (spec.efforts, spec.listed, spec.tiers, spec.supports_verbosity) == ((), True, (), True)
    assert (spec.successor, spec.display_name, spec.minimal_version) == (None, None, ())


@pytest.mark.parametrize(
    ("entry", "listed"),
    [
        ({"visibility": "list"}, True),
        ({"visibility": None}, True),
        ({"visibility": "hide"}, False),
        ({"visibility": "none"}, False),
        ({"visibility": "list", "supported_in_api": False}, False),
        ({"visibility": "list", "supported_in_api": None}, True),
    ],
)
def test_what_is_shown(entry, listed):
    assert decoded(**entry).listed is listed


@pytest.mark.parametrize(
    ("entry", "tiers"),
    [
        ({"service_tiers": [{"id": "priority", "name": "Fast"}]}, ("priority",)),
        ({"additional_speed_tiers": ["fast"]}, ("priority",)),
        ({"service_tiers": [{"id": "priority"}], "additional_speed_tiers": ["fast"]}, ("priority",)),
        ({"service_tiers": [{"id": "ultrafast"}], "additional_speed_tiers": []}, ("ultrafast",)),
        ({"service_tiers": None, "additional_speed_tiers": None}, ()),
    ],
)
def test_the_tiers_of_a_model(entry, tiers):
    assert decoded(**entry).tiers == tiers


def test_the_members_that_are_acted_on():
    spec = decoded(
        supported_reasoning_levels=[{"effort": "low", "description": "x"}, {"effort": "hyper"}, {"effort": "ultra"}],
        default_reasoning_level="ultra",
        context_window=372_000,
        max_context_window=900_000,
        priority=7,
        support_verbosity=False,
        input_modalities=["text"],
        upgrade={"model": "n", "migration_markdown": "..."},
        minimal_client_version="0.155.1-alpha.3",
        display_name="M",
        brand_new={"a": [1]},
    )
    assert (spec.efforts, spec.default_effort, spec.context_window) == (("low", "ultra"), "ultra", 372_000)
    assert (spec.priority, spec.supports_verbosity, spec.input_modalities) == (7, False, ("text",))
    assert (spec.successor, spec.minimal_version, spec.display_name) == ("n", (0, 155, 1), "M")


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ("0.172.0", (0, 172, 0)),
        ([0, 172, 0], (0, 172, 0)),
        ([0, 172, 0, 1], (0, 172, 0)),
        ([], ()),
        ([0, 172], ()),
        ("new", ()),
        (None, ()),
    ],
)
def test_the_version_that_a_model_needs_has_two_forms(given, version):
    spec = decoded(minimal_client_version=given, priority=4)
    assert (spec.minimal_version, spec.priority) == (version, 4)


@pytest.mark.parametrize("window", [0, -5, 2**31, 10**30, None])
def test_a_window_that_cannot_be_is_not_believed(window):
    assert decoded(context_window=window).context_window == ModelSpec(slug="m", efforts=()).context_window


@pytest.mark.parametrize("number", [b"1e308", b"-1e999", b"9" * 40, b"-0.5"])
def test_any_priority_can_be_sorted_by(number):
    raw = b'{"models":[{"slug":"m","priority":' + number + b'},{"slug":"n","priority":2}]}'
    assert {spec.slug for spec in ModelCatalog(decode_models(raw)).models} == {"m", "n"}


def test_an_entry_is_kept_to_the_letter():
    raw = b'{"slug" : "m",\n "base_instructions":"\\u00e9", "x": 1.50}'
    (spec,) = decode_models(b'{"models":[' + raw + b"]}")
    assert spec.entry == raw


def test_a_member_of_another_shape_costs_the_members_and_not_the_model():
    broken = {"slug": "m", "service_tiers": "all", "supported_reasoning_levels": [{"effort": "low"}]}
    spec, other = decode_models(document(broken, {"slug": "n", "priority": 3}))
    assert (spec.slug, spec.efforts, spec.listed) == ("m", (), True)
    assert json.loads(spec.entry or b"") == broken
    assert other.priority == 3


def test_an_entry_without_a_name_is_left_out():
    specs = decode_models(document({"priority": 1}, {"slug": 5}, "text", None, {"slug": " "}, {"slug": "m"}))
    assert [spec.slug for spec in specs] == ["m"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"models": {}}', b'{"models": []}', b'{"models": [{"id": "m"}]}', b"[" * 100_000],
)
def test_what_is_no_catalogue_is_said_to_be_broken(body):
    with pytest.raises(UpstreamBroken) as caught:
        decode_models(body)
    assert caught.value.code == "upstream_bad_catalogue"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(EFFORTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["effort", "id", "model"]), inner),
    max_leaves=6,
)
MEMBERS = [member for member in json.loads(BUNDLED)["models"][0] if member != "slug"]


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=6))
def test_whatever_an_entry_holds_a_catalogue_can_be_made_of_it(members):
    spec = decoded(**members)
    assert json.loads(spec.entry or b"") == {"slug": "m", **members}
    assert ModelCatalog([spec]).resolve("m-high").spec is spec


@pytest.mark.parametrize(
    ("text", "version"), [("0.155.0", (0, 155, 0)), ("1.2.3-rc.1", (1, 2, 3)), ("1.2", ()), ("", ()), (None, ())]
)
def test_versions(text, version):
    assert parse_version(text) == version
