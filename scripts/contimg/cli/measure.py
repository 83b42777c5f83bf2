"""`contimg measure`: the flux, or its upper limit, at a place of an image."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.cli.verify import tree_of
from contimg.config.model import SHIPPED_CALIBRATORS
from contimg.core.errors import ConfigError, InputError
from contimg.core.kinds import STATUS
from contimg.core.products import configuration_file, read_json
from contimg.core.provenance import REPOSITORY

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

PEAK_PART = 0.01
"""Of the beam's minor axis: a source that peaks farther away is named. A hundredth is 0.03 % of the flux."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg measure`."""
    parser.add_argument(
        "image",
        type=Path,
        help="directory of a mosaic, a tile's image or a published version; or its FITS file",
    )
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="PLACE",
        help="a source's name (J083454.9+553421), a calibrator's (0834+555, 3C286) or coordinates ('08h27m +55d', "
        "'126.75 55.0'), ICRS; may be repeated",
    )
    parser.add_argument(
        "--calibrators",
        type=Path,
        metavar="CSV",
        help="calibrator catalogue (default: that of the configuration which the image was made with, else the shipped "
        "one)",
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="a table with ra_deg and dec_deg")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the covered places into FILE")


def run(args: argparse.Namespace) -> int:
    """Measure and print; exit status 1 if a place is not covered, 2 if one cannot be read."""
    from astropy.coordinates import SkyCoord

    from contimg.photometry import catalogue, positions
    from contimg.photometry.measured import Mosaic
    from contimg.photometry.options import PhotometryOptions

    asked, labels, unread = _places(args.at, args.calibrators or calibrators_of(args.image))
    if args.list is not None:
        own = positions.read_own(args.list)
        asked += list(SkyCoord(own["ra_deg"].to_numpy(), own["dec_deg"].to_numpy(), unit="deg"))
        labels += [name or f"row {number}" for number, name in enumerate(own["name"], start=1)]
    if not asked and unread:
        raise unread[0]
    if not asked:
        raise InputError("nothing to measure: give --at PLACE or --list FILE")
    options = PhotometryOptions()
    places = SkyCoord([p.ra.deg for p in asked], [p.dec.deg for p in asked], unit="deg")
    image = Mosaic.of(args.image)
    rows, header = catalogue.at_places(image, places, options)
    beam = f"{3600 * header['BMAJ']:.1f} × {3600 * header['BMIN']:.1f} arcsec, PA {header.get('BPA', 0.0):.0f} deg"
    print(f"{args.image}: {header['RESTFRQ'] / 1e6:.1f} MHz, beam {beam}; fluxes at the very places given")
    print(
        f"rms: of the image 2 to {options.background_beams:g} beams round the place, with what a bright source leaves "
        f"there; (map): {image.rms.name}, of wider regions"
    )
    peaks = catalogue.peaks_near(image, places, options)
    for number, label in enumerate(labels):
        print(f"{label}: {told(rows.loc[number]) if number in rows.index else 'not covered by this image'}")
        if number in peaks.index and peaks.at[number, "apart_arcsec"] > PEAK_PART * 3600.0 * header["BMIN"]:
            print(f"    {beside(peaks.loc[number])}")
    if args.csv is not None:
        catalogue.write(args.csv, rows, header, options, kind="csv")
    for error in unread:
        print(f"contimg measure: error: {error}", file=sys.stderr)
    return 2 if unread else int(len(rows) != len(labels))


def calibrators_of(image: Path) -> Path:
    """The calibrator catalogue that an image was made with; the shipped one where the image names none."""
    shipped = REPOSITORY / SHIPPED_CALIBRATORS
    folder = image if image.is_dir() else image.parent
    if not (folder / STATUS).is_file():
        return shipped
    try:
        kept = configuration_file(read_json(folder / STATUS).get("configuration"), tree_of(folder))
    except InputError:  # a copy, outside of any products tree
        return shipped
    named = read_json(kept).get("calibrators") if kept is not None and kept.is_file() else None
    return Path(named) if named and Path(named).is_file() else shipped


def _places(texts: list[str], listed: Path) -> tuple[list[SkyCoord], list[str], list[InputError]]:
    """Places that can be read, with their texts; and what is wrong with each of the others."""
    places, labels, wrong = [], [], []
    for text in texts:
        try:
            places.append(_place(text, listed))
            labels.append(text)
        except InputError as error:
            wrong.append(error)
    return places, labels, wrong


def _place(text: str, listed: Path) -> SkyCoord:
    """A source's name or coordinates; else a calibrator of a catalogue."""
    from astropy.coordinates import SkyCoord

    from contimg.photometry import positions
    from contimg.sky.calibrators import find_calibrator, read_calibrators

    try:
        return positions.parse(text)
    except InputError as error:
        calibrators = read_calibrators(listed)
        try:
            found = find_calibrator(calibrators, text)
        except ConfigError:
            raise InputError(f"{error}; nor is it a calibrator of {listed}") from None
    return SkyCoord(found.ra_deg, found.dec_deg, unit="deg")


def beside(row: Any) -> str:
    """One line on the source that peaks beside the place: a beam that is held off it measures less of it."""
    return (
        f"a source peaks {row['apart_arcsec']:.1f} arcsec away, at {row['ra_deg']:.5f} {row['dec_deg']:+.5f}: "
        f"{1e3 * row['flux_jy']:.3f} mJy there, as `contimg sources` lists it"
    )


def told(row: Any) -> str:
    """One line on a measurement: flux with both errors, noise round the place and of the map, limit, flags."""
    mjy = {
        name: 1e3 * float(row[f"{name}_jy"])
        for name in ("flux", "stat_err", "flux_err", "local_rms", "map_rms", "upper_limit")
    }
    line = (
        f"{mjy['flux']:.3f} ± {mjy['stat_err']:.3f} mJy (noise), ± {mjy['flux_err']:.3f} (with calibration); "
        f"rms {mjy['local_rms']:.3f} mJy/beam (map {mjy['map_rms']:.3f})"
    )
    if math.isfinite(mjy["upper_limit"]):
        how = "flux + 3 σ" if mjy["flux"] > 0 else "3 σ"
        line += f"; not seen: below {mjy['upper_limit']:.3f} mJy ({how})"
    words = ", ".join(word for word in str(row["flag_words"]).split(", ") if word and word != "not seen")
    return f"{line}; {words}" if words else line
