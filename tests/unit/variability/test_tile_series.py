"""A source tile by tile, and its flux in parts of the band, from what the fits to the visibilities left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contimg.core import names, tables
from contimg.core.errors import InputError
from contimg.drift.kernels import CHANNEL_BLOCKS
from contimg.drift.sources import COLUMNS
from contimg.variability.candidate_page import BANDS as SHOWN
from contimg.variability.candidate_page import spectrum
from contimg.variability.tile_series import BANDS, by_mosaic, series

RA, DEC = 359.999, 55.0
TILES = [f"2025-10-30T13:0{5 * k}:00" for k in range(2)] + ["2025-10-30T13:10:00"]
HZ = np.array([1.33e9, 1.38e9, 1.43e9, 1.48e9])


def plant(tree: Path, tile: str, flux: float, *, ra: float = RA, flags: str = "", **about: float) -> None:
    """A tile's fit: the source, 1 Jy × `flux` with a spectral index of −1, and another 0.1 degrees away."""
    made: dict[str, object] = {
        "ra_deg": [ra, RA + 0.1 - 360.0],
        "dec_deg": [DEC, DEC],
        "flux_jy": [flux, 3.0],
        "flux_err_jy": [0.01, 0.01],
        "spectral_index": [-1.0, 0.0],
        "flags": [flags, ""],
        "band_slope": [-1.0, np.nan],
        "band_slope_err": [0.2, np.nan],
    }
    for band, hz in zip(BANDS, HZ, strict=True):
        made |= {
            f"{band}_hz": hz,
            f"{band}_jy": [flux * 1.4e9 / hz, np.nan],
            f"{band}_err_jy": [0.02, np.nan],
        }
    path = tree / names.image_dir(tile) / f"{tile}.sources.parquet"
    path.parent.mkdir(parents=True)
    tables.write(path, pd.DataFrame(made), COLUMNS, about)


def rows() -> pd.DataFrame:
    """Two overlapping mosaics, the second of which counts; and one of another day, whose tiles are gone."""
    return pd.DataFrame(
        {
            "mosaic": ["2025-10-30/a", "2025-10-30/b", "2025-10-31/a"],
            "mjd": [60978.55, 60978.56, 60979.55],
            "tiles": [";".join(TILES[:2]), ";".join(TILES[1:]), "2025-10-31T13:00:00"],
            "ra_deg": RA,
            "dec_deg": DEC,
            "bmaj_arcsec": 20.0,
            "freq_hz": 1.4e9 / 1.1,
            "zero_point": [2.0, 0.5, 1.0],
            "normalised": [True, True, False],
            "used": [False, True, True],
        }
    )


def test_each_tile_counts_once_on_the_scale_of_its_mosaic(tmp_path):
    # the right ascension of the second fit is written across 0 h
    for tile, flux, ra in zip(TILES, (1.0, 1.2, 1.4), (RA, RA - 360.0, RA), strict=True):
        plant(tmp_path, tile, flux, ra=ra, mjd=60978.5 + 0.01 * flux)
    found = series(tmp_path, rows())
    assert found["tile"].tolist() == TILES
    assert found["mosaic"].tolist() == ["2025-10-30/a", "2025-10-30/b", "2025-10-30/b"]
    assert found["used"].tolist() == [False, True, True]
    np.testing.assert_allclose(found["mjd"], 60978.5 + 0.01 * np.array([1.0, 1.2, 1.4]))
    # at 1.4 GHz / 1.1 a spectral index of −1 gives a tenth more; then over the zero point
    np.testing.assert_allclose(found["flux_jy"], 1.1 * np.array([1.0, 1.2, 1.4]))
    np.testing.assert_allclose(found["flux_norm"], 1.1 * np.array([0.5, 2.4, 2.8]))
    np.testing.assert_allclose(found["flux_norm_err"], 0.011 / np.array([2.0, 0.5, 0.5]))
    bands = by_mosaic(found, rows())
    # equal errors: the plain mean of two tiles
    np.testing.assert_allclose(bands.loc["2025-10-30/b"], 1.3 * 1.4e9 / HZ / 0.5)
    assert sorted(bands.index) == ["2025-10-30/a", "2025-10-30/b"]


def test_another_source_or_one_that_ran_away_is_not_taken(tmp_path):
    plant(tmp_path, TILES[0], 1.0, ra=RA + 11.0 / 3600 / np.cos(np.radians(DEC)))  # over half a beam of 20″
    plant(tmp_path, TILES[1], 1.0, flags="moved")
    plant(tmp_path, TILES[2], 1.0)
    found = series(tmp_path, rows())
    assert found["tile"].tolist() == TILES[2:]
    assert found["mjd"].tolist() == [names.tile_mjd(TILES[2])]  # its table does not say the middle
    assert len(by_mosaic(series(tmp_path / "none", rows()), rows())) == 0


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / names.image_dir(TILES[0]) / f"{TILES[0]}.sources.parquet"
    path.parent.mkdir(parents=True)
    path.write_text("no table")
    with pytest.raises(InputError, match=r"T13:00:00\.sources\.parquet: expected a tile's fitted sources"):
        series(tmp_path, rows())


def test_the_dynamic_spectrum_shows_what_was_measured_and_says_where():
    n, slope = 6, -0.7
    points = pd.DataFrame(
        {
            "mosaic": [f"d{k}" for k in range(n)],
            "mjd": 61000.0 + np.arange(n),
            "flux_norm": [1.0, 1.0, 0.6, 1.0, 1.0, 1.0],
            "band_slope": slope,
        }
    )
    level = np.array([1.1, 1.0, 0.9, 0.8])
    bands = pd.DataFrame(
        [level, level, level * [0.5, 0.55, 0.6, 0.65], level], index=["d0", "d1", "d2", "d3"]
    )
    shown, measured = spectrum(points, bands, (61001.5, 61002.5))
    assert measured == [True] * 4 + [False] * 2
    np.testing.assert_allclose(shown[2], [-0.5, -0.45, -0.4, -0.35])  # deeper at low frequencies, as a lens
    np.testing.assert_allclose(shown[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(shown[5], 0.0, atol=1e-12)  # of flux and index, both as usual
    assert spectrum(points, bands.iloc[:0], (61001.5, 61002.5))[1] == [False] * n
    np.testing.assert_allclose(spectrum(points, bands.iloc[:0], (0.0, 1.0))[0][2], -0.4)


def test_parts_of_the_band_are_as_many_as_the_fit_has():
    assert len(BANDS) == SHOWN == CHANNEL_BLOCKS
    assert {f"{band}_{what}" for band in BANDS for what in ("hz", "jy", "err_jy")} < set(COLUMNS)
