"""``gptmock invite`` against the embedded store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gptmock.clients import invitation_id_of
from tests.cli.inside import run
from tests.cli.test_keys import with_state


def document(home: Path, *arguments: str) -> Any:
    shown = run(home, "invite", *arguments, "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)


def test_a_link_is_made_listed_and_revoked(tmp_path: Path):
    made = run(tmp_path, "invite", "ada", "--url", "https://ai.example.com/base/", "--models", "gpt-6*", "--rpm", "9")
    assert made.returncode == 0
    address, _, token = made.stdout.strip().partition("#")
    assert address == "https://ai.example.com/base/join"
    assert invitation_id_of(token) is not None
    assert "works once, and ends in 6 d 23 h" in made.stderr
    assert "this machine" not in made.stderr
    (listed,) = document(tmp_path, "--list")["invitations"]
    assert (listed["name"], listed["models"], listed["rpm"]) == ("ada", ["gpt-6*"], 9)
    shown = run(tmp_path, "invite", "--list").stdout
    assert listed["id"] in shown
    assert token[12:] not in shown + json.dumps(listed)
    revoked = run(tmp_path, "invite", "--revoke", "ada")
    assert (revoked.returncode, "revoked" in revoked.stdout) == (0, True)
    assert document(tmp_path, "--list") == {"invitations": []}
    assert "gptmock invite NAME" in run(tmp_path, "invite", "--list").stdout
    events = json.loads(run(tmp_path, "audit", "--json").stdout)["events"]
    assert [one["action"] for one in events] == ["invitation.revoked", "invitation.created"]
    assert all(token[12:] not in json.dumps(one) for one in events)


def test_the_link_leads_to_the_public_url(tmp_path: Path):
    settings = {"GPTMOCK_PUBLIC_URL": "https://ai.example.com:8443", "GPTMOCK_BASE_PATH": "/ai"}
    made = run(tmp_path, "invite", "ada", **settings)
    assert made.stdout.startswith("https://ai.example.com:8443/ai/join#gi_")
    assert "--url" not in made.stderr
    named = run(tmp_path, "invite", "bob", "--url", "https://other.example.com", **settings)
    assert named.stdout.startswith("https://other.example.com/join#gi_")


def test_the_terms_of_the_key_and_the_lifetime_of_the_link(tmp_path: Path):
    made = document(tmp_path, "ada", "--expires", "1d", "--key-expires", "90d", "--role", "viewer", "--owner", "Ada L.")
    assert made["link"].startswith("http://127.0.0.1:8000/join#gi_")
    assert (made["role"], made["owner"]) == ("viewer", "Ada L.")
    (stored,) = with_state(tmp_path, lambda state: state.invitations.all())
    assert stored.expires_at - stored.created_at == pytest.approx(24 * 3600)
    assert stored.terms.expires_at is not None
    assert stored.terms.account_id is None
    assert "this machine" in run(tmp_path, "invite", "bob").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "say whom to invite"),
        (("ada", "--list"), 2, "say whom to invite"),
        (("ada", "--url", "ai.example.com"), 2, "an address such as"),
        (("ada", "--url", "https://ai.example.com/?x"), 2, "an address such as"),
        (("ada", "--expires", "never"), 2, "a duration such as"),
        (("ada", "--role", "admin"), 2, "invalid choice"),
        (("ada", "--account", "work"), 2, "unrecognized arguments"),
        (("ada", "--expires", "31d"), 1, "1 minute to 30 days"),
        (("ada", "--key-expires", "1d"), 1, "would expire before the invitation"),
        (("--revoke", "nobody"), 1, "no open invitation with the name or id 'nobody'"),
    ],
)
def test_mistakes_are_named_and_make_no_link(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str):
    shown = run(tmp_path, "invite", *arguments)
    assert (shown.returncode, shown.stdout) == (code, "")
    assert said in shown.stderr
    assert document(tmp_path, "--list") == {"invitations": []}


def test_a_name_is_given_once(tmp_path: Path):
    document(tmp_path, "ada")
    again = run(tmp_path, "invite", "ada")
    assert (again.returncode, "open invitation for 'ada'" in again.stderr) == (1, True)
    assert run(tmp_path, "keys", "create", "bob").returncode == 0
    taken = run(tmp_path, "invite", "bob")
    assert (taken.returncode, "valid client key named 'bob'" in taken.stderr) == (1, True)
