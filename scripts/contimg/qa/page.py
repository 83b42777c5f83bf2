"""The night's page: one screen of verdict, then pictures. Self-contained HTML, for a telephone too."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contimg.core import names
from contimg.core.html import HOME, Link, State, Table, reason_page, render
from contimg.core.kinds import STATUS
from contimg.core.products import building, read_json
from contimg.core.provenance import versions
from contimg.core.text import count_of, duration
from contimg.qa import night, photometry_page, scale_page, verdict
from contimg.qa import plots as qa_plots
from contimg.qa.notes import about

GATE_MARKS = {verdict.PASS: "✓", verdict.FAIL: "✗", verdict.NOT_EVALUATED: "–"}


def page(facts: Mapping[str, Any], tree: Path, flux_snr: float) -> str:
    """Show a night.

    Parameters
    ----------
    facts : mapping
        From `contimg.qa.night.gather`.
    tree : Path
        Products tree: pictures and tables of sources are read from it.
    flux_snr : float
        Sources above this are compared with the catalogue.
    """
    text, well = night.headline(facts)
    compared, scale = scale_page.of_night(facts["tiles"], tree, flux_snr)
    tables = [_table(tree / tile["sources"]) for tile in facts["tiles"] if tile["gates"]]
    measured = photometry_page.tables(tree, facts["date"], facts["photometry"])
    references = photometry_page.references(measured)
    charts = {
        "Noise and flags": qa_plots.against_time(facts["tiles"]),
        "Against the catalogue": qa_plots.against_catalogue(tables, flux_snr),
        "Against the beam": qa_plots.against_beam(compared),
    }
    return render(
        "qa/templates/night.html",
        title=f"Night {facts['date']}",
        above=[HOME],
        well=well,
        said=text,
        numbers=[
            *numbers(facts, tables, flux_snr),
            ("Scale", scale_page.summary(scale)),
            *([("References", photometry_page.line(references))] if measured else []),
        ],
        mosaics=_mosaics(facts["mosaics"]),
        missing=[mosaic for mosaic in facts["mosaics"] if mosaic["causes"]],
        lost=facts["lost"],
        charts={title: _encoded(png) for title, png in charts.items() if png is not None},
        scale=scale_page.table(scale, facts["tiles"]),
        flagged=_most_flagged(facts["tiles"], tree),
        noisiest=_noisiest(facts["tiles"], tree),
        injections=_injections(facts["injections"]),
        completeness=_completeness(facts["injections"]),
        photometry=_photometry(facts["photometry"]),
        measured=_encoded_or_none(photometry_page.plot(measured, references)),
        references=photometry_page.stability(references),
        pictures=_pictures(facts["mosaics"], tree),
        calibrations=_calibrations(facts["calibrations"]),
        solutions=_solutions(facts["calibrations"]),
        gates={"mosaics": _gates(facts["mosaics"]), "tiles": _gates(facts["tiles"], tree)},
        version=versions()["contimg"],
    )


def _encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _encoded_or_none(png: bytes | None) -> str | None:
    return None if png is None else _encoded(png)


def numbers(
    facts: Mapping[str, Any], tables: Sequence[pd.DataFrame], flux_snr: float
) -> list[tuple[str, str]]:
    """The numbers of the first screen: name and value."""
    rows = []
    states = [tile["state"] for tile in facts["tiles"]]
    counts = [f"{states.count(name)} {name}" for name in qa_plots.STATES if name in states]
    if facts["left_out"]:
        counts.append(f"{len(facts['left_out'])} left out")
    rows.append(("Tiles", ", ".join(counts) or "none"))
    noise = [tile["metrics"] for tile in facts["tiles"] if "rms_jy" in tile["metrics"]]
    if noise:
        rms, over = (float(np.median([row[key] for row in noise])) for key in ("rms_jy", "rms_over_expected"))
        sefd = [row["sefd_jy"] for row in noise if row["sefd_jy"]]
        said = f", SEFD {np.median(sefd):.0f} Jy" if sefd else ""
        lowest = _mjy(min(row["rms_jy"] for row in noise))
        rows.append(
            (
                "Noise of tiles",
                f"{_mjy(rms)}/beam at the middle of a tile (median; lowest {lowest}), {over:.2f} × expected{said}",
            )
        )
    made = [
        mosaic for mosaic in facts["mosaics"] if mosaic["best_rms_jy"] and mosaic["metrics"].get("rms_jy")
    ]
    if made:
        whole = float(np.median([mosaic["metrics"]["rms_jy"] for mosaic in made]))
        lowest = _mjy(min(mosaic["best_rms_jy"] for mosaic in made))
        rows.append(("Noise of mosaics", f"{_mjy(whole)}/beam over the whole area (median; lowest {lowest})"))
    pairs = [table for table in tables if "comparable" in table]
    bright = pd.concat(pairs) if pairs else pd.DataFrame()
    if len(bright):
        bright = bright[(bright["snr"] >= flux_snr) & bright["comparable"].fillna(value=False).astype(bool)]
    if len(bright):
        offset = np.hypot(bright["offset_east_arcsec"].median(), bright["offset_north_arcsec"].median())
        rows.append(
            (
                "Catalogue",
                f"measured/catalogue flux {bright['ratio'].median():.3f} (median of {len(bright)} pairs), positions "
                f"off by {offset:.2f}″ (median)",
            )
        )
    else:
        rows.append(("Catalogue", "not compared: no catalogue, or no source bright enough"))
    if facts["photometry"]:
        rows.append(("Photometry", measured(facts["photometry"])))
    rows.append(("Latency", clock(facts["mosaics"])))
    notes = Counter(head for tile in facts["tiles"] for head in {about(note) for note in tile["notes"]})
    if notes:
        said = ", ".join(f"{head} ({count_of(number, 'tile')})" for head, number in sorted(notes.items()))
        rows.append(("Notes", f"{said}; in full below, under “tiles, every gate”"))
    return rows


def measured(photometry: Sequence[Mapping[str, Any]]) -> str:
    """What was measured: sources and how well both estimators of a flux agree, medians of the mosaics."""
    good = [one["metrics"] for one in photometry if one["reason"] is None]
    text = f"{len(good)} of {len(photometry)} mosaics measured"
    if not good:
        return text
    sources, seen, bright = (
        np.median([row[name] for row in good]) for name in ("n_sources", "n_seen", "n_bright")
    )
    text += f"; a mosaic has {sources:.0f} sources, {seen:.0f} seen, {bright:.0f} above 50 σ (medians)"
    ratios = [row for row in good if "image_over_visibilities" in row]
    if ratios:
        ratio, scatter = (
            np.median([row[name] for row in ratios])
            for name in ("image_over_visibilities", "image_over_visibilities_scatter")
        )
        text += f"; flux in the image over that in the visibilities {ratio:.3f} ± {scatter:.3f}"
    return text


def clock(mosaics: Sequence[Mapping[str, Any]]) -> str:
    """The latency clock: last raw file to verdict, median and worst mosaic, slowest step of the worst."""
    known = [mosaic for mosaic in mosaics if mosaic["latency"]]
    if not known:
        return "not known: no mosaic, or the raw files are gone"
    worst = max(known, key=lambda mosaic: mosaic["latency"]["seconds"])
    seconds = [mosaic["latency"]["seconds"] for mosaic in known]
    slowest = worst["latency"]["slowest"]
    return (
        f"last subband on disk to verdict: {duration(float(np.median(seconds)))} (median), {duration(max(seconds))} "
        f"(worst, {worst['name']}; slowest step: {slowest}, {duration(worst['latency']['steps'][slowest])})"
    )


def _mosaics(mosaics: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            _picture_of(mosaic["name"], mosaic["product"], there=bool(mosaic["gates"])),
            State(mosaic["state"], f"../{mosaic['product']}/{STATUS}"),
            f"{mosaic['used']} of {mosaic['wanted']}",
            _mjy(mosaic["metrics"].get("rms_jy")),
            _mjy(mosaic["best_rms_jy"]),
            mosaic["metrics"].get("n_sources", ""),
            "" if mosaic["latency"] is None else duration(mosaic["latency"]["seconds"]),
            "" if mosaic["latency"] is None else mosaic["latency"]["slowest"],
            mosaic["reason"] or "; ".join(mosaic["notes"]),
        )
        for mosaic in mosaics
    ]
    heads = (
        "mosaic", "state", "tiles", "rms, whole area", "lowest rms", "sources", "latency", "slowest step", "why",
    )  # fmt: skip
    return Table(heads, rows, (2, 3, 4, 5, 6))


def _mjy(value_jy: float | None) -> str:
    return "" if value_jy is None else f"{1e3 * value_jy:.3g} mJy"


def _pictures(mosaics: Sequence[Mapping[str, Any]], tree: Path) -> list[dict[str, str]]:
    """The mosaics that were judged: name, state and picture."""
    shown = []
    for mosaic in mosaics:
        if not mosaic["gates"]:
            continue
        stem = tree / mosaic["product"] / mosaic["name"]
        png = qa_plots.mosaic(
            Path(f"{stem}.fits"), Path(f"{stem}.rms.fits"), _table(tree / mosaic["sources"])
        )
        shown.append({"name": mosaic["name"], "state": mosaic["state"], "png": _encoded(png)})
    return shown


def _most_flagged(tiles: Sequence[Mapping[str, Any]], tree: Path) -> dict[str, str] | None:
    """Where the flags are in the tile that lost most: its name and a picture; None where no tile says."""
    records = {}
    for tile in tiles:
        sidecar = tree / names.science_sidecar(tile["name"])
        if sidecar.is_file():  # retention lets Measurement Sets go
            records[tile["name"]] = read_json(sidecar)
    said = [name for name, record in records.items() if "flag_fraction_by_time" in record["metrics"]]
    if not said:
        return None
    worst = max(said, key=lambda name: records[name]["metrics"]["flag_fraction"])
    return {"name": worst, "png": _encoded(qa_plots.flags(records[worst], worst))}


def _noisiest(tiles: Sequence[Mapping[str, Any]], tree: Path) -> dict[str, str] | None:
    """The tile whose rms is most above what is expected: its numbers, why, and how its image came to be, if it says."""
    known = [tile for tile in tiles if "rms_over_expected" in tile["metrics"]]
    if not known:
        return None
    worst = max(known, key=lambda tile: tile["metrics"]["rms_over_expected"])
    path = tree / names.image_dir(worst["name"]) / f"{worst['name']}.steps.png"
    if not path.is_file():
        return None
    highest = max(known, key=lambda tile: tile["metrics"]["rms_jy"])
    return {
        "name": worst["name"],
        "said": _noise_of(worst["metrics"]),
        "why": worst["metrics"].get("why_noisy") or f"no tile is above {verdict.NOISIER:g} × expected",
        "highest": "" if highest is worst else f"{highest['name']}: {_noise_of(highest['metrics'])}",
        "png": _encoded(qa_plots.smaller(path)),
    }


def _noise_of(metrics: Mapping[str, Any]) -> str:
    return f"rms {_mjy(metrics['rms_jy'])}/beam at its middle, {metrics['rms_over_expected']:.2f} × expected"


def _calibrations(calibrations: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            entry["name"],
            State("rejected" if entry["reason"] else "ok", f"../{entry['directory']}/{STATUS}"),
            entry["refant"] or "",
            _rounded(entry["n_antennas"]),
            _rounded(entry["phase_scatter_deg"]),
            entry["reason"] or "",
        )
        for entry in calibrations
    ]
    heads = ("transit", "state", "reference antenna", "antennas solved", "phase scatter (deg)", "why")
    return Table(heads, rows, (3, 4))


def _solutions(calibrations: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Pictures of the solutions of each transit, by their names."""
    pictures = {
        entry["name"]: {
            path.stem: _encoded(qa_plots.smaller(path))
            for path in sorted(Path(entry["directory"]).glob("*.png"))
        }
        for entry in calibrations
    }
    return {name: plots for name, plots in pictures.items() if plots}


def _injections(injections: Sequence[Mapping[str, Any]]) -> Table:
    """What became of the sources that were put into the night's data."""
    rows = [
        (
            entry["name"],
            entry["metrics"].get("n_injected", ""),
            _rounded(entry["metrics"].get("completeness")),
            _rounded(entry["metrics"].get("flux_ratio")),
            _rounded(entry["metrics"].get("flux_ratio_err")),
            entry["reason"] or "",
        )
        for entry in injections
    ]
    return Table(
        ("tile", "injected", "completeness", "measured / true flux", "±", "why not"), rows, (1, 2, 3, 4)
    )


def _completeness(injections: Sequence[Mapping[str, Any]]) -> str | None:
    known = [entry["metrics"] for entry in injections if entry["reason"] is None]
    return _encoded(qa_plots.completeness(known)) if known else None


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _photometry(photometry: Sequence[Mapping[str, Any]]) -> Table:
    """What was measured of each mosaic."""
    keys = ("n_sources", "n_seen", "n_bright", "n_slopes", "noise_factor", "image_over_visibilities")
    rows = [
        (one["name"], *(_rounded(one["metrics"].get(key)) for key in keys), one["reason"] or "")
        for one in photometry
    ]
    heads = ("", "sources", "seen", "above 50 σ", "slopes", "noise factor", "image / visibilities", "why not")
    return Table(heads, rows, (1, 2, 3, 4, 5, 6))


def _gates(products: Sequence[Mapping[str, Any]], steps_in: Path | None = None) -> Table:
    """Every product and gate; with a link to how each image of a products tree came to be."""
    gates = list(dict.fromkeys(name for product in products for name in product["gates"]))
    rows = [
        (
            _picture_of(product["name"], _product(product), there=bool(product["gates"])),
            State(product["state"], "../" + product["sources"].removesuffix(".sources.parquet") + ".json"),
            *([] if steps_in is None else [_steps(product["name"], steps_in)]),
            *(_shown(product["gates"].get(name)) for name in gates),
            product["reason"] or "; ".join(product["notes"]),
        )
        for product in products
    ]
    return Table(("", "state", *([] if steps_in is None else ["how made"]), *gates, "why"), rows)


def _steps(tile: str, tree: Path) -> Link | str:
    """The picture of how a tile's image came to be, if it has one."""
    path = f"{names.image_dir(tile)}/{tile}.steps.png"
    return Link("steps", f"../{path}") if (tree / path).is_file() else ""


def _product(product: Mapping[str, Any]) -> str:
    """Directory of a tile's image or of a mosaic."""
    return str(product.get("product") or names.image_dir(product["name"]))


def _picture_of(name: str, product: str, *, there: bool) -> Link:
    return Link(name, f"../{product}/{name}.png" if there else None)


def _shown(gate: Mapping[str, Any] | None) -> str:
    if gate is None:
        return ""
    value = _rounded(gate["value"])
    return f"{GATE_MARKS[gate['verdict']]} {value}".strip()


def _table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame()


@dataclass(frozen=True)
class NightPage:
    """The job that makes the page of a date.

    Attributes
    ----------
    date : str
        UTC date.
    path : str
        Where the page goes.
    left_out : sequence of (tile, reason)
        Groups of files of the date that made no tile.
    flux_snr : float
        Sources above this are compared with the catalogue.
    """

    date: str
    path: str
    left_out: Sequence[tuple[str, str]]
    flux_snr: float

    def make(self) -> str:
        """Gather the night of the products tree that is the working directory, and show it."""
        facts = night.gather(self.date, Path(), self.left_out)
        self._write(page(facts, Path(), self.flux_snr))
        return night.headline(facts)[0]

    def reject(self, reason: str) -> None:
        """Leave a page that says why there is none."""
        self._write(reason_page(f"Night {self.date}", reason))

    def _write(self, html: str) -> None:
        with building(Path(self.path)) as part:
            part.write_text(html, encoding="utf-8")
