"""
Recorded streams and what every dialect makes of them, as files to read. ``pytest --rewrite-goldens`` writes them anew:
the upstream bytes from the simulator's scenes, the rest from the dialects. The diff is then reviewed.
"""

from pathlib import Path

import pytest

from gptmock.dialects.table import DIALECTS
from gptmock.simulator.scenes import render_scene
from tests.playbook import as_client, collect, play

GOLDENS = Path(__file__).parent / "goldens"
SCENES = (
    "text",
    "reasoning",
    "reasoning-raw",
    "interleaved",
    "tool",
    "tools2",
    "text+tool",
    "custom",
    "oneshot-arguments",
    "search",
    "refusal",
    "two-messages",
    "image",
    "done-only",
    "noids",
    "vendor-first",
    "unknown",
    "filled",
    "substitute",
    "queued",
    "separators",
    "incomplete",
    "filter",
    "failed-first",
    "failed-mid",
    "error-event",
    "error-event-nested",
    "overload",
    "eof-mid",
    "garbage",
    "multiline",
    "comments",
)


@pytest.fixture
def golden(request):
    """A file to compare with, or to write."""
    rewrite = request.config.getoption("--rewrite-goldens")

    def same(path, data):
        if rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return path.read_bytes() == data

    return same


@pytest.mark.parametrize("scene", SCENES)
def test_the_scene_is_recorded(scene, golden):
    path = GOLDENS / scene / "upstream.sse"
    # Only a rewrite asks the simulator: a golden stands still even where a scene moves on.
    assert golden(path, render_scene(scene)) or path.stat().st_size > 0


@pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
@pytest.mark.parametrize("scene", SCENES)
def test_streamed(route, scene, golden):
    frames = play(route, (GOLDENS / scene / "upstream.sse").read_bytes())
    as_client(route, frames)
    assert golden(GOLDENS / scene / f"{route.name}.stream.txt", frames.joined), frames


@pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)
@pytest.mark.parametrize("scene", SCENES)
def test_collected(route, scene, golden):
    collected = collect(route, (GOLDENS / scene / "upstream.sse").read_bytes())
    document = collected if isinstance(collected, bytes) else route.dialect.error(collected).body
    assert golden(GOLDENS / scene / f"{route.name}.document.json", document + b"\n"), document


def test_no_golden_is_left_over():
    assert {path.name for path in GOLDENS.iterdir()} == set(SCENES)
    names = {f"{route.name}.{kind}" for route in DIALECTS for kind in ("stream.txt", "document.json")}
    for scene in SCENES:
        assert {path.name for path in (GOLDENS / scene).iterdir()} == {"upstream.sse", *names}
