"""What the pages share: the document, its style, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

COLOURS = {
    "to make": "#4c8bf5",
    "to make again": "#9b7bea",
    "ok": "#3aa657",
    "rejected": "#d8973c",
    "left out": "#d9534f",
    "not made": "#c9ced6",
}

STYLE = """
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1c2430;background:#fff}
h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
.verdict{padding:.6rem .8rem;border-radius:.5rem;margin:.6rem 0;font-weight:600}
.yes{background:#e5f5ea;color:#14592c}.no{background:#fde8e7;color:#8c1d18}
.part{background:#fdf1d8;color:#6b4a00}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem .8rem;margin:.4rem 0}dt{color:#667}dd{margin:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #e7eaef;vertical-align:top}
th,td{white-space:nowrap}td:last-child:not(.n){white-space:normal;min-width:11rem}svg{max-width:44rem}
td.n,th.n{text-align:right}th{color:#667;font-weight:600}.small{color:#667;font-size:.85rem}
.key span{display:inline-block;margin-right:.8rem;font-size:.85rem}
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.3em;border-radius:2px}
summary{cursor:pointer;color:#2457a6}
"""


def document(title: str, body: Iterable[str]) -> str:
    """Wrap a body into a page that needs no other file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def rows_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()) -> str:
    """Make an HTML table; columns in `numbers` are right-aligned."""
    right = set(numbers)

    def cells(tag: str, values: Sequence[Any]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in right else ''}>{escape(str(value))}</{tag}>"
            for place, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{cells("th", heads)}</tr>{body}</table></div>'


def folded(title: str, content: str) -> str:
    """Hide a long table behind its title."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def colour_key(states: Iterable[str]) -> str:
    """Say which colour is which state."""
    shown = "".join(f'<span><i style="background:{COLOURS[state]}"></i>{state}</span>' for state in states)
    return f'<p class="key">{shown}</p>'
