"""What the page says in words: the sentence, the time at the cursor, errors, and what to do where something is missing."""

from __future__ import annotations

import re
from html import escape

from workbench.plots.axes import price_text
from workbench.theme import Theme

_CODE = re.compile(r"`([^`]+)`")


def rich(text: str) -> str:
    """`text` as HTML; what stands in backquotes is a command to copy."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def sentence(text: str) -> str:
    """The sentence, its head (level and price) set apart."""
    end = next((i for i, c in enumerate(text) if c in ",:"), len(text))
    head, rest = text[:end], text[end:]
    return f"<div class='sm-say' role='status' aria-live='polite'><b>{escape(head)}</b>{escape(rest)}</div>"


def when(begin: str, end: str, last: int | None, tick_size: float, theme: Theme) -> str:
    """Window at the cursor and the last trade in it, New York time."""
    price = "no trade yet" if last is None else price_text(last, tick_size)
    return (
        f"<div class='sm-when' style='color:{theme.muted}'>last <b style='color:{theme.text}'>{price}</b> · "
        f"cursor <b style='color:{theme.text}'>{begin}</b>–{end} New York</div>"
    )


def loading(root: str) -> str:
    """Before the first picture."""
    return f"<div class='sm-card'><h2>Reading the lake</h2><p><code>{escape(root)}</code></p><div class='sm-bar'></div></div>"


def failed(root: str, message: str) -> str:
    """Where nothing can be drawn."""
    return (
        f"<div class='sm-card' role='alert'><h2>This session cannot be shown</h2><p>{rich(message)}</p>"
        f"<p>Lake: <code>{escape(root)}</code></p></div>"
    )


def nothing(root: str) -> str:
    """Where the lake holds no ladder: how to make one."""
    where = escape(root)
    return (
        "<div class='sm-card'><h2>No session in the lake yet</h2>"
        f"<p>The lake <code>{where}</code> has no price ladder. Two commands make one from Databento files (GLBX.MDP3, schema mbo):</p>"
        f"<pre>spymaster add --lake {where} path/to/files\nspymaster run --lake {where} --product-type future_mbo --layer all "
        "--symbol ESH4 --dates 2023-12-25 --session globex_open</pre>"
        "<p>Then reload this page. Another lake: <code>spymaster serve --lake DIR</code>.</p></div>"
    )
