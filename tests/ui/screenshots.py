"""Draw the pictures in assets/ again, from a simulated market: ``python -m tests.ui.screenshots [LAKE]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from engine.commands.setup_shown import setup_worth_a_look
from engine.lake.store import Lake
from tests.support.lakes import spymaster
from tests.ui.conftest import CHROMIUM_ARGS, ROOT, Server, chromium
from tests.ui.pages import opened

SHOTS = {
    "level_dark_27in.png": ("", 2560, 1440),
    "level_light_27in.png": ("theme=light&layer=net&half=20&span=60", 2560, 1440),
    "level_dark_13in.png": ("layer=depth&map=bookmap", 1440, 900),
    "level_light_13in.png": ("theme=light&layer=add&span=60", 1440, 900),
}


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as tmp:
        if len(sys.argv) > 1:
            lake = Path(sys.argv[1])
        else:
            lake = Path(tmp) / "lake"
            spymaster("demo", "--lake", lake, "--no-serve")
        # The moment on which the demo opens.
        shown = urlencode(setup_worth_a_look(Lake(lake)) or {}, safe=":")
        server = Server(lake, log=Path(tmp) / "serve.log")
        try:
            with sync_playwright() as p:
                browser = p.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
                for name, (query, width, height) in SHOTS.items():
                    with opened(browser, f"{server.url}?{shown}&{query}", width=width, height=height) as (page, _):
                        page.wait_for_timeout(2500)
                        page.screenshot(path=str(ROOT / "assets" / name))
                browser.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
