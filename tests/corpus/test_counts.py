"""The corpus only grows: a case that is removed, or a kind that is forgotten, is found here."""

from __future__ import annotations

import pytest

from tests.corpus.cases import FOLDER, cases

COUNTS = {
    "headers": 74,
    "images": 70,
    "json": 148,
    "oauth": 67,
    "raw_http": 161,
    "tools": 76,
    "upstream_sse": 98,
}
"""Raise a number with each case that is added; never lower one."""
PROMISED = {"headers": 44, "images": 40, "json": 60, "oauth": 40, "raw_http": 80, "tools": 30, "upstream_sse": 60}


def test_every_kind_has_its_tests():
    assert {path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("__")} == set(COUNTS)


@pytest.mark.parametrize("kind", COUNTS)
def test_no_case_is_lost(kind: str):
    assert len(cases(kind)) == COUNTS[kind] >= PROMISED[kind]


@pytest.mark.parametrize("kind", COUNTS)
def test_every_case_says_what_it_is_about(kind: str):
    assert [case.name for case in cases(kind) if len(case.about) < 5] == []
