"""Opens a URL in the desktop's browser."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def open_browser(url: str) -> bool:
    """
    Open a URL in a browser. Returns False if there is no desktop.

    Without a desktop ``webbrowser`` would start a text browser in this terminal, where the user types.
    """
    on_desktop = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not on_desktop:
        return False
    # In a daemon thread: some browsers do not return until they are closed.
    threading.Thread(target=_show, args=(url,), daemon=True, name="browser").start()
    return True


def _show(url: str) -> None:
    try:
        webbrowser.open(url)
    except (OSError, webbrowser.Error):
        # The caller prints the URL as well.
        return
