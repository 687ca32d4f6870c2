import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptmock.catalog import (
    EFFORTS,
    MODELS,
    CatalogSnapshot,
    ModelCatalog,
    ModelSpec,
    clamp_effort,
    explain_unknown,
)

CATALOG = ModelCatalog()


@pytest.mark.parametrize(
    ("name", "slug", "effort", "fast"),
    [
        ("gpt-5.5", "gpt-5.5", None, False),
        ("  gpt-5.5 ", "gpt-5.5", None, False),
        ("GPT-5.5", "gpt-5.5", None, False),
        ("gpt-5.5-high", "gpt-5.5", "high", False),
        ("gpt-5.5_high", "gpt-5.5", "high", False),
        ("gpt-5.5:high", "gpt-5.5", "high", False),
        ("GPT-5.5-HIGH", "gpt-5.5", "high", False),
        ("gpt-5.5:latest", "gpt-5.5", None, False),
        ("gpt-5.5-high:latest", "gpt-5.5", "high", False),
        ("gpt-5.5-fast", "gpt-5.5", None, True),
        ("gpt-5.5-fast-high", "gpt-5.5", "high", True),
        ("gpt-5.5-high-fast", "gpt-5.5", "high", True),
        ("gpt-5.5-max", "gpt-5.5", "max", False),
        ("gpt-6.1-sol-ultra", "gpt-6.1-sol", "ultra", False),
        ("gpt-5.5-low-high", "gpt-5.5", "high", False),
        ("gpt5.5", "gpt-5.5", None, False),
        ("gpt5", "gpt-5", None, False),
        ("gpt-5-latest", "gpt-5", None, False),
        ("codex", "codex-mini-latest", None, False),
        ("codex-mini", "codex-mini-latest", None, False),
        ("codex-mini-high", "codex-mini-latest", "high", False),
        ("gpt-5.6", "gpt-5.6-sol", None, False),
        ("gpt-5.6-high-fast", "gpt-5.6-sol", "high", True),
        # A vendor in front, as routers write it.
        ("openai/gpt-6.1-sol", "gpt-6.1-sol", None, False),
        ("OpenAI/GPT-6.1-sol:high", "gpt-6.1-sol", "high", False),
        ("gptmock/gpt-5.5-fast", "gpt-5.5", None, True),
        ("chatgpt/gpt-5.6", "gpt-5.6-sol", None, False),
        ("openai/gpt-5.5:latest", "gpt-5.5", None, False),
        # An effort in brackets.
        ("gpt-6.1-sol(high)", "gpt-6.1-sol", "high", False),
        ("openai/gpt-6.1-sol(XHIGH)", "gpt-6.1-sol", "xhigh", False),
        ("gpt-5.5-fast(low)", "gpt-5.5", "low", True),
        # All of it at once.
        ("openai/gpt-5.6(high)", "gpt-5.6-sol", "high", False),
        ("openai/gpt-5.6-high", "gpt-5.6-sol", "high", False),
        ("ChatGPT/GPT5.6:High", "gpt-5.6-sol", "high", False),
        ("openai/gpt-5.6:latest", "gpt-5.6-sol", None, False),
        ("openai/gpt-5.6-fast(max)", "gpt-5.6-sol", "max", True),
        ("gptmock/gpt-5.6-high-fast:latest", "gpt-5.6-sol", "high", True),
        # Ollama's clients put a tag behind everything.
        ("gpt-6.1-sol(high):latest", "gpt-6.1-sol", "high", False),
        ("openai/gpt-5.6(high):latest", "gpt-5.6-sol", "high", False),
        ("gpt-6.1-sol(ultra)-fast", "gpt-6.1-sol", "ultra", True),
        ("gpt-6.1-sol (high)", "gpt-6.1-sol", "high", False),
        ("chatgpt/gpt-5.6 (low):latest", "gpt-5.6-sol", "low", False),
        # Names of the catalogue are never taken apart.
        ("gpt-5.1-codex-max", "gpt-5.1-codex-max", None, False),
        ("gpt-5.1-codex-max-high", "gpt-5.1-codex-max", "high", False),
        ("codex-mini-latest", "codex-mini-latest", None, False),
        ("gpt-daybreak-blue-latest", "gpt-daybreak-blue-latest", None, False),
    ],
)
def test_a_known_name_is_resolved(name, slug, effort, fast):
    resolved = CATALOG.resolve(name)
    assert (resolved.slug, resolved.effort, resolved.fast) == (slug, effort, fast)
    assert resolved.spec is CATALOG.get(slug)
    assert resolved.spec is not None


@pytest.mark.parametrize(
    ("name", "slug", "effort"),
    [
        ("gpt-9", "gpt-9", None),
        ("gpt-9-high", "gpt-9", "high"),
        ("gpt-9:latest", "gpt-9", None),
        # These end real model names, so an unknown one keeps them.
        ("gpt-9-max", "gpt-9-max", None),
        ("gpt-9-fast", "gpt-9-fast", None),
        ("gpt-9-latest", "gpt-9-latest", None),
        ("gpt-9-ultra", "gpt-9-ultra", None),
        ("gpt-9-max-high", "gpt-9-max", "high"),
        ("gpt-9-high-max", "gpt-9-high-max", None),
        ("Gpt-9-High", "Gpt-9", "high"),
        ("gpt-5.5-high-turbo", "gpt-5.5-high-turbo", None),
        ("-high", "-high", None),
        ("high", "high", None),
        ("", "", None),
        ("İ-high", "İ", "high"),
        ("gpt-5.5-fa\u017ft", "gpt-5.5-fa\u017ft", None),
    ],
)
def test_an_unknown_name_is_never_replaced_silently(name, slug, effort):
    resolved = CATALOG.resolve(name)
    assert (resolved.slug, resolved.effort, resolved.fast, resolved.spec) == (slug, effort, False, None)


@pytest.mark.parametrize("name", ["gpt-5.5" + "-max" * 5000, "x" + "-max-high" * 5000, "x" + ":latest" * 100_000])
def test_a_monstrous_name_costs_nothing(name):
    started = time.process_time()
    resolved = CATALOG.resolve(name)
    assert time.process_time() - started < 2
    assert resolved.spec is None
    assert len(resolved.slug) > 1000


@given(st.text(max_size=40))
def test_any_name_is_resolved(name):
    resolved = CATALOG.resolve(name)
    assert resolved.slug == resolved.slug.strip() or resolved.spec is None
    assert CATALOG.resolve(resolved.slug).spec is resolved.spec


@pytest.mark.parametrize("fast", ["", "-fast", "_fast", ":fast"])
@pytest.mark.parametrize("join", "-_:")
@pytest.mark.parametrize("effort", EFFORTS)
def test_every_model_takes_every_effort_as_a_suffix(effort, join, fast):
    for model in MODELS:
        base = f"{model.slug}{join}{effort}"
        # "gpt-5.1-codex-max" is a name of its own.
        wanted = (CATALOG.get(base), None) if CATALOG.get(base) else (model, effort)
        resolved = CATALOG.resolve(base + fast)
        assert (resolved.spec, resolved.effort, resolved.fast) == (*wanted, bool(fast))


# --- Lists ---------------------------------------------------------------------------------


def test_living_models_come_first_and_the_preferred_one_is_the_default():
    assert CATALOG.default.slug == "gpt-6.2-sol"
    assert [spec.priority for spec in CATALOG.living] == sorted(spec.priority for spec in CATALOG.living)
    assert all(spec.retired is None and spec.listed for spec in CATALOG.living)
    assert CATALOG.listed[: len(CATALOG.living)] == CATALOG.living
    assert {spec.slug for spec in CATALOG.listed} == {spec.slug for spec in MODELS if spec.listed}


def test_each_retired_model_names_a_living_successor():
    for spec in MODELS:
        if spec.retired is not None:
            assert spec.successor in {living.slug for living in CATALOG.living}


def test_a_catalogue_can_be_an_accounts_own():
    catalog = ModelCatalog([ModelSpec(slug="gpt-7", efforts=("low",), priority=2), ModelSpec(slug="a", efforts=())])
    assert catalog.default.slug == "gpt-7"
    assert catalog.resolve("gpt-5.5-high").spec is None
    assert catalog.get("gpt-5.5") is None


# --- Efforts --------------------------------------------------------------------------------


def spec(*efforts):
    return ModelSpec(slug="m", efforts=efforts)


@pytest.mark.parametrize(
    ("wanted", "efforts", "sent"),
    [
        ("high", ("low", "medium", "high"), "high"),
        ("none", ("low", "medium"), "low"),
        ("minimal", ("low", "medium"), "low"),
        ("xhigh", ("low", "medium", "high"), "high"),
        ("max", ("low", "medium", "high", "xhigh"), "xhigh"),
        ("ultra", ("low", "xhigh", "max", "ultra"), "max"),
        ("ultra", ("low", "ultra"), "max"),
        ("ultra", ("low", "high"), "high"),
        ("medium", ("low", "high"), "low"),
        ("medium", (), "medium"),
    ],
)
def test_an_effort_is_the_nearest_one_that_the_model_has(wanted, efforts, sent):
    assert clamp_effort(wanted, spec(*efforts)) == sent


@pytest.mark.parametrize("effort", EFFORTS)
def test_an_unknown_model_gets_what_was_asked_for(effort):
    assert clamp_effort(effort, None) == ("max" if effort == "ultra" else effort)


@given(st.sampled_from(MODELS), st.sampled_from(EFFORTS))
def test_no_model_is_sent_what_it_lacks(model, effort):
    assert clamp_effort(effort, model) in {"max" if one == "ultra" else one for one in model.efforts}


# --- Refusals of models ------------------------------------------------------------------------


def test_a_retired_model_is_explained_with_its_successor_and_the_living():
    text = explain_unknown("Not supported.", CATALOG.resolve("gpt-5.2"), CATALOG)
    assert text.startswith("Not supported. gpt-5.2 was retired for ChatGPT accounts (2026-06-04); use gpt-5.5.")
    assert "Models that exist: gpt-6.2-sol, " in text
    assert "gpt-5.1," not in text


def test_a_listed_model_that_is_refused_points_to_the_client_identity():
    text = explain_unknown("Not found.", CATALOG.resolve("gpt-6-astra"), CATALOG)
    assert "GPTMOCK_ORIGINATOR" in text
    assert "retired" not in text


def test_an_unknown_model_gets_the_names_that_exist():
    text = explain_unknown("Not found. ", CATALOG.resolve("gpt-9"), CATALOG)
    assert text.startswith("Not found. Models that exist: ")


def test_a_catalogue_of_hidden_models_has_a_default_too():
    catalog = ModelCatalog(
        [ModelSpec(slug="b", efforts=(), listed=False), ModelSpec(slug="c", efforts=(), listed=False)]
    )
    assert catalog.living == ()
    assert catalog.default.slug == "b"


# --- A live catalogue -----------------------------------------------------------------------------


LIVE = ModelCatalog(
    [
        ModelSpec(slug="gpt-7", efforts=("low", "high"), priority=1),
        ModelSpec(slug="gpt-6.1-sol", efforts=("low",), priority=2, successor="gpt-7"),
        ModelSpec(slug="GPT-7-Mini", efforts=(), priority=3, listed=False),
    ],
    remembered=MODELS,
    etag='W/"1"',
)


def test_what_the_account_has_wins_over_what_is_remembered():
    known = LIVE.get("gpt-6.1-sol")
    assert known is not None
    assert (known.efforts, known in LIVE) == (("low",), True)
    assert [one.slug for one in LIVE.listed] == ["gpt-7", "gpt-6.1-sol"]
    assert [one.slug for one in LIVE.models] == ["gpt-7", "gpt-6.1-sol", "GPT-7-Mini"]


@pytest.mark.parametrize(
    ("name", "slug", "effort", "fast"),
    [
        ("gpt-7-fast-high", "gpt-7", "high", True),
        ("gpt7:latest", "gpt-7", None, False),
        ("gpt-7-mini-low", "GPT-7-Mini", "low", False),
        # Not in the account's catalogue, but nothing of what could be written stops working.
        ("gpt-5.2_high", "gpt-5.2", "high", False),
        ("codex-mini", "codex-mini-latest", None, False),
        ("gpt-6-astra-max", "gpt-6-astra", "max", False),
    ],
)
def test_names_of_both_are_resolved(name, slug, effort, fast):
    resolved = LIVE.resolve(name)
    assert (resolved.slug, resolved.effort, resolved.fast) == (slug, effort, fast)
    assert resolved.spec is LIVE.get(slug)


def test_remembered_names_are_not_the_accounts():
    for name in ("gpt-5.2", "gpt-6-astra"):
        spec = LIVE.get(name)
        assert spec is not None
        assert spec not in LIVE
        assert spec not in LIVE.listed


def test_a_successor_is_one_that_the_account_has():
    # gpt-5.4 is followed by gpt-5.6-terra, of which this account has neither.
    catalog = ModelCatalog(
        [ModelSpec(slug="gpt-7", efforts=())],
        remembered=[*MODELS, ModelSpec(slug="gpt-5.6-terra", efforts=(), successor="gpt-7")],
    )
    followed = {slug: catalog.successor(spec) for slug in ("gpt-5.4", "gpt-5.2") if (spec := catalog.get(slug))}
    assert followed == {"gpt-5.4": catalog.get("gpt-7"), "gpt-5.2": None}


def test_successors_that_run_in_circles_lead_nowhere():
    catalog = ModelCatalog(
        [ModelSpec(slug="c", efforts=())],
        remembered=[ModelSpec(slug="a", efforts=(), successor="b"), ModelSpec(slug="b", efforts=(), successor="a")],
    )
    assert catalog.successor(catalog.get("a") or MODELS[0]) is None


@pytest.mark.parametrize(
    ("name", "said", "unsaid"),
    [
        ("gpt-5.2-high", "gpt-5.2 was retired for ChatGPT accounts (2026-06-04).", "gpt-5.5"),
        ("gpt-6-astra", "This account's catalogue does not have gpt-6-astra.", "GPTMOCK_ORIGINATOR"),
        ("gpt-6.1-sol", "GPTMOCK_ORIGINATOR or GPTMOCK_CODEX_VERSION; use gpt-7.", "retired"),
        ("gpt-9", "No. Models that exist: gpt-7, gpt-6.1-sol.", "GPTMOCK"),
    ],
)
def test_a_refusal_is_explained_by_what_the_account_has(name, said, unsaid):
    text = explain_unknown("No.", LIVE.resolve(name), LIVE)
    assert said in text
    assert unsaid not in text
    assert text.endswith("Models that exist: gpt-7, gpt-6.1-sol.")


@pytest.mark.parametrize(
    ("name", "slug", "said"),
    [
        ("gpt-7-high", "gpt-7-high", "Your API key may not use gpt-7-high; use gpt-7."),
        ("gpt-7-high-low", "gpt-7-high", "Your API key may not use gpt-7-high; use gpt-7."),
        ("gpt-6-astra", "gpt-6-astra", "This account's catalogue does not have gpt-6-astra."),
        ("gpt-5.2", "gpt-5.2", "gpt-5.2 was retired for ChatGPT accounts (2026-06-04)."),
    ],
)
def test_a_name_means_the_same_to_a_caller_who_may_use_some_models(name, slug, said):
    specs = [
        ModelSpec(slug="gpt-7", efforts=("low", "high")),
        ModelSpec(slug="gpt-7-high", efforts=("low",), successor="gpt-7"),
    ]
    whole = ModelCatalog(specs, remembered=MODELS, etag='"1"')
    limited = whole.limited(lambda slug: slug != "gpt-7-high").limited(lambda _: True)
    assert (limited.models, limited.etag) == ((specs[0],), None)
    resolved = limited.resolve(name)
    assert resolved == whole.resolve(name)
    assert (resolved.slug, resolved.spec in limited) == (slug, False)
    assert said in explain_unknown("No.", resolved, limited)
    assert limited.resolve("gpt-7-low").spec in limited


@pytest.mark.parametrize(
    ("etag", "heard", "told", "same"),
    [
        ('W/"1"', (), 'W/"1"', True),
        ('W/"1"', (), '"1"', True),
        ('"1"', (), 'W/"1" ', True),
        ('W/"1"', (), 'W/"2"', False),
        ('W/"1"', ('"2"',), 'W/"2"', True),
        (None, (), '"1"', False),
        ('W/"w"', (), '"W"', False),
    ],
)
def test_entity_tags_are_compared_weakly(etag, heard, told, same):
    assert CatalogSnapshot(b"{}", etag, 0.0, heard).is_named(told) is same


def test_an_alias_gives_way_to_a_model_of_that_very_name():
    catalog = ModelCatalog([ModelSpec(slug="gpt-5.6", efforts=("low",)), ModelSpec(slug="gpt-5.6-sol", efforts=())])
    assert catalog.resolve("gpt-5.6").slug == "gpt-5.6"
    assert ModelCatalog([ModelSpec(slug="gpt-5.6-sol", efforts=())]).resolve("gpt-5.6").slug == "gpt-5.6-sol"


@pytest.mark.parametrize("name", ["openai/gpt-9", "other/gpt-5.5", "openai/", "gpt-5.5(odd)", "a/openai/gpt-5.5"])
def test_a_vendor_or_brackets_around_what_is_unknown_go_upstream_as_written(name: str):
    resolved = CATALOG.resolve(name)
    assert (resolved.slug, resolved.spec, resolved.effort) == (name, None, None)


@pytest.mark.parametrize(
    ("name", "slug", "effort"),
    [
        ("gpt-9(high):latest", "gpt-9", "high"),
        ("gpt-9-max(high)", "gpt-9-max", "high"),
        ("gpt-9(max)", "gpt-9", "max"),
        ("openai/gpt-9(low)", "openai/gpt-9", "low"),
    ],
)
def test_an_effort_in_brackets_ends_the_name_of_no_model(name: str, slug: str, effort: str):
    resolved = CATALOG.resolve(name)
    assert (resolved.slug, resolved.spec, resolved.effort) == (slug, None, effort)
