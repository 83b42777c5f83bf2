"""A tile's shift against the catalogue: found with its error, taken out where it is significant, said in the header."""

import numpy as np
import pandas as pd
import pytest
from astropy.io.fits import Header
from astropy.wcs import WCS

from contimg.image import place
from contimg.image.options import ImagingOptions
from contimg.qa.response import fitted_gradient
from contimg.sky.catalog import Catalog

BEAM = (30.0, 15.0, 30.0)
RA, DEC = 359.9, 40.0


def fitted(shift_arcsec, *, count=30, error=0.2, seed=1, outliers=0, stretch=0.0):
    """Fitted sources about a place, and the catalogue's table of the same ones: shifted by (east, north).

    `stretch`: arcsec a degree north, along the beam's minor axis.
    """
    rng = np.random.default_rng(seed)
    east, north = rng.uniform(-1.2, 1.2, (2, count))
    dec = DEC + north
    ra = RA + east / np.cos(np.radians(dec))
    known = pd.DataFrame(
        {"name": [f"S{k}" for k in range(count)], "ra_deg": ra % 360, "dec_deg": dec, "flux_jy": 0.1}
    )
    noise = rng.normal(0, error, (2, count))
    noise[:, :outliers] += 8.0  # doubles of another middle at another resolution
    angle = np.radians(BEAM[2])
    noise += stretch * north * np.array([[np.cos(angle)], [-np.sin(angle)]])
    moved_dec = dec + (shift_arcsec[1] + noise[1]) / 3600
    moved_ra = ra + (shift_arcsec[0] + noise[0]) / 3600 / np.cos(np.radians(dec))
    table = known.assign(
        ra_deg=moved_ra % 360,
        dec_deg=moved_dec,
        ra_err_arcsec=error,
        dec_err_arcsec=error,
        snr=50.0,
        flags="",
    )
    return table, known


def measured(tmp_path, table, known):
    known.assign(spectral_index=-0.7).to_csv(tmp_path / "catalogue.csv", index=False)
    return place.measure(
        table, Catalog(tmp_path / "catalogue.csv"), ra_deg=RA, dec_deg=DEC, radius_deg=3.0, beam_arcsec=BEAM
    )


def test_a_shift_is_found_and_taken_out_of_header_and_table(tmp_path):
    table, known = fitted((2.0, -1.0), outliers=3)
    shift = measured(tmp_path, table, known)
    # 0.2 arcsec a source, 30 of them: 0.04 arcsec; three doubles are left out
    assert shift.error_arcsec == pytest.approx(0.05, abs=0.03)
    assert (shift.east_arcsec, shift.north_arcsec) == (
        pytest.approx(2.0, abs=0.2),
        pytest.approx(-1.0, abs=0.2),
    )
    assert shift.taken_out
    header = Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": RA, "CRVAL2": DEC, "CDELT1": -1 / 720,
                     "CDELT2": 1 / 720, "CRPIX1": 500.0, "CRPIX2": 500.0})  # fmt: skip
    pixels = WCS(header).wcs_world2pix(table[["ra_deg", "dec_deg"]], 0)
    moved = shift.move(header, table)
    assert (header["SHIFTE"], header["SHIFTN"]) == (shift.east_arcsec, shift.north_arcsec)
    # the same pixels are now where the catalogue has them: within the noise, and 1.2 deg × shift² / R of the projection
    seen = WCS(header).wcs_pix2world(pixels, 0)
    good = slice(3, None)
    for places in (seen, moved[["ra_deg", "dec_deg"]].to_numpy()):
        east = (places[good, 0] - known["ra_deg"][good] + 180) % 360 - 180
        assert np.median(east * np.cos(np.radians(DEC))) * 3600 == pytest.approx(0.0, abs=0.2)
        assert np.median(places[good, 1] - known["dec_deg"][good]) * 3600 == pytest.approx(0.0, abs=0.2)
    back = place.as_observed(moved, shift.to_json())
    np.testing.assert_allclose(back[["ra_deg", "dec_deg"]], table[["ra_deg", "dec_deg"]], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_not_significant_stays(tmp_path, seed):
    table, known = fitted((0.0, 0.0), seed=seed)
    shift = measured(tmp_path, table, known)
    assert not shift.taken_out
    assert place.as_observed(table, shift.to_json()) is table
    assert place.as_observed(table, None) is table


def test_a_stretch_of_the_field_is_found_in_units_of_the_beam(tmp_path):
    shift = measured(tmp_path, *fitted((1.0, 0.0), stretch=3.0, outliers=2))
    found = shift.gradient
    # 0.2 arcsec a source, 28 of them within 1.2 deg (0.7 rms): 0.05 arcsec a degree, of a minor axis of 15 arcsec
    assert found.beam_per_deg == pytest.approx(3.0 / 15.0, abs=4 * 0.05 / 15.0)
    assert found.error == pytest.approx(0.05 / 15.0, rel=0.4)
    assert found.n_sources == shift.n_sources - 2
    assert shift.to_json()["gradient"]["beam_per_deg"] == pytest.approx(found.beam_per_deg, abs=1e-5)


def test_without_a_stretch_none_is_certain_and_few_sources_tell_none(tmp_path):
    certain = []
    for seed in range(20):
        found = fitted_gradient(measured(tmp_path, *fitted((1.0, 0.0), count=12, seed=seed)).to_json())
        certain.append(found.beyond() > 0.0)
    # of the longer of two vectors 3 σ are exceeded in 2 %, of which Student's t leaves as many for 9 degrees of freedom
    assert sum(certain) <= 2
    assert measured(tmp_path, *fitted((1.0, 0.0), count=7)).gradient is None


def test_a_shift_below_a_hundredth_of_the_beam_stays_however_sure(tmp_path):
    table, known = fitted((0.1, 0.0), error=0.01, count=100)
    assert not measured(tmp_path, table, known).taken_out


def test_places_that_were_held_blended_or_faint_do_not_count(tmp_path):
    table, known = fitted((2.0, 0.0), count=8)
    assert measured(tmp_path, table.assign(ra_err_arcsec=np.nan), known) is None
    assert measured(tmp_path, table.assign(flags="blended"), known) is None
    assert measured(tmp_path, table.assign(snr=10.0), known) is None


def test_none_is_a_choice():
    assert ImagingOptions(place="none").place == "none"
    assert ImagingOptions().place == "auto"
