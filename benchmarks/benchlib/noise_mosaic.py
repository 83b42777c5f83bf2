"""How the noise falls in an hour's mosaic: tiles of noise alone through the mosaic stage, strip by strip."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

CELL_ARCSEC, SIZE = 30.0, 480
BEAM_PIXELS = 4.0
STEP_DEG = 309.24 / 240 * 1.0027379
TILES = 12
RMS_JY = 1e-3


def gain(dec_deg: float, threads: int = 1) -> float:
    """Noise in the middle of a tile over that in the middle of the mosaic of an hour's twelve tiles.

    The tiles are correlated noise, `RMS_JY` everywhere in the apparent image, over the beam of a 4.65 m dish averaged
    along the drift; they are weighted and added by `contimg.mosaic.coadd`.
    """
    from astropy.io import fits
    from scipy.ndimage import gaussian_filter

    from contimg.mosaic.coadd import make_mosaic
    from contimg.mosaic.grid import MosaicGrid
    from contimg.mosaic.options import MosaicOptions

    rng = np.random.default_rng(110)
    power = drift_beam(dec_deg)
    side_deg = SIZE * CELL_ARCSEC / 3600
    with tempfile.TemporaryDirectory() as scratch:
        tiles = []
        for i in range(TILES):
            name = f"2025-10-30T13:{5 * i:02d}:00"
            folder = Path(scratch, "images", name)
            folder.mkdir(parents=True)
            tiles.append(folder)
            noise = gaussian_filter(rng.normal(size=(SIZE, SIZE)), BEAM_PIXELS / 2.355)
            noise *= RMS_JY / noise.std()
            place = 150 + (i - (TILES - 1) / 2) * STEP_DEG
            header = MosaicGrid(place, dec_deg, side_deg, side_deg, CELL_ARCSEC).wcs().to_header()
            header["BMAJ"] = header["BMIN"] = BEAM_PIXELS * CELL_ARCSEC / 3600
            header["BPA"], header["RESTFRQ"] = 0.0, 1.4e9
            header["DATE-OBS"], header["DATE-END"] = name, name[:-2] + "59"
            rms = RMS_JY / np.where(power >= 0.2, power, np.nan)
            for plane, data in (("image", noise), ("pb", power), ("rms", rms)):
                fits.writeto(folder / f"{name}.{plane}.fits", data.astype(np.float32), header)
            (folder / "status.json").write_text('{"status": "ok", "reason": null}')
        out = Path(scratch, "mosaic")
        out.mkdir()
        make_mosaic(tiles, out, name="noise", options=MosaicOptions(beam="native"), threads=threads)
        image = fits.getdata(out / "noise.fits")
    y, x = (size // 2 for size in image.shape)
    half = SIZE // 8  # half a degree each way: hundreds of beams
    middle = image[y - half : y + half, x - half : x + half]
    return float(RMS_JY / power.max() / np.std(middle))


def drift_beam(dec_deg: float) -> np.ndarray:
    """Airy power beam at 1.4 GHz of a 4.65 m dish, averaged over a tile's drift, (SIZE, SIZE), middle of the field."""
    from contimg.telescope.beam import airy_power

    cell = np.radians(CELL_ARCSEC / 3600)
    y, x = (np.mgrid[:SIZE, :SIZE] - SIZE / 2) * cell
    drift = np.radians(STEP_DEG) * np.cos(np.radians(dec_deg)) * (np.arange(24) - 11.5) / 24
    return np.mean([airy_power(np.hypot(x - shift, y), 1.4e9, 4.65) for shift in drift], axis=0)
