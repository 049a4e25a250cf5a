"""``python -m workbench serve FILE ...``: Panel's own command line, behind the guard of `workbench.access` from the first request on.

With an address in ``SPYMASTER_SHOW`` a browser opens it once the server listens.
"""

from __future__ import annotations


def open_in_browser(url: str) -> None:
    """Open `url`, which may carry a secret, in a browser; returns a minute later.

    Every user of the machine can read the command line of a browser. So it is given a file that leads to `url`, which only this user can
    read, for a minute or until the server ends.
    """
    import atexit
    import html
    import shutil
    import tempfile
    import time
    import webbrowser
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="spymaster-"))  # mode 700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    leads = folder / "open.html"
    leads.touch(mode=0o600)
    leads.write_text(
        f'<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>spymaster</title>'
        f'<meta http-equiv="refresh" content="0;url={html.escape(url)}">'
    )
    if not webbrowser.open(leads.as_uri()):
        print("--show: no browser was found; open the printed address", flush=True)
    time.sleep(60)
    shutil.rmtree(folder, ignore_errors=True)


# Worker processes import this file again, under another name: they need none of it.
if __name__ == "__main__":
    import os
    import sys
    from contextlib import suppress
    from threading import Thread

    from engine.cli import terminable

    # An interrupt comes before the server listens; from then on Bokeh takes both signals, and `main` returns.
    with suppress(KeyboardInterrupt), terminable([]):
        from panel.command import main
        from tornado.ioloop import IOLoop

        from workbench import access

        access.install_from_environment()
        if url := os.environ.pop("SPYMASTER_SHOW", ""):
            # The loop starts when the port is this server's; where another program has it, nothing is opened.
            IOLoop.current().add_callback(Thread(target=open_in_browser, args=(url,), daemon=True).start)
        main(["panel", *sys.argv[1:]])

    from workbench.workers import close_all

    close_all()
    sys.stderr.write("stopped\n")
    sys.exit(130)
