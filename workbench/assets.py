"""Scripts and styles of the page and its figures, read from ``workbench/js`` and ``workbench/css``.

A script is put into the page with the component or the callback that needs it, so that the page asks no other address for it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from string import Template

from workbench.theme import FONT, MONO

JS = Path(__file__).parent / "js"
CSS = Path(__file__).parent / "css"


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def script(*names: str, **constants: float | str | bool) -> str:
    """Text of the scripts `names`, one after the other, after a line ``const NAME = value;`` for each constant."""
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    return "".join([*lines, *(_read(JS / f"{name}.js") for name in names)])


def page_until_drawn() -> str:
    """Panel's page with a sentence in it until it is drawn, as a template: components and their scripts come only over the websocket."""
    return Template(_read(Path(__file__).with_name("connecting.html"))).substitute(script=script("connecting"))


def style(*names: str, **values: str) -> str:
    """Text of the styles `names`, one after the other, with `values` (or a KeyError) and the fonts for ``${name}``."""
    return "".join(Template(_read(CSS / f"{name}.css")).substitute(values, FONT=FONT, MONO=MONO) for name in names)
