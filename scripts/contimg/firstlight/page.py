"""First light as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contimg.core.html import Table, render
from contimg.firstlight.finding import Verdict

ORDER = (Verdict.FAILS, Verdict.UNTOLD, Verdict.HOLDS)


def page(found: Mapping[str, Any]) -> str:
    """Show what `FirstLight.look` found: what fails first, then what cannot be told, then what holds."""
    findings = found["findings"]
    fails = [one["name"] for one in findings if one["verdict"] == Verdict.FAILS]
    untold = sum(one["verdict"] == Verdict.UNTOLD for one in findings)
    said = (
        f"{len(fails)} assumptions not borne out: {', '.join(fails)}"
        if fails
        else f"No assumption fails; {untold} cannot be told from these data"
    )
    sections = {str(verdict).capitalize(): _findings(found, verdict) for verdict in ORDER}
    return render(
        "firstlight/templates/firstlight.html",
        title="First light",
        found=found,
        fails=fails,
        said=said,
        sections={name: table for name, table in sections.items() if table.rows},
        antennas=_antennas(found),
        interference=_interference(found),
        transits=_transits(found),
    )


def _findings(found: Mapping[str, Any], verdict: Verdict) -> Table:
    rows = [
        (one["name"], one["assumption"], one["measured"], one["advice"])
        for one in found["findings"]
        if one["verdict"] == verdict
    ]
    return Table(("name", "assumption", "measured", "what to do"), rows)


def _antennas(found: Mapping[str, Any]) -> Table:
    rows = [
        (row["name"], _whole(row["sefd_x_jy"]), _whole(row["sefd_y_jy"]), "yes" if row["fringes"] else "no")
        for row in found["antennas"]
    ]
    return Table(("antenna", "SEFD X / Jy", "SEFD Y / Jy", "fringes"), rows, (1, 2))


def _whole(value: float | None) -> str:
    return "" if value is None or not abs(value) < 1e9 else f"{value:.0f}"


def _interference(found: Mapping[str, Any]) -> Table:
    rows = [
        (
            row["tile"],
            f"{row['part']:.1%}",
            ", ".join(f"{low:.2f}–{high:.2f}" for low, high in row["mhz"][:20]),
        )
        for row in found["interference"]
    ]
    return Table(("tile", "channels", "MHz"), rows, (1,))


def _transits(found: Mapping[str, Any]) -> Table:
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
    return Table(heads, rows, (2, 3, 4))
