"""The page's CSS; colours come as variables, so that one attribute on the document's root changes the theme."""

from __future__ import annotations

from workbench.theme import DARK, FONT, LIGHT, MONO, Theme, css_variables


def page_css() -> str:
    """CSS of the page itself; colours come as variables from the theme."""

    def block(theme: Theme) -> str:
        return ";".join(f"{k}:{v}" for k, v in css_variables(theme).items())

    return f"""
    :root, body {{ {block(DARK)} }}
    :root[data-sm-theme=light], :root[data-sm-theme=light] body {{ {block(LIGHT)} }}
    html, body {{ margin: 0; height: 100%; overflow: hidden; background: var(--sm-page); color: var(--sm-text); font-family: {FONT}; }}
    """


PANE_CSS = f"""
:host {{ font-family: {FONT}; color: var(--sm-text); }}
.sm-say {{ font: clamp(15px, 1.05vw, 20px) {FONT}; line-height: 1.4; padding: 2px 0 4px; color: var(--sm-text); }}
.sm-say b {{ color: var(--sm-level); }}
.sm-when {{ font: clamp(13px,.65vw,17px) {FONT}; white-space: nowrap; padding-top: 6px; }}
.sm-when b {{ font: 600 1.15em {MONO}; }}
code, pre {{ font-family: {MONO}; background: var(--sm-panel); border: 1px solid var(--sm-edge);
  border-radius: 4px; padding: 1px 5px; user-select: all; }}
pre {{ padding: 12px; overflow-x: auto; line-height: 1.6; font-size: 14px; }}
.sm-card {{ max-width: 900px; margin: 9vh auto; padding: 26px 32px; border: 1px solid var(--sm-edge); border-radius: 10px;
  background: var(--sm-page); font: 16px {FONT}; }}
.sm-card h2 {{ margin: 0 0 12px; }}
.sm-bar {{ height: 3px; background: linear-gradient(90deg, var(--sm-edge), var(--sm-long), var(--sm-edge)); }}
.sm-head {{ font: 600 13px {FONT}; color: var(--sm-muted); text-transform: none; }}
.sm-keys {{ font: 13px {FONT}; border-spacing: 6px 4px; }}
kbd {{ font: 12px {MONO}; border: 1px solid var(--sm-edge); border-radius: 3px; padding: 0 5px; }}
.sm-brand {{ font: 700 18px {FONT}; letter-spacing: .02em; }}
"""
