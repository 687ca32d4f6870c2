"""Which conformance checks are shown, and that the table of ``tests/CHECKS.md`` tells the truth about it."""

from __future__ import annotations

import re

import pytest

from tests.checks import TABLE, TESTS, TITLES, all_checks, module_checks, script_checks, table


def test_the_checks_are_numbered_without_a_gap():
    # What lies between belongs to routes that do not exist yet.
    known = [
        (1, 121),
        (200, 239),
        (240, 258),
        (260, 265),
        (270, 273),
        (280, 282),
        (300, 319),
        (320, 329),
        (330, 337),
        (340, 344),
        (350, 359),
        (360, 364),
    ]
    assert list(TITLES) == [number for first, end in known for number in range(first, end)]


def test_every_script_of_a_client_is_run():
    scripts = TESTS / "clients" / "scripts"
    found = {path.name for path in scripts.iterdir() if path.stem.endswith("_checks")}
    modules = (path.read_text(encoding="utf-8") for path in (TESTS / "clients").glob("test_*.py"))
    run = {name for text in modules for name in re.findall(r'checks_of\("(\w+\.m?[jp]\w+)"\)', text)}
    assert found == run


def test_a_module_is_read_as_pytest_collects_it(tmp_path):
    module = tmp_path / "test_some.py"
    module.write_text(
        "import pytest\n"
        "pytestmark = [pytest.mark.clients, pytest.mark.check(1)]\n"
        "@pytest.mark.check(2, 3)\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.check(4)), 2])\n"
        "async def test_one(x): ...\n"
        "@pytest.mark.check(5)\n"
        "def helper(): ...\n"
        "@pytest.mark.check(6)\n"
        "class TestMany:\n"
        "    def test_two(self): ...\n"
        "class Other:\n"
        "    @pytest.mark.check(7)\n"
        "    def test_three(self): ...\n"
    )
    assert module_checks(module) == {"test_one": (1, 2, 3, 4), "TestMany::test_two": (1, 6)}


@pytest.mark.parametrize("mark", ["121", "0", "'22'", "*NUMBERS", "True"])
def test_a_mark_has_numbers_of_checks(tmp_path, mark):
    module = tmp_path / "test_some.py"
    module.write_text(f"@pytest.mark.check({mark})\ndef test_one(): ...\n")
    with pytest.raises(ValueError, match=r"test_some\.py:1: no number of a check"):
        module_checks(module)


def test_a_script_begins_its_docstrings_with_numbers(tmp_path):
    python, node = tmp_path / "some_checks.py", tmp_path / "some_checks.mjs"
    python.write_text('async def check_one(bench):\n    """1, 2 and 3, but not 4: so."""\ndef other(): ...\n')
    node.write_text(
        "/** 5, 6: so. */\nexport async function checkTwo(bench) {}\n/** 7. */\nasync function other() {}\n"
    )
    assert script_checks(python) == {"check_one": (1, 2, 3)}
    assert script_checks(node) == {"checkTwo": (5, 6)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("some_checks.py", "def check_one(bench): ...\n"),
        ("some_checks.py", 'def check_one(bench):\n    """All is well. 1."""\n'),
        ("some_checks.py", 'def check_one(bench):\n    """999."""\n'),
        ("some_checks.mjs", "export async function checkOne(bench) {}\n"),
        ("some_checks.mjs", "/** All is well. */\nexport async function checkOne(bench) {}\n"),
    ],
)
def test_a_check_without_a_number_is_a_mistake(tmp_path, name, text):
    script = tmp_path / name
    script.write_text(text)
    with pytest.raises(ValueError, match="does not begin with the numbers"):
        script_checks(script)


def test_the_table_names_tests_and_what_is_missing():
    rows = table({1: ["test_a.py::test_one", "test_b.py::test_two"]}).split("\n")
    assert f"| 1 | {TITLES[1]} | `test_a.py::test_one`<br>`test_b.py::test_two` |" in rows
    assert f"| 2 | {TITLES[2]} |  |" in rows


# --- The whole tree ---------------------------------------------------------------------


def test_every_check_is_shown():
    known = all_checks().keys()
    assert [(number, title) for number, title in TITLES.items() if number not in known] == []


def test_the_table_is_up_to_date():
    assert TABLE.read_text(encoding="utf-8") == table(all_checks()), "run: python -m tests.checks --write"
