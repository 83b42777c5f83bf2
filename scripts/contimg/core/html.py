"""What the pages share: one environment of templates, tables, and how a state looks.

A page is a template beside the package that fills it (`plan/templates/plan.html`). All extend
`core/templates/base.html`, and none needs another file to be shown. What is filled in is escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from contimg.core.text import count_of

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = Path(__file__).resolve().parents[1]
STATIC = PACKAGE / "core" / "static"
"""The style sheet: pages of products hold it, the service serves it."""

COLOURS = {
    "to make": "#0072b2",
    "to make again": "#56b4e9",
    "ok": "#009e73",
    "rejected": "#d55e00",
    "failed": "#e69f00",
    "error": "#1c2430",
    "left out": "#cc79a7",
    "not made": "#9aa3b2",
}
"""Okabe and Ito's colours, which colour-blind readers tell apart; each state has a mark of its own beside."""
MARKS = {
    "to make": "+",
    "to make again": "↻",
    "ok": "✓",
    "rejected": "✗",
    "failed": "!",
    "error": "‼",
    "left out": "○",
    "not made": "–",
}


@dataclass(frozen=True)
class State:
    """A cell that says what became of something, with the state's mark; `path` leads to what says more.

    Attributes
    ----------
    name : str
        The state, which has the mark.
    path : str or None
        Where it leads, relative to the page.
    said : str
        Shown instead of the name.
    """

    name: str
    path: str | None = None
    said: str = ""

    @property
    def mark(self) -> str:
        """The state's mark; none where the state is not one of `MARKS`."""
        return MARKS.get(self.name, "")

    @property
    def href(self) -> str | None:
        """The path as pages have it."""
        return None if self.path is None else quote(self.path)


@dataclass(frozen=True)
class Link:
    """A cell that leads on.

    Attributes
    ----------
    text : str
        What it says.
    path : str or None
        Where it leads, relative to the page; None: there is nothing to lead to, and the text stands alone.
    """

    text: str
    path: str | None

    @property
    def href(self) -> str | None:
        """The path as pages have it."""
        return None if self.path is None else quote(self.path)


HOME = Link("all products", "../index.html")
"""The way back from a page in a folder of the products tree."""


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes
    ----------
    heads : sequence of str
        Of the columns.
    rows : sequence of sequence
        Cells: text, numbers, a `State` or a `Link`.
    numbers : collection of int
        Columns that are aligned right.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbers: Collection[int] = ()


@cache
def environment() -> Environment:
    """Jinja's environment for all pages: templates are named by their path below the package."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(colours=COLOURS, marks=MARKS, count_of=count_of)
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return made


def render(template: str, /, **shown: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    template : str
        Its path below the package: `plan/templates/plan.html`.
    **shown
        What it shows; a name that the template uses and that is missing is an error.
    """
    return environment().get_template(template).render(**shown)


def reason_page(title: str, reason: str) -> str:
    """A page that says why there is none."""
    return render("core/templates/reason.html", title=title, reason=reason)
