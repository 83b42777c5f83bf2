"""Injected sources: where they go, what is counted of them, and that they enter the data as the sky would."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from builders.tile_images import Beam, beam_noise, write_tile
from builders.tiles import strip_of_tiles
from contimg.core.errors import Rejected
from contimg.qa import injection
from contimg.qa.injection import APART_BEAMS, PER_STEP, SNR_STEPS, draw, recover, summary
from contimg.qa.options import INJECTED_BY, QaOptions
from contimg.sky.measure import find

RMS_JY = 1e-3
NOTHING = pd.DataFrame({"x_pix": [], "y_pix": []})


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Planes of an empty tile wide enough for all sources: rms over the beam, beam, header."""
    where = write_tile(
        tmp_path_factory.mktemp("field"), "t", 130.0, 55.0, size=800, cell_arcsec=15.0, rms_jy=RMS_JY,
        beam=Beam(60.0, 40.0, 20.0),
    )  # fmt: skip
    rms, header = fits.getdata(where / "t.rms.fits", header=True)
    return rms, fits.getdata(where / "t.pb.fits"), header


def test_sources_lie_apart_inside_the_beam_and_have_the_flux_of_their_step(field):
    rms, pb, header = field
    sky = pd.DataFrame({"x_pix": [400.0], "y_pix": [380.0]})
    table = draw(rms, header, sky, "2025-10-30T13:00:00", pb, 0.3)
    assert len(table) == len(SNR_STEPS) * PER_STEP
    assert (table.groupby("snr").size() == PER_STEP).all()
    column, row = (np.rint(table[axis]).astype(int) for axis in ("x_pix", "y_pix"))
    assert (pb[row, column] >= 0.3).all()
    np.testing.assert_allclose(table["true_jy"], table["snr"] * rms[row, column], rtol=1e-6)
    places = np.vstack([table[["x_pix", "y_pix"]], sky])
    apart = np.hypot(*(places[:, None] - places[None]).T) + 1e9 * np.eye(len(places))
    assert apart.min() >= APART_BEAMS * 40.0 / 15.0  # along the minor axis, in pixels
    # RESTFRQ is 1.4 GHz, where catalogue fluxes are
    np.testing.assert_allclose(table["flux_jy"], table["true_jy"], rtol=1e-9)


def test_a_tile_draws_the_same_sources_always_and_another_tile_others(field):
    rms, pb, header = field
    one, again, other = (draw(rms, header, NOTHING, seed, pb, 0.3) for seed in ("a", "a", "b"))
    pd.testing.assert_frame_equal(one, again)
    assert not np.allclose(one["ra_deg"], other["ra_deg"])


def test_an_image_without_a_place_is_refused(field):
    rms, pb, header = field
    with pytest.raises(Rejected, match="no place to inject"):
        draw(np.full_like(rms, np.nan), header, NOTHING, "a", pb, 0.3)


def test_the_curve_is_that_of_a_matched_filter_in_noise(field):
    # 5 sigma needs S/N + N(0, 1) > 5: none of five at 2 sigma (P = 0.7 %), all from 10 sigma (P = 1 - 3e-7)
    rms, pb, header = field
    rng = np.random.default_rng(5)
    beam = Beam(60.0, 40.0, 20.0)
    injected = draw(rms, header, NOTHING, "night", pb, 0.3)
    sources = [(row.ra_deg, row.dec_deg, row.true_jy) for row in injected.itertuples()]
    noise = RMS_JY * beam_noise(rng, 800, beam, 15.0)
    image = _planes(sources, header, beam) + noise / np.where(pb >= 0.2, pb, np.nan)
    table = recover(injected, find(image, header, rms, 5.0), header, 60.0)
    curve = table.groupby("snr")["recovered"].mean()
    assert curve.loc[2.0] <= 0.2
    assert (curve.loc[10.0:] == 1.0).all()
    metrics = summary(table, QaOptions())
    assert metrics["completeness"] == 1.0
    # 15 sources of 20 to 50 sigma; their median is good to 1.25 x 3 % / sqrt(15), a pixel of 2.7 to a beam costs 1 %
    assert metrics["flux_ratio"] == pytest.approx(1.0, abs=0.03)
    assert metrics["flux_ratio_err"] < 0.03
    assert abs(metrics["offset_major_beam"]) < 0.05
    assert [step["injected"] for step in metrics["steps"]] == [PER_STEP] * len(SNR_STEPS)


def _planes(sources, header, beam):
    """A beam-corrected image without noise."""
    from astropy.wcs import WCS

    from builders.tile_images import gaussian

    yy, xx = np.mgrid[:800, :800].astype(float)
    image = np.zeros((800, 800))
    for ra, dec, flux in sources:
        x, y = WCS(header).world_to_pixel_values(ra, dec)
        part = np.s_[max(int(y) - 15, 0) : int(y) + 16, max(int(x) - 15, 0) : int(x) + 16]
        image[part] += flux * gaussian(xx[part] - x, yy[part] - y, beam, 15.0)
    return image


def test_too_few_recovered_sources_give_no_ratio(field):
    rms, pb, header = field
    injected = draw(rms, header, NOTHING, "night", pb, 0.3)
    found = pd.DataFrame({name: pd.Series(dtype=float) for name in
                          ("ra_deg", "dec_deg", "flux_jy", "flux_err_jy", "x_pix", "y_pix")})  # fmt: skip
    metrics = summary(recover(injected, found, header, 60.0), QaOptions())
    assert metrics["completeness"] == 0.0
    assert metrics["flux_ratio"] is None


def test_the_same_tiles_of_every_night_hold_a_multiple():
    tiles = strip_of_tiles(count=278)  # a day
    chosen = [tile for tile in tiles if tile.holds_multiple(120.0)]
    assert 11 <= len(chosen) <= 13
    for tile in chosen:
        minutes = tile.ra_icrs_deg * 4.0
        assert abs(minutes - 120.0 * round(minutes / 120.0)) < 2.6  # half a tile
    assert [tile for tile in tiles if tile.holds_multiple(None)] == []


def test_the_rule_watches_the_settings_that_injection_uses():
    used = set(re.findall(r"\boptions\.(\w+)", Path(injection.__file__).read_text()))
    assert used - {"model_dump"} == INJECTED_BY
