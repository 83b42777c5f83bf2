"""A small mosaic as `mosaic_window` leaves it, with the verdict on it: what publication starts from."""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from contimg.core import names
from contimg.core.digests import fingerprint
from contimg.core.products import status, write_json
from contimg.qa import verdict as qa

DATE = "2025-10-30"
TILES = (f"{DATE}T13:00:00", f"{DATE}T13:05:09")


def grid_header():
    """120 x 80 pixels of 2 arcmin, SIN, centred on 8 h 30 m +55."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [127.5, 55.0]
    wcs.wcs.cdelt = [-1 / 30, 1 / 30]
    wcs.wcs.crpix = [61, 41]
    wcs.wcs.radesys = "ICRS"
    header = wcs.to_header()
    start = names.tile_mjd(TILES[0])
    for key, value in (
        ("OBJECT", "0830+55"), ("BUNIT", "Jy/beam"), ("BMAJ", 0.01), ("BMIN", 0.005), ("BPA", 20.0),
        ("RESTFRQ", 1.405e9), ("TIMESYS", "UTC"), ("DATE-OBS", f"{TILES[0]}.000"), ("DATE-END", f"{DATE}T13:10:18.000"),
        ("MJD-OBS", start), ("MJD-END", start + 618 / 86400), ("TELESCOP", "DSA-110"),
    ):  # fmt: skip
        header[key] = value
    return header


def plant_mosaic(tree, path=f"mosaics/{DATE}/0830+55", *, flux_jy=1.0, verdict=None):
    """Write a mosaic, the headers of its tiles' images and the verdict on it; returns the verdict."""
    found = names.product_of(path)
    header = grid_header()
    y, x = np.mgrid[:80, :120]
    image = np.where((x - 60) ** 2 + (y - 40) ** 2 < 35**2, 0.0, np.nan).astype(np.float32)
    image[40, 60] = flux_jy
    (tree / path).mkdir(parents=True, exist_ok=True)
    for plane in ("", ".weights", ".rms"):
        fits.PrimaryHDU(image, header).writeto(tree / path / f"{found.name}{plane}.fits", overwrite=True)
    (tree / path / f"{found.name}.png").write_bytes(b"picture")
    tiles = [
        {"tile": tile, "status": "ok", "reason": None, "weight": 0.5, "path": names.image_dir(tile)}
        for tile in TILES
    ]
    for tile in TILES:
        directory = tree / names.image_dir(tile)
        directory.mkdir(parents=True, exist_ok=True)
        own = header.copy()
        own["FREQMIN"], own["FREQMAX"] = 1.31e9, 1.5e9
        own["MJD-OBS"] = names.tile_mjd(tile)
        own["MJD-END"] = names.tile_mjd(tile) + 309 / 86400
        fits.PrimaryHDU(np.zeros((4, 4), np.float32), own).writeto(
            directory / f"{tile}.image.fits", overwrite=True
        )
    write_json(
        tree / path / "status.json",
        status(inputs=[names.image_dir(tile) for tile in TILES], tiles=tiles, metrics={}),
    )
    gates = [qa.judge("rms", 1.1, qa.Limits(None, 3.0))]
    judged = qa.record(path, "mosaic", gates, rejected=verdict)
    judged["digests"] = {path: fingerprint(tree / path)}
    write_json(tree / names.mosaic_verdict(path, found.name), judged)
    return judged
