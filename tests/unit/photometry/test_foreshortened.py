"""Sources far from a tile's middle in a mosaic of slanted tiles, against their truth."""

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from scipy import integrate

from builders.tile_images import tile_wcs, write_strip
from contimg.mosaic.coadd import make_mosaic
from contimg.mosaic.options import MosaicOptions
from contimg.photometry import measured
from contimg.photometry.foreshortened import AMPLITUDE_POWER, INTEGRAL_POWER, area_ratio
from contimg.photometry.options import PhotometryOptions

RA, DEC = 30.0, -5.0
ZENITH_RAD = np.radians(37.23 + 5.0)
SLANT = (0.0, float(np.tan(ZENITH_RAD)))
"""Of an array on level ground that looks at the meridian."""
OFF_DEG = np.array([-1.4, -0.7, 0.0, 0.7, 1.4])


def test_the_beam_grows_with_the_secant_of_the_zenith_angle():
    tile, mosaic = tile_wcs(RA, DEC, 512, slant=SLANT), tile_wcs(RA, DEC, 512)
    places = SkyCoord(np.full(5, RA), DEC + OFF_DEG, unit="deg")
    grown = np.cos(ZENITH_RAD) / np.cos(ZENITH_RAD - np.radians(OFF_DEG))
    # an unslanted projection's own pixels shrink by cos θ on the sky: the ratio is that of its pixels
    np.testing.assert_allclose(
        area_ratio(tile, mosaic, places), grown * np.cos(np.radians(OFF_DEG)), rtol=1e-6
    )
    np.testing.assert_allclose(area_ratio(mosaic, mosaic, places), 1.0, rtol=1e-6)


@pytest.mark.parametrize(("power", "order", "radius"), [(AMPLITUDE_POWER, 2, 0.7), (INTEGRAL_POWER, 1, 1.0)])
def test_the_power_of_the_area_is_that_of_the_sums_over_the_window(power, order, radius):
    """Whatever axis is stretched: by 3 % in one, or 1.5 % in both, less terms of the second order."""
    for stretch in ((1.03, 1.0), (1.0, 1.03), (1.015, 1.015)):

        def over(share, stretch=stretch):
            def value(r, angle):
                x, y = r * np.cos(angle), r * np.sin(angle)
                seen = (
                    np.exp2(-4 * ((x / stretch[0]) ** 2 + (y / stretch[1]) ** 2))
                    if share
                    else np.exp2(-4 * r**2)
                )
                return r * seen * np.exp2(-4 * r**2) ** (order - 1)

            return integrate.dblquad(value, 0, 2 * np.pi, 0, radius)[0]

        made = over(True) / over(False)
        assert made == pytest.approx(np.prod(stretch) ** power, abs=3e-4)


def test_fluxes_of_a_mosaic_are_right_wherever_in_the_slanted_tiles_a_source_is(tmp_path):
    sources = [(RA + east, DEC + north, 1.0) for north in OFF_DEG for east in (-0.6, 0.0, 0.6)]
    made = write_strip(
        tmp_path,
        ra_deg=RA,
        dec_deg=DEC,
        count=2,
        size=448,
        rms_jy=1e-3,
        noise_jy=1e-5,
        sources=sources,
        slant=SLANT,
    )
    directory = tmp_path / "mosaic"
    state = make_mosaic(made, directory, name="m", options=MosaicOptions(beam="native"))
    ra, dec, _ = np.transpose(sources)
    listed = pd.DataFrame({"source_id": np.arange(len(ra)).astype(str), "ra_deg": ra, "dec_deg": dec})
    mosaic = measured.Mosaic.of(directory)
    rows, _ = measured.rows(mosaic, "m", listed, state, {}, PhotometryOptions())
    rows = rows.set_index("source_id").loc[listed["source_id"]]
    assert len(rows) == len(sources)
    # regridding 4 pixels a beam: 0.1 %; second order of a beam 2.4 % larger: 0.03 %
    np.testing.assert_allclose(rows["flux_jy"], 1.0, atol=2e-3)
    np.testing.assert_allclose(rows["flux_int_jy"], 1.0, atol=4e-3)
    plain, _, header = measured.of_mosaic(mosaic, listed, PhotometryOptions())
    grown = area_ratio(
        tile_wcs(RA, DEC, 448, slant=SLANT), WCS(header).celestial, SkyCoord(ra, dec, unit="deg")
    )
    np.testing.assert_allclose(plain["flux_jy"], grown**AMPLITUDE_POWER, atol=2e-3)
    assert np.ptp(plain["flux_jy"]) > 0.015  # without it, 0.8 % either way
    np.testing.assert_allclose(rows["snr"].to_numpy(), plain["snr"].to_numpy(), rtol=1e-6)
