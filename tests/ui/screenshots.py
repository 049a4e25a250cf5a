"""Draw the pictures in assets/ again, from a simulated market: ``python -m tests.ui.screenshots [LAKE]``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser

from engine.commands.demo import demo_query
from engine.lake.store import Lake
from engine.live.journal import Journal
from engine.live.session import is_running
from tests.support.lakes import command, spymaster
from tests.ui.conftest import ROOT, Server, launched

SHOTS = {
    "level_dark_27in.png": ("", 2560, 1440),
    "level_light_27in.png": ("theme=light&layer=net&half=20&span=60", 2560, 1440),
    "level_dark_13in.png": ("layer=depth&map=bookmap", 1440, 900),
    "level_light_13in.png": ("theme=light&layer=add&span=60&volume=on", 1440, 900),
    "neighbours_dark_13in.png": ("view=neighbours", 1440, 900),
    "neighbours_light_27in.png": ("view=neighbours&theme=light", 2560, 1440),
    "compare_dark_13in.png": ("view=compare", 1440, 900),
    "compare_light_13in.png": ("view=compare&theme=light&layer=net", 1440, 900),
    "research_hit_rates_light_13in.png": ("view=research&about=levels&theme=light", 1440, 900),
    "research_hypothesis_dark_13in.png": ("view=research&about=hypothesis", 1440, 900),
    "research_audit_light_13in.png": ("view=research&about=audit&theme=light", 1440, 900),
    "research_features_dark_13in.png": ("view=research&about=features", 1440, 900),
    "research_quality_light_13in.png": ("view=research&about=quality&theme=light", 1440, 900),
}
"""Name -> what the URL asks for beside the moment, width and height."""

SETTLED_MS = 12_000
"""Similar setups of a session and what Research asks of the lake take some seconds the first time; the very first more."""


LIVE = ("live_dark_13in.png", "level=or_high&marks=off", 1440, 900)
"""The page that follows a session under way, that of `spymaster live-demo`."""


def live_picture(browser: Browser, folder: Path) -> None:
    """Write the picture of a session under way."""
    name, query, width, height = LIVE
    lake = folder / "live-demo"
    playing = subprocess.Popen(command("live-demo", "--lake", lake, "--no-serve", "--no-faults", "--at", "09:50"))
    try:
        journal = Journal(lake, "ES")
        while not is_running(journal.status(), time.time_ns()) or journal.status()["clock"]["speed"] != 1:
            time.sleep(1)
        server = Server(lake, log=folder / "live.log")
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{server.url}?{query}")
            page.wait_for_timeout(2 * SETTLED_MS)
            page.screenshot(path=str(ROOT / "assets" / name))
        finally:
            server.stop()
    finally:
        playing.terminate()
        playing.wait()


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as tmp:
        if len(sys.argv) > 1:
            lake = Path(sys.argv[1])
        else:
            lake = Path(tmp) / "lake"
            spymaster("demo", "--lake", lake, "--no-serve")
        # The moment on which the demo opens.
        moment = demo_query(Lake(lake)) or {}
        shown = urlencode(moment, safe=":")
        if moment:
            # Compare has a picture of it to hold against the lake.
            os.environ["SPYMASTER_ASSETS"] = tmp
            of = ("--symbol", moment["contract"], "--level", moment["level"], "--ts", f"{moment['session']} {moment['t']}")
            spymaster("snapshot", "--lake", lake, *of, "--out", Path(tmp) / "SETUP_1.png")
        server = Server(lake, log=Path(tmp) / "serve.log")
        try:
            with launched() as browser:
                live_picture(browser, Path(tmp))
                for i, (name, (query, width, height)) in enumerate(SHOTS.items()):
                    page = browser.new_page(viewport={"width": width, "height": height})
                    page.goto(f"{server.url}?{shown}&{query}")
                    page.wait_for_timeout(SETTLED_MS if i else 2 * SETTLED_MS)
                    page.screenshot(path=str(ROOT / "assets" / name))
                    page.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
