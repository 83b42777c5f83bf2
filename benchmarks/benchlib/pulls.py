"""Are the errors true: fluxes of small realistic nights less the truth, over their errors, by S/N and beam response.

Both estimators: the fit to the visibilities of each tile (``visibilities``) and forced photometry of the mosaics at
the true places (``mosaic``); beside them forced photometry of each tile's image (``tile``). Bins are of the *true* S/N,
true flux over the error from noise: nothing is chosen by what was measured, but that the fit has only what its search
found, above 7 σ.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from benchlib import chain, skies
from contimg.core.constants import REFERENCE_HZ
from contimg.core.products import read_json
from contimg.photometry import measured, positions
from contimg.photometry.options import PhotometryOptions
from contimg.photometry.table import Flag
from contimg.simulate.night import simulate
from contimg.simulate.options import SimOptions, Source, preset
from contimg.simulate.truth import read_truth

SEFD_JY = 3000.0
"""Of an antenna, less than half of the true one: so small a tile then has 2 mJy of noise, and sources of every S/N."""
SETTINGS: dict[str, Any] = {"mosaic_name": "all", "qa": {"sefd_jy": SEFD_JY}}
LISTED_JY = 0.004
"""True sources above this are measured, as a catalogue of NVSS's depth would have it."""
ALONE_BEAMS = 2.0
"""A source counts if nothing brighter than `ALONE_PART` of it is so near: an error is no statement on blends."""
ALONE_PART = 0.03
SAME_BEAMS = 0.5
LEAST_SNR = 4.0
"""True S/N of the fluxes that are kept."""
COLUMNS = ["night", "tile", "estimator", "source", "true_jy", "flux_jy", "stat_err_jy", "response", "fitted"]


@dataclass(frozen=True)
class PullNight:
    """A night of two tiles.

    Attributes
    ----------
    name : str
    options : SimOptions
    """

    name: str
    options: SimOptions


def nights(count: int) -> list[PullNight]:
    """Nights of `count` seeds: skies, gains and noise of their own; by turns bright and fainter calibrators, north and
    south.
    """
    made = []
    for number in range(count):
        options = replace(_north(), seed=1001 + number)
        name = f"north, 8.8 Jy, seed {options.seed}"
        if number % 4 == 1:
            options = replace(options, sources=(Source("0834+555", 128.7287, 55.5725, 3.0, -0.4),))
            name = f"north, 3 Jy, seed {options.seed}"
        elif number % 4 == 3:
            options = replace(
                options,
                dec_deg=-5.0,
                start="2026-01-19",
                transit_of="0000-053",
                sources=(Source("0000-053", 0.3, -5.3, 4.0, -0.6),),
            )
            name = f"south, 4 Jy, seed {options.seed}"
        made.append(PullNight(name, options))
    return made


def _north() -> SimOptions:
    """The preset `realistic` in two tiles of eight integrations and 50 MHz, with 20 mJy and more four a square
    degree.
    """
    return replace(
        preset("realistic"),
        faults=(),
        sources=(Source("0834+555", 128.7287, 55.5725, 8.8, -0.4),),
        n_tiles=2,
        transit_tile=0,
        n_integrations=8,
        n_channels=4,
        band_low_hz=1380e6,
        band_high_hz=1430e6,
        dead_antennas=(),
        rfi_bursts=0,
        rfi_lines_mhz=(1405.0,),
        a_team=False,
        beam_squint_ha_deg=0.05,
        beam_squint_dec_deg=-0.03,
        field_half_width_deg=2.0,
        field_density_per_deg2=4.0,
        field_flux_min_jy=0.02,
        field_flux_slope=1.6,
        background_max_jy=0.02,
        sefd_jy=SEFD_JY,
    )


def measure(night: PullNight, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Take a night from its raw files to its mosaic, and compare with the truth.

    Returns
    -------
    rows : DataFrame
        `COLUMNS`: one row a flux, without the calibrator's, which is right by definition. Errors from noise alone,
        fluxes at the product's frequency; ``fitted``: whether a source of the image was in the fits of its tiles.
    about : dict
        What the tiles say: ``noise`` (rms over the thermal one of their weights), ``taken``, ``n_sources``,
        ``neighbour_noise``.
    """
    where = folder / night.name.replace(", ", "_").replace(" ", "_")
    incoming = where / "incoming"
    if not (incoming / "truth.json").is_file():
        shutil.rmtree(where, ignore_errors=True)
        simulate(night.options, incoming, threads=1)
    sources = read_truth(incoming).sources
    lists = {"calibrators": where / "calibrators.csv", "catalog": where / "catalog.csv"}
    lists["calibrators"].write_text(skies.calibrator_table(night.options))
    lists["catalog"].write_text(skies.reference_table(sources, night.options.seed))
    judged = chain.judge(
        incoming, where / "products", {**SETTINGS, **{name: str(path) for name, path in lists.items()}}
    )
    with contextlib.chdir(judged.products):
        parts, about = _compare(judged, pd.DataFrame([vars(source) for source in sources]))
    rows = pd.concat(parts, ignore_index=True).assign(night=night.name)
    told = (rows["source"] != night.options.transit_of) & (rows["true_jy"] > LEAST_SNR * rows["stat_err_jy"])
    return rows.loc[told, COLUMNS], about


def _compare(judged: chain.Judged, sky: pd.DataFrame) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    parts: list[pd.DataFrame] = []
    noise, taken, count, neighbour = [], [], [], []
    known: set[str] = set()
    for verdict in judged.tiles:
        path = Path(verdict["product"])
        state = read_json(path / "status.json")
        if state["reason"] is not None:
            continue
        metrics = state["metrics"]
        noise.append(metrics["rms_jy"] / metrics["thermal_from_weights_jy"])
        model = metrics["sky_model"]
        taken.append(model["taken"])
        count.append(model["n_sources"])
        neighbour.append(model["neighbour_noise"])
        fitted = _visibilities(path, sky)
        known |= set(fitted["source"])
        parts += [fitted, _forced(path, sky, set(fitted["source"]))]
    for verdict in judged.mosaics:
        path = Path(verdict["product"])
        if read_json(path / "status.json")["status"] == "ok":
            parts.append(_mosaic(path, sky, known))
    about = {"noise": noise, "taken": taken, "n_sources": count, "neighbour_noise": neighbour}
    return parts, about


def _alone(sky: pd.DataFrame, beam_arcsec: float) -> np.ndarray:
    """Which true sources are points without a neighbour that counts."""
    places = SkyCoord(sky["ra_deg"], sky["dec_deg"], unit="deg")
    first, second, _, _ = places.search_around_sky(places, ALONE_BEAMS * beam_arcsec * u.arcsec)
    flux = sky["flux_jy"].to_numpy()
    alone = np.array(sky["major_arcsec"] == 0.0)
    disturbed = (first != second) & (flux[second] > ALONE_PART * flux[first])
    alone[np.unique(first[disturbed])] = False
    return alone


def _at(sky: pd.DataFrame, freq_hz: float) -> np.ndarray:
    """True fluxes at a frequency."""
    return np.asarray(sky["flux_jy"] * (freq_hz / REFERENCE_HZ) ** sky["spectral_index"])


def _visibilities(path: Path, sky: pd.DataFrame) -> pd.DataFrame:
    """The fit's fluxes of a tile, at 1.4 GHz."""
    table = pd.read_parquet(path / f"{path.name}.sources.parquet")
    beam_arcsec = 3600.0 * float(fits.getheader(path / f"{path.name}.rms.fits")["BMAJ"])
    truth = SkyCoord(sky["ra_deg"], sky["dec_deg"], unit="deg")
    found = SkyCoord(table["ra_deg"], table["dec_deg"], unit="deg")
    near, apart, _ = found.match_to_catalog_sky(truth)
    good = (apart < SAME_BEAMS * beam_arcsec * u.arcsec) & _alone(sky, beam_arcsec)[near]
    good &= ~table["flags"].str.contains("moved|blended").to_numpy()
    table, true = table[good], sky.iloc[near[good]]
    return pd.DataFrame(
        {
            "tile": path.name,
            "estimator": "visibilities",
            "source": true["name"].to_numpy(),
            "true_jy": true["flux_jy"].to_numpy(),
            "flux_jy": table["flux_jy"].to_numpy(),
            "stat_err_jy": table["flux_err_jy"].to_numpy(),
            "response": table["beam"].to_numpy(),
            "fitted": True,
        }
    )


def _listed(sky: pd.DataFrame) -> pd.DataFrame:
    """The list that is measured: as `contimg.photometry.positions` has it."""
    some = sky[sky["flux_jy"] >= LISTED_JY].reset_index(drop=True)
    return positions.named(some)


def _forced(path: Path, sky: pd.DataFrame, fitted: set[str]) -> pd.DataFrame:
    """Forced photometry of a tile's image."""
    listed = _listed(sky)
    rows, _, header = measured.of_mosaic(measured.Mosaic.of(path), listed, PhotometryOptions())
    power = np.asarray(fits.getdata(path / f"{path.name}.pb.fits"), float)
    x, y = WCS(header).celestial.world_to_pixel(SkyCoord(rows["ra_deg"], rows["dec_deg"], unit="deg"))
    rows["pb"] = power[np.rint(y).astype(int), np.rint(x).astype(int)]
    return _rows(rows, listed, header, "tile", path.name, fitted)


def _mosaic(path: Path, sky: pd.DataFrame, fitted: set[str]) -> pd.DataFrame:
    """Forced photometry of a mosaic, as the rule makes it."""
    listed = _listed(sky)
    state = read_json(path / "status.json")
    mosaic = measured.Mosaic.of(path)
    rows, _ = measured.rows(mosaic, path.name, listed, state, {}, PhotometryOptions())
    return _rows(rows, listed, mosaic.header(), "mosaic", "", fitted)


def _rows(
    rows: pd.DataFrame, listed: pd.DataFrame, header: fits.Header, estimator: str, tile: str, fitted: set[str]
) -> pd.DataFrame:
    beam_arcsec = 3600.0 * float(header["BMAJ"])
    true = listed.assign(true_jy=_at(listed, float(header["RESTFRQ"])), alone=_alone(listed, beam_arcsec))
    wanted = ["source_id", "flux_jy", "stat_err_jy", "pb", "flags"]
    native = rows[wanted].astype(
        {"flux_jy": float, "stat_err_jy": float, "pb": float, "flags": int}
    )  # FITS is not
    both = native.merge(true[["source_id", "name", "true_jy", "alone"]], on="source_id")
    both = both[both["alone"] & (both["flags"] & int(Flag.EDGE | Flag.BLENDED) == 0)]
    return pd.DataFrame(
        {
            "tile": tile,
            "estimator": estimator,
            "source": both["name"],
            "true_jy": both["true_jy"],
            "flux_jy": both["flux_jy"],
            "stat_err_jy": both["stat_err_jy"],
            "response": both["pb"],
            "fitted": both["name"].isin(fitted),
        }
    )


def to_json(rows: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """For the results: every flux, and what the tiles say."""
    return {"about": dict(about), "rows": rows.drop(columns="night").round(6).to_dict("list")}


def from_json(night: str, record: Mapping[str, Any]) -> pd.DataFrame:
    """What `to_json` kept of a night."""
    return pd.DataFrame(record["rows"]).assign(night=night)[COLUMNS]
