"""How does a report become one HTML file that needs no network? Pieces of a page; every text is escaped here."""

import base64
from collections.abc import Sequence
from html import escape

Cell = str | int | float | None

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --muted: #616e7c; --line: #dde3e9; --accent: #2f6690; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #f7f8fa; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header, nav { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 32px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 6px; }
h3 { font-size: 1rem; margin: 22px 0 8px; overflow-wrap: anywhere; }
p { margin: 0 0 12px; max-width: 76ch; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.notice { background: #fff4d6; border: 1px solid #e6c76a; border-radius: 6px; padding: 9px 14px; max-width: none; }
nav { padding-top: 6px; padding-bottom: 14px; font-size: .9rem; }
nav a { display: inline-block; margin: 0 14px 4px 0; color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 22px 24px; margin: 0 0 18px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 18px 26px; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 12px 0 4px; }
.tiles div { border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
.tiles b { display: block; font-size: 1.45rem; line-height: 1.3; font-weight: 600; }
.tiles span { font-size: .82rem; color: var(--muted); display: block; line-height: 1.35; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .86rem; color: var(--muted); margin-bottom: 4px; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.wide svg { min-width: 680px; }
table { border-collapse: collapse; font-size: .89rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--muted); vertical-align: bottom; white-space: normal; line-height: 1.3; }
th:first-child, td:first-child, .text { text-align: left; }
.legend { font-size: .86rem; margin: 4px 0 8px; }
.legend span { margin-right: 16px; white-space: nowrap; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(236px, 100%), 1fr)); gap: 20px; }
.small figure { display: flex; flex-direction: column; justify-content: flex-end; }
.small figcaption { line-height: 1.3; }
.gallery img { display: block; width: 100%; height: auto; background: #000; border-radius: 3px; }
.gallery .parts { display: grid; grid-template-columns: repeat(4, 1fr); gap: 3px; margin: 3px 0 6px; }
.gallery figcaption { color: var(--ink); line-height: 1.4; }
.gallery .id { color: var(--muted); font-size: .76rem; }
pre { background: #f2f4f7; border: 1px solid var(--line); border-radius: 6px; padding: 12px 14px; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; margin: 0 0 12px; }
code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: 8px 0; }
footer { max-width: 1120px; margin: 0 auto; padding: 4px 20px 36px; color: var(--muted); font-size: .85rem; }
@media (max-width: 600px) {
  main, header, nav { padding-left: 12px; padding-right: 12px; }
  section { padding: 16px 14px; }
  h1 { font-size: 1.35rem; }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px 12px; }
  .gallery figcaption { font-size: .78rem; }
  .small { grid-template-columns: repeat(3, 1fr); gap: 10px; }
  .small figcaption { font-size: .74rem; }
  table { font-size: .82rem; }
  th, td { padding-right: 9px; }
}
@media print { nav { display: none; } section { break-inside: avoid-page; } }
"""


def document(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Returns the page; each section is a triple of anchor, heading and HTML, `lead` is HTML below the title."""
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    bodies = "".join(
        f'<section id="{anchor}"><h2>{escape(heading)}</h2>{body}</section>\n' for anchor, heading, body in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing is fetched, and nothing can be: not even by a text that got past the escaping.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{lead}</header>\n<nav>{links}</nav>\n<main>\n{bodies}</main>\n"
        "<footer>Made by <code>python -m model.report</code>. The page is complete in itself and fetches nothing."
        "</footer>\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Returns a paragraph of plain text; `kind` is `muted` or `notice`."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Returns a table that scrolls sideways on narrow screens; `None` is a dash, fractions have four digits."""
    kinds = [_kind(column) for column in zip(*rows, strict=True)] or [""] * len(header)
    top = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(shown(cell))}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _kind(column: Sequence[Cell]) -> str:
    """Returns the attribute of a column: words stand to the left, numbers to the right."""
    words = any(isinstance(cell, str) and cell[:1].isalpha() for cell in column)
    return ' class="text"' if words else ""


def shown(cell: Cell) -> str:
    """Returns the text of a cell."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def figure(caption: str, body: str) -> str:
    """Returns a figure with its caption above it; `body` is HTML."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{body}</figure>"


def grid(figures: Sequence[str], kind: str = "grid") -> str:
    """Returns figures side by side, as many as fit; `kind` is `grid`, `small` or `gallery`."""
    return f'<div class="{kind}">{"".join(figures)}</div>'


def tiles(pairs: Sequence[tuple[str, str]]) -> str:
    """Returns large figures with what they are below each."""
    return f'<div class="tiles">{"".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in pairs)}</div>'


def heading(text: str) -> str:
    """Returns a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def folded(title: str, body: str) -> str:
    """Returns HTML that is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def preformatted(text: str) -> str:
    """Returns text as it is, for commands."""
    return f"<pre>{escape(text)}</pre>"


def picture(png: bytes, alternative: str) -> str:
    """Returns an image, inside the page itself."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(alternative)}">'
