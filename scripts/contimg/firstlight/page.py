"""First light as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from contimg.core.html import document, folded, rows_table
from contimg.firstlight.finding import Verdict

ORDER = (Verdict.FAILS, Verdict.UNTOLD, Verdict.HOLDS)


def page(found: Mapping[str, Any]) -> str:
    """Show what `FirstLight.look` found: what fails first, then what cannot be told, then what holds."""
    findings = found["findings"]
    fails = [one for one in findings if one["verdict"] == Verdict.FAILS]
    untold = sum(one["verdict"] == Verdict.UNTOLD for one in findings)
    said = (
        f"{len(fails)} assumptions not borne out: {', '.join(one['name'] for one in fails)}"
        if fails
        else f"No assumption fails; {untold} cannot be told from these data"
    )
    source = f", on {escape(str(found['calibrator']))}" if found["calibrator"] else ""
    body = [
        "<h1>First light</h1>",
        f'<p class="verdict {"no" if fails else "yes"}">{escape(said)}</p>',
        f"<p class=small>{escape(found['incoming'])}: {found['tiles']} tiles, {len(found['left_out'])} "
        "groups left out. "
        f"Fringes of {escape(found['tile'])}{source}. contimg {escape(found['contimg'])}.</p>",
    ]
    for verdict in ORDER:
        rows = [
            (one["name"], one["assumption"], one["measured"], one["advice"])
            for one in findings
            if one["verdict"] == verdict
        ]
        if rows:
            body.append(f"<h2>{str(verdict).capitalize()}</h2>")
            body.append(_table(rows))
    body += [_antennas(found), _interference(found), _transits(found)]
    return document("First light", body)


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    cells = "".join(
        f'<tr><td><b>{escape(name)}</b><td style="white-space:normal">{escape(what)}'
        f'<td style="white-space:normal">{escape(said)}<td style="white-space:normal">{escape(advice)}</tr>'
        for name, what, said, advice in rows
    )
    head = "<tr><th>name<th>assumption<th>measured<th>what to do</tr>"
    return f'<div class="wide"><table>{head}{cells}</table></div>'


def _antennas(found: Mapping[str, Any]) -> str:
    rows = [
        (row["name"], _whole(row["sefd_x_jy"]), _whole(row["sefd_y_jy"]), "yes" if row["fringes"] else "no")
        for row in found["antennas"]
    ]
    return folded(
        f"{len(rows)} antennas",
        rows_table(("antenna", "SEFD X / Jy", "SEFD Y / Jy", "fringes"), rows, (1, 2)),
    )


def _whole(value: float | None) -> str:
    return "" if value is None or not abs(value) < 1e9 else f"{value:.0f}"


def _interference(found: Mapping[str, Any]) -> str:
    rows = [
        (
            row["tile"],
            f"{row['part']:.1%}",
            ", ".join(f"{low:.2f}–{high:.2f}" for low, high in row["mhz"][:20]),
        )
        for row in found["interference"]
    ]
    return folded(f"Interference in {len(rows)} tiles", rows_table(("tile", "channels", "MHz"), rows, (1,)))


def _transits(found: Mapping[str, Any]) -> str:
    rows = [
        (
            row["calibrator"],
            row["tile"],
            f"{row['apparent_jy']:.2f}",
            f"{row['beam']:.2f}",
            f"{row['a_team_jy']:.2f}",
        )
        for row in found["transits"]
    ]
    heads = ("source", "tile", "apparent / Jy", "beam", "A-team / Jy")
    return folded(f"{len(rows)} transits", rows_table(heads, rows, (2, 3, 4)))
