"""Opening the person's browser, where there is one to open."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def open_browser(url: str) -> bool:
    """
    Ask the desktop to show a page; returns whether there was anybody to ask.

    Without a desktop Python would start a text browser in this very terminal, where the person is about to type.
    """
    on_desktop = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not on_desktop:
        return False
    # A thread nobody waits for: some browsers stay in the foreground until they are closed.
    threading.Thread(target=_show, args=(url,), daemon=True, name="browser").start()
    return True


def _show(url: str) -> None:
    try:
        webbrowser.open(url)
    except (OSError, webbrowser.Error):
        # The URL is on the screen as well.
        return
