"""``python -m workbench serve FILE ...``: Panel's own command line, behind the guard of `workbench.access` from the first request on."""

from __future__ import annotations

# Worker processes import this file again, under another name: they need none of it.
if __name__ == "__main__":
    import sys

    from panel.command import main

    from workbench import access

    access.install_from_environment()
    main(["panel", *sys.argv[1:]])
