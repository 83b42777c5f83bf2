"""The images of a publication: headers that ObsCore and common tools read, checksums, and the coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.names import ProductName
from contimg.publish import obscore
from contimg.publish.coverage import coverage

INSTRUMENT = "DSA-110"
_PLANES = ("", ".weights", ".rms")
Card = tuple[str, Any, str]


def write_images(
    directory: Path, into: Path, product: ProductName, stem: str, version: int, state: dict[str, Any]
) -> dict[str, Any]:
    """Copy a mosaic's FITS files with complete headers and checksums, and write its coverage.

    Parameters
    ----------
    directory : Path
        Of the mosaic.
    into : Path
        Where to write `{stem}.fits`, `{stem}.weights.fits`, `{stem}.rms.fits` and `{stem}.moc.fits`.
    product : ProductName
    stem : str
    version : int
    state : dict
        The mosaic's status.json.

    Returns
    -------
    dict
        The image's row of ObsCore; `access_url` is relative to `published/{date}/`.
    """
    header = fits.getheader(directory / f"{product.name}.fits")
    cards = header_cards(header, product, version, _tile_headers(directory, state))
    for plane in _PLANES:
        with fits.open(directory / f"{product.name}{plane}.fits") as hdus:
            (hdu,) = hdus
            for key, value, comment in cards:
                hdu.header[key] = (value, comment)
            hdu.verify("exception")
            hdu.writeto(into / f"{stem}{plane}.fits", checksum=True)
    written = into / f"{stem}.fits"
    with fits.open(written) as hdus:
        image = hdus[0]
        moc = coverage(np.isfinite(image.data), WCS(image.header, naxis=2))
        moc.save(into / f"{stem}.moc.fits", format="fits")
        url = f"{product.name}/v{version}/{written.name}"
        return obscore.row(image.header, url=url, size_bytes=written.stat().st_size)


def header_cards(
    header: fits.Header, product: ProductName, version: int, tiles: Sequence[fits.Header]
) -> list[Card]:
    """Cards that a published image has beside those of the mosaic.

    Parameters
    ----------
    header : Header
        Of the mosaic.
    product : ProductName
    version : int
    tiles : sequence of Header
        Of the images in it, as far as they are there: band and time on the sky are theirs.
    """
    spans = sorted((tile["MJD-OBS"], tile["MJD-END"]) for tile in tiles) or [
        (header["MJD-OBS"], header["MJD-END"])
    ]
    cards: list[Card] = [
        (
            "OBS_ID",
            product.name if product.calibrator else f"{product.name}_{product.date}",
            "product and UTC date",
        ),
        ("VERSION", version, "published version; see manifest.json beside it"),
        ("INSTRUME", INSTRUMENT, "instrument"),
        ("OBSERVER", "DSA-110", "drift scan, unattended"),
        (
            "EXPTIME",
            round(sum(end - start for start, end in spans) * SECONDS_PER_DAY, 3),
            "[s] observed, all tiles",
        ),
        ("EQUINOX", 2000.0, "of the axes of RADESYS"),
        ("SPECSYS", "TOPOCENT", "frequencies are the telescope's"),
        ("SIDECAR", "status.json", "beside this file: inputs, options, versions"),
    ]
    if tiles:
        cards += [
            ("FREQMIN", min(tile["FREQMIN"] for tile in tiles), "[Hz] lower edge of the band"),
            ("FREQMAX", max(tile["FREQMAX"] for tile in tiles), "[Hz] upper edge of the band"),
        ]
    return cards


def _tile_headers(directory: Path, state: dict[str, Any]) -> list[fits.Header]:
    """Headers of the images that a mosaic holds, of those that are still there."""
    tree = directory.parents[2]
    used = [Path(tile["path"]) for tile in state.get("tiles", ()) if tile["status"] == "ok"]
    paths = [tree / path / f"{path.name}.image.fits" for path in used]
    return [fits.getheader(path) for path in paths if path.is_file()]
